package mux_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
	"github.com/libnet-go/libnet/ws"
)

// askBack is a handler that asks its caller for its number, doubled.
func askBack(m *mux.Mux) func(ctx context.Context, s *libnet.Session, n *num) (*num, error) {
	return func(ctx context.Context, s *libnet.Session, n *num) (*num, error) {
		return mux.Call[num, num](ctx, m.Peer(s), double, n)
	}
}

// everywhere are the ways in which a server serves one registration.
var everywhere = []struct {
	name    string
	network string
	serve   func(srv *libnet.Server, m *mux.Mux) error
}{
	{"Serve", "tcp", func(srv *libnet.Server, m *mux.Mux) error { return srv.Serve(m) }},
	{"ServeMessages", "tcp", func(srv *libnet.Server, m *mux.Mux) error { return srv.ServeMessages(m) }},
	{"a Unix socket", "unix", func(srv *libnet.Server, m *mux.Mux) error { return srv.ServeMessages(m) }},
	{"a pipe", "pipe", func(srv *libnet.Server, m *mux.Mux) error { return srv.ServeMessages(m) }},
	{"TLS", "tls", func(srv *libnet.Server, m *mux.Mux) error { return srv.ServeMessages(m) }},
	{"ws.Handler", "http", nil},
	{"ws.MessageHandler", "http", nil},
}

func TestOneRegistrationServesEveryTransportAndCallsGoBothWays(t *testing.T) {
	for _, envelope := range []mux.Envelope{mux.Binary(mux.BinaryBody), mux.JSON} {
		for _, way := range everywhere {
			t.Run(fmt.Sprintf("%T over %s", envelope, way.name), func(t *testing.T) {
				libnettest.VerifyNone(t)
				m, client := mux.New(envelope), mux.New(envelope)
				said := make(chan uint64, 1)
				mux.Handle(m, double, askBack(m), mux.Concurrent(1))
				mux.Handle(client, double, doubled)
				mux.On(client, other, func(_ context.Context, _ *libnet.Session, n *num) error { said <- n.N; return nil })
				srv, s := connect(t, way.name, way.network, way.serve, m, client)
				peer := client.Start(s)
				got, err := mux.Call[num, num](within(t, patience), peer, double, &num{21})
				if err != nil || got.N != 42 {
					t.Fatal(got, err)
				}
				for of := range srv.Manager().All() {
					_ = of.Send(mux.Message{Kind: other, Body: &num{7}})
				}
				if n := testkit.Await(t, patience, "a message of the server's", said); n != 7 {
					t.Error(n)
				}
			})
		}
	}
}

