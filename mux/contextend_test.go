package mux_test

import (
	"context"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/mux"
)

// Package context has a lock of its own while it asks a handler's context to be told of the end, which may come just then.
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
