package mux_test

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
)

// A Mux is a handler of both kinds, and so is tested in a bubble in both modes; what middleware keeps of a body is
// found.
func TestABodyThatIsKeptIsPoisonedOnceItsHandlerHasReturned(t *testing.T) {
	for name, serve := range map[string]func(testing.TB, *libnet.Server, *mux.Mux) *libnettest.Clients{
		"Serve": func(t testing.TB, srv *libnet.Server, m *mux.Mux) *libnettest.Clients {
			return libnettest.Serve(t, srv, m)
		},
		"ServeMessages": func(t testing.TB, srv *libnet.Server, m *mux.Mux) *libnettest.Clients {
			return libnettest.ServeMessages(t, srv, m)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var kept [][]byte
				keep := func(next mux.Handler) mux.Handler {
					return func(ctx context.Context, r mux.Request) (any, error) {
						kept = append(kept, r.Body)
						return next(ctx, r)
					}
				}
				m, client := mux.New(mux.JSON, keep), mux.New(mux.JSON)
				mux.Handle(m, double, doubled)
				srv := libnet.NewServer(libnettest.NewListener(), protocolOf(m), 16)
				peer := client.Start(serve(t, srv, m).DialWith(&libnet.Dialer{Protocol: protocolOf(client)}))
				for i := range uint64(2) {
					reply, err := mux.Call[num, num](t.Context(), peer, double, &num{1_000_000 + i})
					if err != nil || reply.N != 2*(1_000_000+i) {
						t.Fatal(reply, err)
					}
				}
				synctest.Wait()
				if bytes.Count(kept[0], []byte{0xdb}) != len(kept[0]) {
					t.Errorf("the body that was kept is %q, want 0xdb", kept[0])
				}
			})
		})
	}
}
