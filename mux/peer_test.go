package mux_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
	"github.com/libnet-go/libnet/reconnect"
)

var _ mux.Link = (*reconnect.Client)(nil)

func TestACallOfASyncPeerReceivesAndHasHandledWhatComesBefore(t *testing.T) {
	m, client := newMux(), newMux()
	mux.Handle(m, double, doubled)
	said := uint64(0)
	mux.On(client, other, func(_ context.Context, _ *libnet.Session, n *num) error { said += n.N; return nil })
	x, y := libnettest.Pipe()
	s, served := session(t, protocolOf(client), x), session(t, protocolOf(m), y)
	m.Start(served)
	for range 3 {
		_ = served.Send(mux.Message{Kind: other, Body: &num{1}})
	}
	for n := range uint64(20) {
		if err := <-call(within(t, patience), client.SyncPeer(s), n); err != nil {
			t.Fatal(err)
		}
	}
	if said != 3 {
		t.Errorf("%d messages were handled", said)
	}
	go func() { _ = served.Shutdown(context.Background()) }()
	testkit.Eventually(t, "the shutdown", served.IsClosed)
	if err := <-call(within(t, patience), client.SyncPeer(s), 1); err != io.EOF {
		t.Error(err)
	}
}

func TestTheEndOfASyncCallsTimeEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMux()
		x, y := libnettest.Pipe()
		s := session(t, protocolOf(m), x)
		began := time.Now()
		if err := <-call(context.Background(), m.SyncPeer(s), 1); err != context.DeadlineExceeded || time.Since(began) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if s.Err() != context.DeadlineExceeded {
			t.Error(s.Err())
		}
		_ = y.Close()
	})
}

// site is a server with a login that a reconnect.Client keeps a session to.
func site(t *testing.T, m *mux.Mux) (*libnettest.Listener, *libnet.Server) {
	l := libnettest.NewListener()
	srv := libnet.NewServer(l, protocolOf(m), 16)
	srv.Logger = testkit.Quiet
	go func() { _ = srv.ServeMessages(m) }()
	t.Cleanup(srv.Stop)
	return l, srv
}

