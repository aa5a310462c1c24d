package config

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/mux"
)

// called has a call answered by a server whose mux is set so, as is the client's.
func called(t *testing.T, set func(*mux.Mux), options ...mux.Option) error {
	newMux := func() *mux.Mux {
		m := mux.New(mux.JSON)
		m.Logger = testkit.Quiet
		set(m)
		return m
	}
	serving, calling := newMux(), newMux()
	mux.Handle(serving, "echo", func(_ context.Context, _ *libnet.Session, req *string) (*string, error) { return req, nil }, options...)
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", codec.New(codec.Uint32BE, serving), 16)
	if err != nil {
		t.Fatal(err)
	}
	srv.Logger = testkit.Quiet
	served := make(chan error, 1)
	go func() { served <- srv.ServeMessages(serving) }()
	c, err := libnet.Connect("tcp", srv.Listener().Addr().String(), codec.New(codec.Uint32BE, calling), 16)
	if err != nil {
		t.Fatal(err)
	}
	peer := calling.Start(c)
	text := "x"
	testkit.Within(t, testkit.Patience, "a call", func() {
		var answer *string
		if answer, err = mux.Call[string, string](context.Background(), peer, "echo", &text); err == nil && *answer != text {
			t.Errorf("answered %q", *answer)
		}
	})
	shutDown(t, srv, c)
	<-served
	return err
}

func maxCalls(t *testing.T, n int64) {
	if err := called(t, func(m *mux.Mux) { m.MaxCalls = int(n) }); err != nil {
		t.Error(err)
	}
}

func callTimeout(t *testing.T, d int64) {
	err := called(t, func(m *mux.Mux) { m.CallTimeout = time.Duration(d) })
	if err != nil && (d <= 0 || d >= int64(time.Second)-1 || !errors.Is(err, context.DeadlineExceeded)) {
		t.Error(err)
	}
}

func concurrent(t *testing.T, n int64) {
	if err := called(t, func(*mux.Mux) {}, mux.Concurrent(int(n))); err != nil {
		t.Error(err)
	}
}

// errorKind takes what is no kind for a mistake of the programmer's.
func errorKind(t *testing.T, n int64) {
	var e mux.Envelope
	if loudly(t, func() { e = mux.Proto(uint32(n)) }) != (uint32(n) == 0) {
		t.Errorf("Proto(%d) panicked, or did not", uint32(n))
	}
	if e == nil {
		return
	}
	failure := mux.Header{Kind: mux.Number(uint64(uint32(n))), Role: mux.Failure}
	if _, err := e.Append(nil, failure, &mux.Error{Code: uint32(n), Text: "no"}); err != nil {
		t.Error(err)
	}
}
