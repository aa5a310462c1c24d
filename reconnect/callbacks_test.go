package reconnect_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/reconnect"
)

// A message is encoded by a function of the test's.
type message func() string

// calling is a protocol whose messages may be functions: user code that runs in Send.
var calling = libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
	return &callingCodec{Codec: frames.NewCodec(rw)}
})

type callingCodec struct{ libnet.Codec }

func (c *callingCodec) AppendFrame(dst []byte, msg any) ([]byte, error) {
	if f, ok := msg.(message); ok {
		msg = f()
	}
	return c.Codec.(libnet.FrameAppender).AppendFrame(dst, msg)
}

func (c *callingCodec) ParseFrame(src []byte) ([]byte, int, error) {
	return c.Codec.(libnet.FrameParser).ParseFrame(src)
}

type logs func(slog.Record)

func (f logs) Enabled(context.Context, slog.Level) bool      { return true }
func (f logs) Handle(_ context.Context, r slog.Record) error { f(r); return nil }
func (f logs) WithAttrs([]slog.Attr) slog.Handler            { return f }
func (f logs) WithGroup(string) slog.Handler                 { return f }
func inState(state reconnect.State, f func()) func(reconnect.Change) {
	return func(c reconnect.Change) {
		if c.State == state {
			f()
		}
	}
}

// callbacks is every place where a client runs the user's code. Each has f called there, again and again if the client
// lives so long.
var callbacks = map[string]func(c *reconnect.Client, f func()){
	"Dial": func(c *reconnect.Client, f func()) {
		dial := c.Dial
		c.Dial = func(ctx context.Context) (*libnet.Session, error) { f(); return dial(ctx) }
	},
	"OnConnect": func(c *reconnect.Client, f func()) {
		c.OnConnect = func(context.Context, *libnet.Session) error { f(); return nil }
	},
	"Final": func(c *reconnect.Client, f func()) {
		failOnce(c)
		c.Final = func(error) bool { f(); return false }
	},
	"OnState connecting": func(c *reconnect.Client, f func()) { c.OnState = inState(reconnect.Connecting, f) },
	"OnState connected":  func(c *reconnect.Client, f func()) { c.OnState = inState(reconnect.Connected, f) },
	"OnState waiting": func(c *reconnect.Client, f func()) {
		failOnce(c)
		c.OnState = inState(reconnect.Waiting, f)
	},
	"Handler": func(c *reconnect.Client, f func()) {
		c.Handler = libnet.MessageHandlerFunc(func(*libnet.Session, []byte) { f() })
	},
	"Logger": func(c *reconnect.Client, f func()) {
		failOnce(c)
		c.Logger = slog.New(logs(func(slog.Record) { f() }))
	},
	"an error's text": func(c *reconnect.Client, f func()) {
		dial, first := c.Dial, true
		c.Dial = func(ctx context.Context) (*libnet.Session, error) {
			if first {
				first = false
				return nil, callingError(f)
			}
			return dial(ctx)
		}
	},
	"OnClose": func(c *reconnect.Client, f func()) {
		dial := c.Dial
		c.Dial = func(ctx context.Context) (*libnet.Session, error) {
			s, err := dial(ctx)
			if err == nil {
				s.OnClose(f)
				time.AfterFunc(time.Second, func() { _ = s.Close() })
			}
			return s, err
		}
	},
	"a held message": func(c *reconnect.Client, f func()) {
		dial := c.Dial
		sendOne := sync.OnceFunc(func() { _ = c.Send(message(func() string { f(); return "f" })) })
		c.Dial = func(ctx context.Context) (*libnet.Session, error) { sendOne(); return dial(ctx) }
	},
}

type callingError func()

func (f callingError) Error() string { f(); return "called" }

func failOnce(c *reconnect.Client) {
	dial, first := c.Dial, true
	c.Dial = func(ctx context.Context) (*libnet.Session, error) {
		if first {
			first = false
			return nil, errDown
		}
		return dial(ctx)
	}
}

// inCallback runs test for each callback with a client of a server that greets. The client is to be started.
func inCallback(t *testing.T, test func(t *testing.T, server *recorder, c *reconnect.Client, set func(f func()))) {
	for name, set := range callbacks {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := new(recorder)
				place := newSite(t, 8, func(s *libnet.Session) {
					s.Send("hello")
					server.ServeSession(s)
				})
				place.dialer.Protocol = calling
				place.up()
				c := &reconnect.Client{Dial: place.dial, Logger: quiet}
				t.Cleanup(func() { c.Close(); <-c.Done() })
				test(t, server, c, func(f func()) { set(c, f) })
			})
		})
	}
}

func TestAllMethodsMayBeCalledFromEveryCallback(t *testing.T) {
	for name, call := range map[string]func(c *reconnect.Client){
		"Close":    func(c *reconnect.Client) { c.Close() },
		"Shutdown": func(c *reconnect.Client) { _ = c.Shutdown(context.Background()) },
		"Shutdown with a message held": func(c *reconnect.Client) {
			_ = c.Send("one more")
			_ = c.Shutdown(context.Background())
		},
		"Ready, then Close": func(c *reconnect.Client) {
			_, _ = c.Ready(context.Background())
			c.Close()
		},
		"the others, then Close": func(c *reconnect.Client) {
			_ = c.Send("called")
			_ = c.Err()
			c.Start()
			c.Stats()
			c.Session()
			c.Done()
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inCallback(t, func(t *testing.T, _ *recorder, c *reconnect.Client, set func(func())) {
				var called atomic.Bool
				set(func() {
					called.Store(true)
					call(c)
				})
				c.Start()
				select {
				case <-c.Done():
				case <-time.After(time.Minute):
					t.Fatal("the client goes on after a minute")
				}
				if !called.Load() {
					t.Fatal("never called")
				}
			})
		})
	}
}