func TestCallsGoThroughAReconnectClientAndItsLoginIsACall(t *testing.T) {
	m, client := newMux(), newMux()
	mux.Handle(m, double, func(ctx context.Context, s *libnet.Session, n *num) (*num, error) {
		if s.State == nil && n.N != 100 {
			return nil, &mux.Error{Code: 401, Text: "log in first"}
		}
		s.State = true
		return doubled(ctx, s, n)
	})
	l, srv := site(t, m)
	d := libnet.Dialer{Protocol: protocolOf(client)}
	d.SendQueue = 16
	d.Logger = testkit.Quiet
	up := make(chan struct{})
	link := &reconnect.Client{
		MinBackoff: time.Millisecond,
		Logger:     testkit.Quiet,
		Dial: func(ctx context.Context) (*libnet.Session, error) {
			select {
			case <-up:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			conn, err := l.Dial()
			if err != nil {
				return nil, err
			}
			return d.NewSession(conn)
		},
		OnConnect: func(ctx context.Context, s *libnet.Session) error {
			_, err := mux.Call[num, num](ctx, client.SyncPeer(s), double, &num{100})
			return err
		},
		Handler: client,
	}
	link.Start()
	t.Cleanup(func() { link.Close(); <-link.Done() })

	// While there is no session, a call fails or waits, as the caller chooses.
	if err := <-call(within(t, patience), client.Peer(link.Session()), 1); err != libnet.ErrSessionClosed {
		t.Error(err)
	}
	if err := <-call(within(t, time.Millisecond), client.Through(link), 1); err != context.DeadlineExceeded {
		t.Error(err)
	}
	result := call(within(t, patience), client.Through(link), 21)
	close(up)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	// A session that ends is followed by another, with a login of its own.
	first := link.Session()
	for s := range srv.Manager().All() {
		_ = s.Close()
	}
	testkit.Await(t, patience, "the end of the first session", first.Done())
	testkit.Eventually(t, "a call on the next", func() bool {
		return <-call(within(t, patience), client.Through(link), 21) == nil && link.Session() != first
	})
	link.Close()
	if err := <-call(within(t, patience), client.Through(link), 1); !errors.Is(err, libnet.ErrSessionClosed) {
		t.Error(err)
	}
}

func TestASessionOfABareCodecCallsAndIsCalled(t *testing.T) {
	x, y := libnettest.Pipe()
	a, b := newMux(), newMux()
	mux.Handle(a, double, doubled)
	mux.Handle(b, double, doubled)
	sa := libnet.NewSession(protocolOf(a).NewCodec(x), 16) // encodes when it writes
	sb := libnet.NewSession(protocolOf(b).NewCodec(y), 0)
	t.Cleanup(func() { _, _ = sa.Close(), sb.Close() })
	toB, toA := a.Start(sa), b.Start(sb)
	for n := range uint64(100) {
		forth, back := call(within(t, patience), toB, n), call(within(t, patience), toA, n)
		if err := errors.Join(<-forth, <-back); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsNoMessageOfAMuxIsRefusedBySend(t *testing.T) {
	m := newMux()
	s, hand := raw(t, m)
	for _, msg := range []any{"text", 7, (*mux.Message)(nil), mux.Message{Kind: "say"}} {
		if err := s.Send(msg); !errors.Is(err, libnet.ErrEncode) {
			t.Errorf("%#v: %v", msg, err)
		}
	}
	if err := s.Send(&mux.Message{Kind: other, Body: &num{1}}); err != nil {
		t.Error(err)
	}
	if got := string(receive(t, hand)); got != "\x03\x00\x00\x00\x00\x00\x00\x00\x00\x01" {
		t.Errorf("%q", got)
	}
}

// fishermen returns a Mux of the envelope without ids, its session, and the peer that a test plays.
func fishermen(t *testing.T) (*mux.Mux, *libnet.Session, *libnet.Session) {
	m := mux.New(mux.Proto(90001))
	s, hand := raw(t, m)
	return m, s, hand
}

// tell sends a fish.
func tell(t *testing.T, hand *libnet.Session, f fish) {
	t.Helper()
	b, _ := f.Marshal()
	if err := hand.Send(b); err != nil {
		t.Fatal(err)
	}
}

func wantFish(t *testing.T, hand *libnet.Session, want fish) {
	t.Helper()
	var got fish
	if err := got.Unmarshal(receive(t, hand)); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

func TestRepliesWithoutIDsBelongToTheOldestCallOfTheirKind(t *testing.T) {
	m, s, hand := fishermen(t)
	fishCall := func(ctx context.Context, k mux.Kind) <-chan string {
		result := make(chan string, 1)
		go func() {
			got, err := mux.Call[fish, fish](ctx, m.Peer(s), k, nil)
			if err != nil {
				got = &fish{Text: err.Error()}
			}
			result <- got.Text
		}()
		receive(t, hand) // so that they are sent in order
		return result
	}
	ctx, cancel := context.WithCancel(within(t, patience))
	forgotten := fishCall(ctx, mux.Number(1))
	first := fishCall(within(t, patience), mux.Number(1))
	second := fishCall(within(t, patience), mux.Number(2))
	third := fishCall(within(t, patience), mux.Number(1))
	cancel()
	if text := <-forgotten; text != context.Canceled.Error() {
		t.Error(text)
	}
	tell(t, hand, fish{Cmd: 1, Text: "for the one that is forgotten"})
	tell(t, hand, fish{Cmd: 2, Text: "for the second"})
	tell(t, hand, fish{Cmd: 90001, Code: 5, Text: "for the first"})
	tell(t, hand, fish{Cmd: 1, Text: "for the third"})
	for _, c := range []struct {
		result <-chan string
		want   string
	}{{first, "libnet: mux: error 5: for the first"}, {second, "for the second"}, {third, "for the third"}} {
		if got := <-c.result; got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	wantStats(t, m, mux.Stats{Late: 1})
}

// gated is a fish whose encoding waits for its gate.
type gated struct {
	fish fish
	gate chan struct{}
}

func (g *gated) Marshal() ([]byte, error) { <-g.gate; return g.fish.Marshal() }

func (*gated) Reset()         {}
func (*gated) String() string { return "gated" }
func (*gated) ProtoMessage()  {}

func TestCallsWithoutIDsAreSentInTheOrderInWhichTheyPend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, hand := fishermen(t)
		open := make(chan struct{})
		close(open)
		first := &gated{fish{Text: "first"}, make(chan struct{})}
		results := make(chan string, 2)
		for _, g := range []*gated{first, {fish{Text: "second"}, open}} {
			go func() {
				got, err := mux.Call[gated, fish](t.Context(), m.Peer(s), mux.Number(1), g)
				results <- fmt.Sprint(got.Text == g.fish.Text, err)
			}()
			synctest.Wait()
		}
		close(first.gate)
		for range 2 {
			var f fish
			_ = f.Unmarshal(receive(t, hand))
			tell(t, hand, f)
		}
		for range 2 {
			if got := <-results; got != "true <nil>" {
				t.Error(got)
			}
		}
	})
}

func TestRequestsWithoutIDsAreAnsweredInTheirOrderAsTheirClientsExpect(t *testing.T) {
	m := mux.New(mux.Proto(90001))
	mux.Handle(m, mux.Number(20002), func(_ context.Context, _ *libnet.Session, f *fish) (*fish, error) {
		if f.Text == "no" {
			return nil, &mux.Error{Code: 93001, Text: "no token"}
		}
		return &fish{Code: f.Code}, nil
	})
	mux.On(m, mux.Number(20007), func(context.Context, *libnet.Session, *fish) error { return &mux.Error{Code: 1} })
	s, hand := raw(t, m)
	tell(t, hand, fish{Cmd: 20002, Code: 7})
	tell(t, hand, fish{Cmd: 20007}) // asks for no reply, and so gets none
	tell(t, hand, fish{Cmd: 20002, Text: "no"})
	tell(t, hand, fish{Cmd: 20099})
	tell(t, hand, fish{Cmd: 90001}) // an error about nothing that was asked
	tell(t, hand, fish{Cmd: 20002})
	wantFish(t, hand, fish{Cmd: 20002, Code: 7})
	wantFish(t, hand, fish{Cmd: 90001, Code: 93001, Text: "no token"})
	wantFish(t, hand, fish{Cmd: 90001, Code: mux.CodeUnknownKind, Text: `unknown kind "20099"`})
	wantFish(t, hand, fish{Cmd: 20002})
	if got := m.Stats(); got != (mux.Stats{Unknown: 1, Unasked: 1}) || s.IsClosed() {
		t.Errorf("%+v, %v", got, s.Err())
	}
}

func TestAHandlerMayLeaveARequestWithoutReply(t *testing.T) {
	for _, e := range []mux.Envelope{mux.Proto(90001), mux.JSON} {
		synctest.Test(t, func(t *testing.T) {
			m, client := mux.New(e), mux.New(e)
			mux.Handle(m, "20002", func(_ context.Context, _ *libnet.Session, f *fish) (*fish, error) {
				return f, fmt.Errorf("nothing to say: %w", mux.ErrNoReply)
			})
			mux.On(m, "20003", func(context.Context, *libnet.Session, *fish) error { return mux.ErrNoReply })
			client.OnError = func(_ *libnet.Session, _ mux.Kind, err *mux.Error) { t.Errorf("%T: %v", e, err) }
			x, y := libnettest.Pipe()
			s := session(t, protocolOf(client), x)
			m.Start(session(t, protocolOf(m), y))
			if err := s.Send(mux.Message{Kind: "20003", Body: &fish{}}); err != nil {
				t.Fatal(err)
			}
			if got, err := mux.Call[fish, fish](t.Context(), client.Start(s), "20002", nil); err != context.DeadlineExceeded {
				t.Errorf("%T: %v, %v", e, got, err)
			}
		})
	}
}

func TestOnErrorHearsOfErrorsAboutWhatAskedForNoReply(t *testing.T) {
	for _, e := range []mux.Envelope{mux.Proto(90001), mux.JSON, mux.Binary(mux.JSONBody)} {
		type heard struct {
			kind mux.Kind
			err  mux.Error
		}
		got := make(chan heard, 8)
		m := mux.New(e)
		m.OnError = func(_ *libnet.Session, k mux.Kind, err *mux.Error) { got <- heard{k, *err} }
		mux.Handle(m, "20002", func(_ context.Context, _ *libnet.Session, f *fish) (*fish, error) { return f, nil })
		_, hand := raw(t, m)
		send := func(h mux.Header, body any) {
			t.Helper()
			b, err := e.Append(nil, h, body)
			if err != nil {
				t.Fatal(err)
			}
			if err := hand.Send(b); err != nil {
				t.Fatal(err)
			}
		}
		send(mux.Header{Kind: "20003", Role: mux.Failure}, &mux.Error{Code: 7, Text: "no"})
		want := heard{"20003", mux.Error{Code: 7, Text: "no"}}
		if _, ordered := e.(mux.OrderedEnvelope); ordered {
			want.kind = ""
		} else {
			send(mux.Header{Kind: "20003", ID: 9, Role: mux.Failure}, &mux.Error{Code: 8}) // of a call that there never was
		}
		if first := <-got; first != want {
			t.Errorf("%T: %+v", e, first)
		}
		send(mux.Header{Kind: "20002", ID: 1}, &fish{Cmd: 20002})
		receive(t, hand) // so all has been handled
		if _, ordered := e.(mux.OrderedEnvelope); len(got) > 0 || (m.Stats().Unasked == 1) == ordered {
			t.Errorf("%T: %d more errors, %+v", e, len(got), m.Stats())
		}
	}
}

func TestASlowLinkIsBoundedByTheMuxToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := <-call(context.Background(), newMux().Through(never{}), 1)
		if err != context.DeadlineExceeded || time.Since(began) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// never is a link that is never up.
type never struct{}

func (never) Ready(ctx context.Context) (*libnet.Session, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

var _ codec.Marshaler = (*mux.Mux)(nil)
