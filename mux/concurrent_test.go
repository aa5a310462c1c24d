package mux_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/mux"
)

func TestConcurrentBoundsHowManyMessagesOfASessionAreHandledAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMux()
		var running, most atomic.Int32
		mux.Handle(m, double, func(_ context.Context, _ *libnet.Session, n *num) (*num, error) {
			if now := running.Add(1); now > most.Load() {
				most.Store(now)
			}
			time.Sleep(time.Second)
			running.Add(-1)
			return &num{2 * n.N}, nil
		}, mux.Concurrent(3))
		client := newMux()
		peer, _ := pair(t, client, m)
		began := time.Now()
		var calls sync.WaitGroup
		for n := range uint64(9) {
			calls.Go(func() {
				if err := <-call(t.Context(), peer, n); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if took := time.Since(began).Round(time.Second / 10); most.Load() != 3 || took != 3*time.Second {
			t.Errorf("%d at a time, all in %v", most.Load(), took)
		}
	})
}

func TestAConcurrentHandlerThatCallsBackHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Each call of either side leads to another of the other side, 40 deep, with a place a side.
		a, b := newMux(), newMux()
		for _, m := range []*mux.Mux{a, b} {
			mux.Handle(m, double, func(ctx context.Context, s *libnet.Session, n *num) (*num, error) {
				if n.N == 0 {
					return n, nil
				}
				got, err := mux.Call[num, num](ctx, m.Peer(s), double, &num{n.N - 1})
				if err != nil {
					return nil, err
				}
				return &num{got.N + 1}, nil
			}, mux.Concurrent(1))
		}
		toB, _ := pair(t, a, b)
		got, err := mux.Call[num, num](t.Context(), toB, double, &num{40})
		if err != nil || got.N != 40 {
			t.Error(got, err)
		}
	})
}

func TestSeveralCallsOfOneHandlerGiveItsPlaceUpOnceAndTakeItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, client := newMux(), newMux()
		var inside atomic.Int32
		mux.Handle(client, other, func(context.Context, *libnet.Session, *num) (*num, error) { return new(num), nil })
		mux.Handle(m, double, func(ctx context.Context, s *libnet.Session, n *num) (*num, error) {
			for range 3 {
				var calls sync.WaitGroup
				for range 5 {
					calls.Go(func() {
						if _, err := mux.Call[num, num](ctx, m.Peer(s), other, n); err != nil {
							t.Error(err)
						}
					})
				}
				calls.Wait()
				if inside.Add(1) > 1 {
					t.Error("two are at work at a time")
				}
				time.Sleep(time.Millisecond)
				inside.Add(-1)
			}
			return &num{2 * n.N}, nil
		}, mux.Concurrent(1))
		peer, _ := pair(t, client, m)
		var results []<-chan error
		for n := range uint64(20) {
			results = append(results, call(t.Context(), peer, n))
		}
		for _, result := range results {
			if err := <-result; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestACallOfTheOwnPeerFromAHandlerInOrderIsRefusedAtOnce(t *testing.T) {
	type key struct{}
	for name, derive := range map[string]func(context.Context) context.Context{
		"its own context": func(ctx context.Context) context.Context { return ctx },
		"one derived from it": func(ctx context.Context) context.Context {
			ctx, cancel := context.WithTimeout(context.WithValue(ctx, key{}, 1), time.Hour)
			t.Cleanup(cancel)
			return ctx
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, client := newMux(), newMux()
			answer := make(chan error, 1)
			mux.Handle(m, double, func(ctx context.Context, s *libnet.Session, n *num) (*num, error) {
				_, err := mux.Call[num, num](derive(ctx), m.Peer(s), double, n)
				answer <- err
				return n, nil
			})
			peer, _ := pair(t, client, m)
			if _, err := mux.Call[num, num](within(t, patience), peer, double, new(num)); err != nil {
				t.Fatal(err)
			}
			if err := <-answer; err != mux.ErrCallInOrder {
				t.Error(err)
			}
		})
	}
}

func TestAHandlerInOrderMayCallThePeerOfAnotherSession(t *testing.T) {
	m, client, backend := newMux(), newMux(), newMux()
	mux.Handle(backend, double, doubled)
	toBackend, _ := pair(t, m, backend)
	front := newMux()
	mux.Handle(front, double, func(ctx context.Context, _ *libnet.Session, n *num) (*num, error) {
		return mux.Call[num, num](ctx, toBackend, double, n)
	})
	peer, _ := pair(t, client, front)
	if err := <-call(within(t, patience), peer, 21); err != nil {
		t.Error(err)
	}
}

