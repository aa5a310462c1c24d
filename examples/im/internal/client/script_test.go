package client_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/examples/im/internal/wire/wiretest"
)

const patience = 60 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// A script is a server whose sessions the test plays itself.
type script struct {
	t        testing.TB
	address  string
	sessions chan *side
}

// A side is the server's end of a session.
type side struct {
	t testing.TB
	*libnet.Session
}

func newScript(t testing.TB) *script {
	t.Helper()
	server, err := libnet.Serve("tcp", "127.0.0.1:0", wire.Protocol(), 64)
	if err != nil {
		t.Fatal(err)
	}
	server.IdleTimeout = patience
	server.Logger = quiet
	s := &script{t: t, address: server.Listener().Addr().String(), sessions: make(chan *side, 16)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			session, err := server.Accept()
			if err != nil {
				return
			}
			s.sessions <- &side{t, session}
		}
	}()
	t.Cleanup(func() { server.Stop(); <-ended })
	return s
}

// next waits for the next session.
func (s *script) next() *side {
	s.t.Helper()
	select {
	case session := <-s.sessions:
		return session
	case <-time.After(patience):
		s.t.Fatal("nobody connects")
	}
	return nil
}

// expect receives a request.
func expect[T proto.Message](s *side) T {
	s.t.Helper()
	payload, err := s.Receive()
	if err != nil {
		s.t.Fatal(err)
	}
	_, msg, err := wiretest.Request(payload)
	if err != nil {
		s.t.Fatal(err)
	}
	request, ok := msg.(T)
	if !ok {
		s.t.Fatalf("received %v", msg)
	}
	return request
}

func (s *side) say(msg proto.Message) {
	s.t.Helper()
	if err := s.Send(msg); err != nil {
		s.t.Fatal(err)
	}
}

// admit plays the login, and an empty first sync.
func (s *side) admit() *side {
	s.t.Helper()
	expect[*wire.ReqLogin](s)
	s.say(wire.OK(wire.CmdLogin))
	after := expect[*wire.ReqSyncMsg](s).CurrentID
	s.say(&wire.ResSyncMsg{Cmd: wire.CmdSync, CurrentID: after})
	return s
}

func (s *script) client(edit func(*client.Options)) (*client.Client, chan string) {
	s.t.Helper()
	got := make(chan string, 1000)
	o := client.Options{
		Pick: func(context.Context) (string, error) { return s.address, nil },
		User: 1, Token: func() string { return "token" },
		OnMessage:  func(m client.Message) { got <- m.Text },
		MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond, Logger: quiet,
	}
	if edit != nil {
		edit(&o)
	}
	c := client.Start(o)
	s.t.Cleanup(func() { c.Close(); <-c.Done() })
	return c, got
}

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func page(current int64, texts ...string) *wire.ResSyncMsg {
	res := &wire.ResSyncMsg{Cmd: wire.CmdSync, CurrentID: current}
	for _, text := range texts {
		res.Msgs = append(res.Msgs, &wire.SyncMsg{SourceUID: 2, TargetUID: 1, MsgType: wire.TypeP2P, Msg: text})
	}
	return res
}

func wantMessages(t testing.TB, got chan string, want ...string) {
	t.Helper()
	for _, text := range want {
		select {
		case g := <-got:
			if g != text {
				t.Fatalf("got %q, want %q", g, text)
			}
		case <-time.After(patience):
			t.Fatalf("%q never came", text)
		}
	}
}
