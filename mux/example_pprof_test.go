package mux_test

import (
	"context"
	"fmt"
	"runtime/pprof"
	"strings"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/mux"
)

// A CPU profile says which kind of message takes the time, and of whom: go tool pprof -tagfocus kind=login, or its tags
// command. It costs some 0.3 µs a message, so register it while you look.
func ExampleMiddleware_profiling() {
	labelled := func(next mux.Handler) mux.Handler {
		return func(ctx context.Context, r mux.Request) (reply any, err error) {
			labels := pprof.Labels("kind", string(r.Kind), "user", r.Session.Name())
			pprof.Do(ctx, labels, func(ctx context.Context) { reply, err = next(ctx, r) })
			return reply, err
		}
	}
	m, client := mux.New(mux.JSON, labelled), mux.New(mux.JSON)
	mux.Handle(m, "login", func(ctx context.Context, s *libnet.Session, req *Login) (*Welcome, error) {
		var profile strings.Builder
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
			return nil, err
		}
		kind, _ := pprof.Label(ctx, "kind")
		fmt.Println(kind, strings.Contains(profile.String(), `# labels: {"kind":"login", "user":""}`))
		s.SetName(req.User)
		return logIn(ctx, s, req)
	})
	s, stop := serve(m, client)
	defer stop()
	try(client.Start(s), "login", "secret")
	// Output:
	// login true
	// login [lobby]
}