// outcomes of a handler that does not return.
var misdeeds = map[string]struct {
	do     func()
	reason error
	logged string
}{
	"panics":               {func() { panic("test: oh") }, libnet.ErrPanic, "test: oh"},
	"panics with an error": {func() { panic(errors.New("test: ah")) }, libnet.ErrPanic, "test: ah"},
	"panics with nil text": {func() { panic((*hostileError)(nil)) }, libnet.ErrPanic, ""},
	"ends its goroutine":   {runtime.Goexit, libnet.ErrSessionClosed, ""},
}

type hostileError struct{ text string }

func (e *hostileError) Error() string { return e.text }

func TestAHandlerThatDoesNotReturnEndsItsSessionAndNoOther(t *testing.T) {
	for _, mode := range []struct {
		name    string
		options []mux.Option
		serve   func(srv *libnet.Server, m *mux.Mux) error
	}{
		{"in order, Serve", nil, everywhere[0].serve},
		{"in order, ServeMessages", nil, everywhere[1].serve},
		{"concurrently", []mux.Option{mux.Concurrent(2)}, everywhere[1].serve},
	} {
		for name, deed := range misdeeds {
			t.Run(mode.name+" it "+name, func(t *testing.T) {
				m, client := newMux(), newMux()
				var logged logs
				m.Logger = logged.logger()
				mux.Handle(m, other, func(context.Context, *libnet.Session, *num) (*num, error) { deed.do(); return nil, nil }, mode.options...)
				mux.Handle(m, double, doubled)
				srv, s := connect(t, "", "tcp", mode.serve, m, client)
				innocent, err := (&libnet.Dialer{Protocol: protocolOf(client)}).Dial(within(t, patience), "tcp", srv.Listener().Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer innocent.Close()
				ended := make(chan error, 1)
				testkit.Eventually(t, "both sessions", func() bool { return srv.Manager().Len() == 2 })
				for of := range srv.Manager().All() {
					of.OnClose(func() { ended <- of.Err() })
				}
				if _, err := mux.Call[num, num](within(t, patience), client.Start(s), other, new(num)); err == nil || errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				if err := testkit.Await(t, patience, "the end", ended); !errors.Is(err, deed.reason) || !strings.Contains(err.Error(), deed.logged) {
					t.Error(err)
				}
				if mode.options != nil && deed.reason == libnet.ErrPanic {
					testkit.Eventually(t, "the log", func() bool { return strings.Contains(logged.text(), "goroutine ") })
				}
				if err := <-call(within(t, patience), client.Start(innocent), 4); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestAHandlerOfADialledSessionThatPanicsEndsIt(t *testing.T) {
	for name, deed := range misdeeds {
		t.Run(name, func(t *testing.T) {
			m := newMux()
			mux.On(m, other, func(context.Context, *libnet.Session, *num) error { deed.do(); return nil })
			s, hand := raw(t, m)
			_ = hand.Send(append(header(3, 0, mux.Ask), 0, 0, 0, 0, 0, 0, 0, 0))
			testkit.Await(t, patience, "the end", s.Done())
			if !errors.Is(s.Err(), deed.reason) {
				t.Error(s.Err())
			}
		})
	}
}

func TestTheContextOfAHandlerEndsWithItsSession(t *testing.T) {
	for name, options := range map[string][]mux.Option{"in order": nil, "concurrently": {mux.Concurrent(1)}} {
		t.Run(name, func(t *testing.T) {
			m, client := newMux(), newMux()
			var logged logs
			m.Logger = logged.logger()
			began, ended := make(chan struct{}), make(chan error, 1)
			mux.Handle(m, double, func(ctx context.Context, s *libnet.Session, n *num) (*num, error) {
				ctx, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				close(began)
				<-ctx.Done()
				ended <- ctx.Err()
				return nil, ctx.Err()
			}, options...)
			_, s := connect(t, "", "tcp", everywhere[0].serve, m, client)
			client.Start(s)
			result := call(within(t, patience), client.Peer(s), 1)
			<-began
			_ = s.Close()
			if err := testkit.Await(t, patience, "the handler", ended); err != context.Canceled {
				t.Error(err)
			}
			if err := <-result; err != libnet.ErrSessionClosed {
				t.Error(err)
			}
			if logged.text() != "" {
				t.Error(logged.text())
			}
		})
	}
}