type unprintable struct{}

func (unprintable) String() string { panic("within") }
func (unprintable) Error() string  { panic("within") }

// ways are what a callback can do instead of returning.
var ways = map[string]func(){
	"panic":             func() { panic("as asked") },
	"panic with nil":    func() { panic(nil) },
	"unprintable panic": func() { panic(unprintable{}) },
	"Goexit":            runtime.Goexit,
}

func TestACallbackThatDoesNotReturnOnceCostsASessionAtMost(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			inCallback(t, func(t *testing.T, server *recorder, c *reconnect.Client, set func(func())) {
				var once sync.Once
				set(func() { once.Do(way) })
				c.Start()
				time.Sleep(time.Minute)
				send(t, c, "alive")
				time.Sleep(time.Minute)
				if got := server.received(); len(got) == 0 || got[len(got)-1] != "alive" {
					t.Fatalf("received %q", got)
				}
				c.Close()
				<-c.Done()
			})
		})
	}
}

func TestACallbackThatNeverReturnsMakesNoHotLoop(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			inCallback(t, func(t *testing.T, _ *recorder, c *reconnect.Client, set func(func())) {
				var calls atomic.Int64
				set(func() {
					calls.Add(1)
					way()
				})
				c.Start()
				time.Sleep(10 * time.Minute)
				c.Close()
				<-c.Done()
				// Some 5 attempts before the bound is 30 s, then one in 15 s.
				if n := calls.Load(); n == 0 || n > 150 {
					t.Fatalf("%d calls in ten minutes", n)
				}
			})
		})
	}
}

// Nothing that the client does waits for a callback of its, but the client's own progress.
func TestACallbackThatBlocksHoldsUpNoMethod(t *testing.T) {
	inCallback(t, func(t *testing.T, _ *recorder, c *reconnect.Client, set func(func())) {
		blocked := make(chan struct{})
		defer close(blocked)
		set(func() { <-blocked })
		c.Start()
		time.Sleep(time.Minute)
		begin := time.Now()
		_ = c.Send("held, or not")
		c.Stats()
		c.Session()
		if took := time.Since(begin); took != 0 {
			t.Errorf("Send, Stats and Session took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = c.Shutdown(ctx)
		if took := time.Since(begin); took > time.Second+1500*time.Millisecond {
			t.Errorf("Shutdown took %v", took)
		}
		c.Close()
	})
}

func TestADialThatGoesOnIsToldOf(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var lines []string
		blocked := make(chan struct{})
		c := &reconnect.Client{
			Dial:   func(context.Context) (*libnet.Session, error) { <-blocked; return nil, errDown },
			Logger: slog.New(logs(func(r slog.Record) { lines = append(lines, r.Message) })),
		}
		c.Start()
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"libnet: Dial or OnConnect goes on though its context has ended"}; !slices.Equal(lines, want) {
			t.Errorf("%q", lines)
		}
		close(blocked)
		c.Close()
		<-c.Done()
	})
}

func TestADialThatReturnsNoOpenSessionIsAFailure(t *testing.T) {
	for name, dial := range map[string]func(place *site) func(context.Context) (*libnet.Session, error){
		"nothing": func(*site) func(context.Context) (*libnet.Session, error) {
			return func(context.Context) (*libnet.Session, error) { return nil, nil }
		},
		"a session that nobody made": func(*site) func(context.Context) (*libnet.Session, error) {
			return func(context.Context) (*libnet.Session, error) { return new(libnet.Session), nil }
		},
		"a closed session": func(place *site) func(context.Context) (*libnet.Session, error) {
			return func(ctx context.Context) (*libnet.Session, error) {
				s, err := place.dial(ctx)
				if err == nil {
					_ = s.Close()
				}
				return s, err
			}
		},
		"an error and a session": func(place *site) func(context.Context) (*libnet.Session, error) {
			return func(ctx context.Context) (*libnet.Session, error) {
				s, err := place.dial(ctx)
				return s, fmt.Errorf("not this one: %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				place := newSite(t, 8, new(recorder).ServeSession)
				place.up()
				c := start(t, &reconnect.Client{Dial: dial(place)})
				send(t, c, "held")
				time.Sleep(time.Minute)
				if stats := c.Stats(); stats.Failures < 3 || stats.Connects != 0 || stats.Held != 1 {
					t.Errorf("%+v", stats)
				}
				if open := place.server.Stats().Open; open != 0 {
					t.Errorf("%d sessions are left open", open)
				}
			})
		})
	}
}

func TestADialThatReturnsASessionTwiceFailsTheSecondTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var server recorder
		place := newSite(t, 8, server.ServeSession)
		place.up()
		var only *libnet.Session
		c := &reconnect.Client{Dial: func(ctx context.Context) (s *libnet.Session, err error) {
			if only == nil {
				only, err = place.dial(ctx)
			}
			return only, err
		}}
		start(t, c)
		send(t, c, "once")
		synctest.Wait()
		_ = only.Close()
		time.Sleep(time.Minute)
		if stats := c.Stats(); stats.Connects != 1 || stats.Failures < 3 || stats.Lost != 0 {
			t.Errorf("%+v", stats)
		}
	})
}
