package mux_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/trace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/mux"
)

// try calls and prints what comes of it.
func try(peer mux.Peer, k mux.Kind, password string) {
	welcome, err := mux.Call[Login, Welcome](context.Background(), peer, k, &Login{"ann", password})
	if err != nil {
		fmt.Println(k, err)
		return
	}
	fmt.Println(k, welcome.Rooms)
}

// Nothing but Login before Login. A kind that has no handler is refused as others are: who has not logged in learns
// nothing.
func ExampleMiddleware_authentication() {
	authenticated := func(next mux.Handler) mux.Handler {
		return func(ctx context.Context, r mux.Request) (any, error) {
			if r.Session.State == nil && r.Kind != "login" {
				return nil, &mux.Error{Code: 401, Text: "log in first"}
			}
			return next(ctx, r)
		}
	}
	m, client := mux.New(mux.JSON, authenticated), mux.New(mux.JSON)
	mux.Handle(m, "login", logIn) // sets the session's State
	mux.Handle(m, "rooms", func(context.Context, *libnet.Session, *Login) (*Welcome, error) {
		return &Welcome{[]string{"lobby", "garden"}}, nil
	})
	s, stop := serve(m, client)
	defer stop()
	peer := client.Start(s)
	try(peer, "rooms", "")
	try(peer, "dance", "")
	try(peer, "login", "secret")
	try(peer, "rooms", "")
	try(peer, "dance", "")
	// Output:
	// rooms libnet: mux: error 401: log in first
	// dance libnet: mux: error 401: log in first
	// login [lobby]
	// rooms [lobby garden]
	// dance libnet: mux: error 404: unknown kind "dance"
}

func ExampleMiddleware_logging() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{} // so that the output is the same each time
		}
		return a
	}}))
	logged := func(next mux.Handler) mux.Handler {
		return func(ctx context.Context, r mux.Request) (any, error) {
			reply, err := next(ctx, r)
			logger.Info("request", "kind", r.Kind, "id", r.ID, "bytes", len(r.Body), "err", err)
			return reply, err
		}
	}
	m, client := mux.New(mux.JSON, logged), mux.New(mux.JSON)
	mux.Handle(m, "login", logIn)
	s, stop := serve(m, client)
	defer stop()
	try(client.Start(s), "login", "secret")
	// Output:
	// level=INFO msg=request kind=login id=1 bytes=34 err=<nil>
	// login [lobby]
}

// Without it, a handler that panics ends its session.
func ExampleMiddleware_recovery() {
	recovered := func(next mux.Handler) mux.Handler {
		return func(ctx context.Context, r mux.Request) (reply any, err error) {
			defer func() {
				if value := recover(); value != nil {
					err = &mux.Error{Code: mux.CodeInternal, Text: "that went wrong"} // and log value and debug.Stack()
				}
			}()
			return next(ctx, r)
		}
	}
	m, client := mux.New(mux.JSON, recovered), mux.New(mux.JSON)
	mux.Handle(m, "login", logIn)
	mux.Handle(m, "crash", func(context.Context, *libnet.Session, *Login) (*Welcome, error) { panic("oh") })
	s, stop := serve(m, client)
	defer stop()
	peer := client.Start(s)
	try(peer, "crash", "")
	try(peer, "login", "secret")
	// Output:
	// crash libnet: mux: error 500: that went wrong
	// login [lobby]
}

// A deadline for handlers that wait, as for a database: they have to look at their context.
func ExampleMiddleware_deadlines() {
	within := func(d time.Duration) mux.Middleware {
		return func(next mux.Handler) mux.Handler {
			return func(ctx context.Context, r mux.Request) (any, error) {
				ctx, cancel := context.WithTimeout(ctx, d)
				defer cancel()
				return next(ctx, r)
			}
		}
	}
	m, client := mux.New(mux.JSON), mux.New(mux.JSON)
	mux.Handle(m, "search", func(ctx context.Context, _ *libnet.Session, _ *Login) (*Welcome, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, mux.With(within(10*time.Millisecond)))
	s, stop := serve(m, client)
	defer stop()
	try(client.Start(s), "search", "")
	// Output: search libnet: mux: error 504: deadline exceeded
}

// Kinds are known when they are registered, so each has its counters without a lookup. All unknown kinds share those of
// "".
func ExampleMiddleware_metrics() {
	type counters struct{ requests, failures, nanoseconds atomic.Int64 }
	var mu sync.Mutex
	kinds := make(map[string]*counters)
	counted := func(kind string) mux.Middleware {
		c := new(counters)
		mu.Lock()
		defer mu.Unlock()
		kinds[kind] = c
		return func(next mux.Handler) mux.Handler {
			return func(ctx context.Context, r mux.Request) (any, error) {
				began := time.Now()
				reply, err := next(ctx, r)
				c.nanoseconds.Add(int64(time.Since(began)))
				c.requests.Add(1)
				if err != nil {
					c.failures.Add(1)
				}
				return reply, err
			}
		}
	}
	m, client := mux.New(mux.JSON), mux.New(mux.JSON)
	mux.Handle(m, "login", logIn, mux.With(counted("login")))
	s, stop := serve(m, client)
	defer stop()
	peer := client.Start(s)
	try(peer, "login", "secrte")
	try(peer, "login", "secret")
	c := kinds["login"]
	fmt.Println(c.requests.Load(), "requests,", c.failures.Load(), "failed,", c.nanoseconds.Load() > 0)
	// Output:
	// login libnet: mux: error 401: who are you?
	// login [lobby]
	// 2 requests, 1 failed, true
}

// A trace's id comes with the body, or with the session; the handler finds it in its context.
func ExampleMiddleware_tracing() {
	type span struct{}
	traced := func(next mux.Handler) mux.Handler {
		return func(ctx context.Context, r mux.Request) (any, error) {
			ctx, task := trace.NewTask(ctx, string(r.Kind)) // or OpenTelemetry's Start
			defer task.End()
			ctx = context.WithValue(ctx, span{}, fmt.Sprintf("%s-%d", r.Kind, r.ID))
			reply, err := next(ctx, r)
			if refused := (*mux.Error)(nil); errors.As(err, &refused) {
				trace.Logf(ctx, "code", "%d", refused.Code)
			}
			return reply, err
		}
	}
	m, client := mux.New(mux.JSON, traced), mux.New(mux.JSON)
	mux.Handle(m, "login", func(ctx context.Context, s *libnet.Session, req *Login) (*Welcome, error) {
		fmt.Println("in span", ctx.Value(span{}))
		return logIn(ctx, s, req)
	})
	s, stop := serve(m, client)
	defer stop()
	try(client.Start(s), "login", "secret")
	// Output:
	// in span login-1
	// login [lobby]
}
