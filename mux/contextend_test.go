package mux_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
)

// A close callback may wait for the session's handlers. They are not to wait for it in their turn.
func TestACloseCallbackThatWaitsForAHandlerKeepsNoCallAndNoContextOfIts(t *testing.T) {
	for name, wait := range map[string]func(ctx context.Context, m *mux.Mux, s *libnet.Session){
		"a call": func(_ context.Context, m *mux.Mux, s *libnet.Session) {
			_, _ = mux.Call[num, num](context.Background(), m.Peer(s), other, nil)
		},
		"a call that receives": func(_ context.Context, m *mux.Mux, s *libnet.Session) {
			_, _ = mux.Call[num, num](context.Background(), m.SyncPeer(s), other, nil)
		},
		"a context of the handler's": func(ctx context.Context, _ *mux.Mux, _ *libnet.Session) {
			derived, cancel := context.WithCancel(ctx)
			defer cancel()
			<-derived.Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMux()
				m.CallTimeout = -1
				began, over := make(chan *libnet.Session, 1), make(chan struct{})
				mux.Handle(m, double, func(ctx context.Context, s *libnet.Session, n *num) (*num, error) {
					defer close(over)
					began <- s
					wait(ctx, m, s)
					return n, nil
				}, mux.Concurrent(1))
				var s *libnet.Session
				if name == "a call that receives" { // which nobody else does then
					x, y := libnettest.Pipe()
					session(t, codec.New(codec.Uint32BE, codec.Bytes), y)
					s = session(t, protocolOf(m), x)
					s.OnClose(func() { <-over })
					m.ServeMessage(s, append(header(1, 7, mux.Ask), make([]byte, 8)...))
				} else {
					var hand *libnet.Session
					s, hand = raw(t, m)
					s.OnClose(func() { <-over })
					if err := hand.Send(append(header(1, 7, mux.Ask), make([]byte, 8)...)); err != nil {
						t.Fatal(err)
					}
				}
				<-began
				synctest.Wait()
				go s.Close() // which runs the callback
				synctest.Wait()
				select {
				case <-over:
				default:
					t.Error("the handler waits for the close callback that waits for it")
					close(over) // the handler panics when it goes on; the callback returns
				}
			})
		})
	}
}

// Package context has a lock of its own while it asks a handler's context to be told of the end, which may come just
// then.
func TestAContextCanBeMadeOfAHandlersWhileTheSessionEnds(t *testing.T) {
	m := mux.New(mux.JSON)
	contexts := make(chan context.Context, 1)
	mux.On(m, "k", func(ctx context.Context, s *libnet.Session, req *struct{}) error {
		contexts <- ctx
		return nil
	})
	for range testkit.Size(3_000, 200_000) {
		s := libnet.NewSession(&testkit.FuncCodec{}, 8)
		m.ServeMessage(s, []byte(`{"type":"k"}`))
		ctx := <-contexts
		made := make(chan struct{})
		go func() {
			defer close(made)
			for ctx.Err() == nil {
				_, cancel := context.WithCancel(ctx)
				cancel()
			}
		}()
		go s.Close()
		testkit.Await(t, testkit.Patience, "the last context", made)
	}
}