// connect serves m in one of the ways and dials it with a session of client's.
func connect(t *testing.T, name, network string, serve func(*libnet.Server, *mux.Mux) error, m, client *mux.Mux) (*libnet.Server, *libnet.Session) {
	t.Helper()
	var srv *libnet.Server
	d := &libnet.Dialer{Protocol: protocolOf(client)}
	d.Logger = testkit.Quiet
	d.SendQueue = 16
	if network == "http" {
		srv = libnet.NewServer(libnettest.NewListener(), protocolOf(m), 16)
		handler := ws.Handler(srv, m, nil)
		if name == "ws.MessageHandler" {
			handler = ws.MessageHandler(srv, m, nil)
		}
		site := httptest.NewServer(handler)
		t.Cleanup(site.Close)
		t.Cleanup(srv.Stop)
		srv.Logger = testkit.Quiet
		s, err := ws.Dial(within(t, patience), site.URL, d, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return srv, s
	}
	l := testkit.Listen(t, network)
	srv = libnet.NewServer(l, protocolOf(m), 16)
	srv.Logger = testkit.Quiet
	dialNetwork := network
	if network == "tls" {
		srv.TLSConfig, d.TLSConfig = testkit.ServerTLS(), testkit.ClientTLS()
		dialNetwork = "tcp"
	}
	served := make(chan error, 1)
	go func() { served <- serve(srv, m) }()
	t.Cleanup(func() { srv.Stop(); <-served })
	var s *libnet.Session
	var err error
	if pipe, ok := l.(*libnettest.Listener); ok {
		var conn net.Conn
		if conn, err = pipe.Dial(); err == nil {
			s, err = d.NewSession(conn)
		}
	} else {
		s, err = d.Dial(within(t, patience), dialNetwork, l.Addr().String())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return srv, s
}

func TestWhatCannotBeServedIsAnsweredWithAnErrorThatNamesItAndTheSessionStays(t *testing.T) {
	m := newMux()
	mux.Handle(m, double, doubled)
	s, hand := raw(t, m)
	for _, c := range []struct {
		name, sent, want string
	}{
		{"an unknown kind", string(header(7, 5, mux.Ask)), string(header(7, 5, mux.Failure)) + "\x94\x03" + `unknown kind "7"`},
		{"one that asks for no reply", string(header(7, 0, mux.Ask)), string(header(7, 0, mux.Failure)) + "\x94\x03" + `unknown kind "7"`},
		{"a body that cannot be decoded", string(header(1, 6, mux.Ask)) + "abc", string(header(1, 6, mux.Failure)) + "\x90\x03" + `kind "1": the body cannot be decoded`},
		{"the same without an id", string(header(1, 0, mux.Ask)) + "abc", string(header(1, 0, mux.Failure)) + "\x90\x03" + `kind "1": the body cannot be decoded`},
		{"a good one", string(header(1, 8, mux.Ask)) + "\x00\x00\x00\x00\x00\x00\x00\x15", string(reply(8, 42))},
	} {
		if err := hand.Send([]byte(c.sent)); err != nil {
			t.Fatal(err)
		}
		if got := string(receive(t, hand)); got != c.want {
			t.Errorf("%s was answered with %q, want %q", c.name, got, c.want)
		}
	}
	if got, want := m.Stats(), (mux.Stats{Unknown: 2, BadBodies: 2}); got != want || s.IsClosed() {
		t.Errorf("%+v, want %+v, closed: %v", got, want, s.Err())
	}
}

func TestSendTakesAMessageThatIsEncodedAlready(t *testing.T) {
	m := newMux()
	s, hand := raw(t, m)
	encoded, err := m.AppendMarshal([]byte("dst"), mux.Message{Kind: double, Body: &num{7}})
	if err != nil {
		t.Fatal(err)
	}
	for _, msg := range []any{encoded[3:], &mux.Message{Kind: double, Body: &num{7}}} {
		if err := s.Send(msg); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, hand); string(got) != string(encoded[3:]) {
			t.Errorf("%T: %q", msg, got)
		}
	}
	if err := s.Send("text"); !errors.Is(err, libnet.ErrEncode) {
		t.Errorf("a string: %v", err)
	}
}

func TestAnEnvelopeThatCannotBeReadEndsTheSession(t *testing.T) {
	for _, c := range []struct {
		envelope mux.Envelope
		sent     string
	}{
		{mux.Binary(mux.BinaryBody), ""},
		{mux.JSON, "{"},
		{mux.Proto(90001), "\x12"},
		{strange{}, "whatever"},
	} {
		m := mux.New(c.envelope)
		s, hand := raw(t, m)
		if err := hand.Send([]byte(c.sent)); err != nil {
			t.Fatal(err)
		}
		testkit.Await(t, patience, "the session's end", s.Done())
		if err := s.Err(); err != mux.ErrMalformed || libnet.CloseReason(err) != "malformed_frame" {
			t.Errorf("%T: %v", c.envelope, err)
		}
	}
}

// strange is an envelope that can read nothing.
type strange struct{ mux.Envelope }

func (strange) Open(*mux.Kinds, []byte) (h mux.Header, body []byte, ok bool) { return h, nil, false }

func TestMessagesOfASessionAreHandledInOrderAndThoseOfOthersAreNotHeldUp(t *testing.T) {
	m, client := newMux(), newMux()
	release := make(chan struct{})
	var next atomic.Uint64
	mux.Handle(m, double, func(_ context.Context, _ *libnet.Session, n *num) (*num, error) {
		if n.N == 0 {
			<-release
		} else if !next.CompareAndSwap(n.N-1, n.N) {
			t.Errorf("%d came when %d was due", n.N, next.Load()+1)
		}
		return n, nil
	})
	srv, first := connect(t, "", "tcp", everywhere[1].serve, m, client)
	client.Start(first)
	second, err := (&libnet.Dialer{Protocol: protocolOf(client)}).Dial(within(t, patience), "tcp", srv.Listener().Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	held := make(chan error, 1)
	go func() {
		_, err := mux.Call[num, num](within(t, patience), client.Peer(first), double, &num{0})
		held <- err
	}()
	peer := client.Start(second)
	for n := range uint64(100) {
		_ = second.Send(&mux.Message{Kind: double, Body: &num{2*n + 1}})
		if got, err := mux.Call[num, num](within(t, patience), peer, double, &num{2*n + 2}); err != nil || got.N != 2*n+2 {
			t.Fatal(got, err)
		}
	}
	close(release)
	if err := <-held; err != nil {
		t.Error(err)
	}
}

func TestAPeerThatDoesNotTakeItsRepliesIsNotReadFromAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMux()
		var handled atomic.Int32
		mux.Handle(m, double, func(_ context.Context, _ *libnet.Session, n *num) (*num, error) {
			handled.Add(1)
			return n, nil
		})
		near, far := libnettest.PipeSize(100)
		d := libnet.Dialer{Protocol: protocolOf(m)}
		d.Logger = testkit.Quiet
		d.SendQueue = 2
		s, err := d.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		m.Start(s)
		go func() {
			frame := append([]byte{0, 0, 0, 10}, append(header(1, 1, mux.Ask), 0, 0, 0, 0, 0, 0, 0, 1)...)
			for {
				if _, err := far.Write(frame); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		time.Sleep(19 * time.Second)
		if n := handled.Load(); n > 50 {
			t.Errorf("%d messages handled", n)
		}
		<-s.Done() // what arrives until the moment it ends is handled, and has no replies
		if !errors.Is(s.Err(), libnet.ErrWriteTimeout) || time.Since(began) > 21*time.Second {
			t.Errorf("%v after %v", s.Err(), time.Since(began))
		}
		_ = far.Close()
	})
}

func TestASessionThatWaitsInEventModeHasNoGoroutineAfterCallsBothWays(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("event mode is Linux'")
	}
	m := newMux()
	mux.Handle(m, double, askBack(m), mux.Concurrent(1))
	client := newMux()
	mux.Handle(client, double, doubled)
	srv, first := connect(t, "", "tcp", everywhere[1].serve, m, client)
	if _, err := mux.Call[num, num](within(t, patience), client.SyncPeer(first), double, &num{1}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "idleness", func() bool { return srv.Manager().Len() == 1 })
	before := runtime.NumGoroutine()
	for range 50 {
		s, err := (&libnet.Dialer{Protocol: protocolOf(client)}).Dial(within(t, patience), "tcp", srv.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if got, err := mux.Call[num, num](within(t, patience), client.SyncPeer(s), double, &num{21}); err != nil || got.N != 42 {
			t.Fatal(got, err)
		}
	}
	testkit.Eventually(t, "no goroutine a session", func() bool { return runtime.NumGoroutine() < before+25 })
}
