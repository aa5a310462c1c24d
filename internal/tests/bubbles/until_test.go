package bubbles

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// An untilRig is a server with one client, which reads nothing until it is asked to, and something queued for it.
type untilRig struct {
	srv      *libnet.Server
	listener *libnettest.Listener
	client   *libnet.Session
	queued   int
}

func newUntilRig(t *testing.T) *untilRig {
	t.Helper()
	r := &untilRig{listener: libnettest.NewListener()}
	r.srv = libnet.NewServer(r.listener, frames, 64)
	r.srv.Logger, r.srv.WriteTimeout = testkit.Quiet, time.Minute
	r.srv.OnSession = func(s *libnet.Session) error {
		r.queued = sendMuch(t, s)
		return nil
	}
	return r
}

func (r *untilRig) dial(t *testing.T) {
	t.Helper()
	conn, err := r.listener.Dial()
	if err != nil {
		t.Fatal(err)
	}
	d := libnet.Dialer{Protocol: frames}
	if r.client, err = d.NewSession(conn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.client.Close() })
	synctest.Wait()
}

func (r *untilRig) serve() error {
	return r.srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) { _, _ = s.Receive() }))
}

// until is ServeUntil with a ctx that ends in a second, when what else happens has been done. It returns how long it
// took.
func (r *untilRig) until(t *testing.T, drain time.Duration, serve func() error, happens func()) (time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	go func() {
		r.dial(t)
		happens()
	}()
	err := r.srv.ServeUntil(ctx, drain, serve)
	return time.Since(began), err
}

func TestServeUntilDeliversWhatIsQueuedWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newUntilRig(t)
		received := make(chan int)
		took, err := r.until(t, 0, r.serve, func() {
			time.Sleep(3 * time.Second) // two of them behind ctx's end
			n := 0
			for range r.client.Messages() {
				n++
			}
			_ = r.client.Close()
			received <- n
		})
		if n := <-received; n != r.queued || err != nil || took != 3*time.Second {
			t.Errorf("%v after %v; %d of %d messages arrived", err, took, n, r.queued)
		}
	})
}

func TestServeUntilCutsOffWhoKeepsItBeyondItsTime(t *testing.T) {
	for drain, most := range map[time.Duration]time.Duration{3 * time.Second: 4 * time.Second, 0: 11 * time.Second, -1: 3 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			r := newUntilRig(t)
			took, err := r.until(t, drain, r.serve, func() {})
			var left *libnet.ShutdownError
			if !errors.As(err, &left) || left.Undelivered == 0 {
				t.Errorf("drain %v: %v, want messages that were not delivered", drain, err)
			}
			if least := most / 2; took < least || took > most+time.Second {
				t.Errorf("drain %v: it took %v", drain, took)
			}
		})
	}
}

func TestServeUntilEndsWithWhatItServes(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		serve   func(r *untilRig) error
		happens func(r *untilRig)
		want    error
	}{
		"a listener that breaks": {
			serve: func(*untilRig) error {
				time.Sleep(time.Millisecond)
				return broken
			},
			want: broken,
		},
		"a Stop": {serve: (*untilRig).serve, happens: func(r *untilRig) { r.srv.Stop() }},
		"a loop of Accept": {serve: func(r *untilRig) error {
			for {
				if _, err := r.srv.Accept(); err != nil {
					return err
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newUntilRig(t)
				r.srv.OnSession = nil
				_, err := r.until(t, 0, func() error { return test.serve(r) }, func() {
					if test.happens != nil {
						test.happens(r)
					}
					if _, err := r.client.Receive(); err == nil {
						t.Error("the client has received something")
					}
					_ = r.client.Close()
				})
				if test.want == nil && err != nil || !errors.Is(err, test.want) {
					t.Errorf("%v; want %v", err, test.want)
				}
				if stats := r.srv.Stats(); stats.Open != 0 {
					t.Errorf("%d sessions are open", stats.Open)
				}
				if _, err := r.srv.Accept(); err != io.EOF {
					t.Errorf("Accept: %v", err)
				}
			})
		})
	}
}

func TestServeUntilWithAContextThatHasEndedServesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newUntilRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.srv.ServeUntil(ctx, 0, r.serve); err != nil || r.srv.Stats().Accepted != 0 {
			t.Errorf("%v, and %d sessions", err, r.srv.Stats().Accepted)
		}
	})
}

// A panic is the caller's, who may go on with the server.
func TestAPanicInWhatServeUntilCallsIsItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newUntilRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		func() {
			defer func() {
				if recover() != "on purpose" {
					t.Error("no panic")
				}
			}()
			_ = r.srv.ServeUntil(ctx, 0, func() error { panic("on purpose") })
		}()
		cancel()
		synctest.Wait()
		select {
		case <-r.srv.Stopping():
			t.Error("the server stops all the same")
		default:
		}
		r.srv.Stop()
	})
}
