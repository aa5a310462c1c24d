package ws_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

func TestAMessageOverTheLimitEndsTheSession(t *testing.T) {
	for name, set := range map[string]setup{
		"of the server": {config: func(srv *libnet.Server) { srv.MaxMessage = 1000 }},
		"of the codec":  {protocol: codec.New(codec.Uint32BE, codec.Bytes).MaxMessage(1000)},
		"the smaller of both": {
			protocol: codec.New(codec.Uint32BE, codec.Bytes).MaxMessage(1000),
			config:   func(srv *libnet.Server) { srv.MaxMessage = 5000 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, set)
			browser := r.browser(t)
			s := r.session(t)
			browser.Write(t.Context(), websocket.MessageBinary, make([]byte, 1000))
			if _, got, err := browser.Read(t.Context()); len(got) != 1000 || err != nil {
				t.Fatalf("a message of the limit's size: %d bytes, %v", len(got), err)
			}
			if err := s.Send(make([]byte, 1001)); !errors.Is(err, libnet.ErrFrameTooLarge) || s.IsClosed() {
				t.Fatalf("Send: %v, closed %v", err, s.IsClosed())
			}
			browser.Write(t.Context(), websocket.MessageBinary, make([]byte, 1001))
			wantCode(t, browser, websocket.StatusMessageTooBig)
			wantEnd(t, s, libnet.ErrFrameTooLarge)
		})
	}
}

func TestTheDefaultLimitIsThatOfOtherConnections(t *testing.T) {
	r := start(t, setup{handler: sink})
	browser := r.browser(t)
	s := r.session(t)
	browser.Write(t.Context(), websocket.MessageBinary, make([]byte, 1<<20))
	browser.Write(t.Context(), websocket.MessageBinary, make([]byte, 1<<20+1))
	wantEnd(t, s, libnet.ErrFrameTooLarge)
	if in := s.Stats().MessagesIn; in != 1 {
		t.Fatalf("received %d messages, want the one of 1 MiB", in)
	}
}

func TestForeignOriginsAreRefusedUnlessAllowed(t *testing.T) {
	r := start(t, setup{options: &ws.HandlerOptions{OriginPatterns: []string{"*.friend.test", "https://secure.test"}}})
	host := r.listener.Addr().String()
	for origin, allowed := range map[string]bool{
		"":                         true, // no browser
		"http://" + host:           true,
		"https://chat.friend.test": true,
		"https://secure.test":      true,
		"http://secure.test":       false,
		"https://evil.test":        false,
		"https://friend.test.evil": false,
		"null":                     false,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		d := &libnet.Dialer{Protocol: frames}
		s, err := ws.Dial(t.Context(), r.url(), d, &ws.DialOptions{Header: header})
		if (err == nil) != allowed {
			t.Errorf("origin %q: %v", origin, err)
		}
		if err == nil {
			r.session(t)
			s.Close()
		} else if !strings.Contains(err.Error(), "403") {
			t.Errorf("origin %q: %v does not tell the status", origin, err)
		}
	}
	if accepted := r.Stats().Accepted; currentMode == handlerMode && accepted != 4 {
		t.Errorf("%d sessions, want 4", accepted)
	}
}

func TestARequestThatIsNoWebSocketIsAnswered(t *testing.T) {
	r := start(t, setup{})
	response, err := http.Get("http" + strings.TrimPrefix(r.url(), "ws"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if response.StatusCode != http.StatusUpgradeRequired {
		t.Fatal(response.Status)
	}
}

func TestSubprotocolsAreAgreedOn(t *testing.T) {
	r := start(t, setup{options: &ws.HandlerOptions{Subprotocols: []string{"chat.v2", "chat.v1"}}})
	c, _, err := websocket.Dial(t.Context(), r.url(), &websocket.DialOptions{Subprotocols: []string{"chat.v1", "chat.v2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if c.Subprotocol() != "chat.v2" {
		t.Fatalf("agreed on %q", c.Subprotocol())
	}
}

// The library takes names for the same that differ in their letters' case. The client is answered with its own
// spelling, as it will look for that, and who serves it with his.
func TestASubprotocolIsSpelledAsWhoAsksHasSpelledIt(t *testing.T) {
	r := start(t, setup{options: &ws.HandlerOptions{Subprotocols: []string{"chat.v2", "chat.v1"}}})
	client, err := ws.Dial(t.Context(), r.url(), &libnet.Dialer{Protocol: frames}, &ws.DialOptions{Subprotocols: []string{"Chat.V1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if ours, theirs := ws.Subprotocol(r.session(t)), ws.Subprotocol(client); ours != "chat.v1" || theirs != "Chat.V1" {
		t.Errorf("the server speaks %q, and the client %q", ours, theirs)
	}
}

// What sessions share lives as long as their server: no peer can make more of it than the user has subprotocols, nor
// have it keep what its header says beside one.
func TestWhatPeersOfferIsNotKeptBehindThem(t *testing.T) {
	const bound, peers = 1 << 20, 300
	name := "abcdefghij"
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{options: &ws.HandlerOptions{Subprotocols: []string{name}}})
		peer := func(i int) {
			spelled := []byte(name)
			for bit := range spelled {
				spelled[bit] -= byte(i>>bit&1) * ('a' - 'A')
			}
			conn := r.connect(t)
			defer conn.Close()
			write(t, conn, request("Sec-WebSocket-Protocol: "+string(spelled)+", "+strings.Repeat("x", 14<<10)))
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || response.Header.Get("Sec-Websocket-Protocol") != string(spelled) {
				t.Fatal(response, err)
			}
		}
		peer(0)
		<-r.session(t).Done()
		before, _ := testkit.InUse()
		for i := range peers {
			peer(i)
			<-r.session(t).Done()
		}
		testkit.Eventually(t, "so little in use", func() bool { after, _ := testkit.InUse(); return after-before < bound })
	})
}

func TestSessionsOfAServerKnowEachItsOwnAgreement(t *testing.T) {
	r := start(t, setup{options: &ws.HandlerOptions{Subprotocols: []string{"chat.v2", "chat.v1"}, CompressFrom: 1}})
	type opened struct {
		session  *libnet.Session
		speaking string
	}
	var all []opened
	for i, offered := range [][]string{{"chat.v1"}, nil, {"chat.v2"}, {"chat.v1"}, nil} {
		mode := websocket.CompressionDisabled
		if i%2 == 0 {
			mode = websocket.CompressionNoContextTakeover
		}
		c, _, err := websocket.Dial(t.Context(), r.url(), &websocket.DialOptions{Subprotocols: offered, CompressionMode: mode})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		all = append(all, opened{r.session(t), c.Subprotocol()})
	}
	for i, o := range all {
		if got := ws.Subprotocol(o.session); got != o.speaking {
			t.Errorf("session %d speaks %q, and its client %q", i, got, o.speaking)
		}
	}
}

func TestMaxSessionsHoldsForWebSocketsToo(t *testing.T) {
	r := start(t, setup{config: func(srv *libnet.Server) { srv.MaxSessionsPerIP = 1 }})
	first := r.dial(t, 0)
	r.session(t)
	second := r.dial(t, 0)
	if _, err := second.Receive(); err == nil {
		t.Fatal("a second session from the same address was served")
	}
	send(t, first, "still here")
	want(t, first, "still here")
	if stats := r.Stats(); stats.Rejected != 1 || stats.Open != 1 {
		t.Fatalf("rejected %d, open %d", stats.Rejected, stats.Open)
	}
}

func TestAStoppedServerTakesNoWebSocket(t *testing.T) {
	r := start(t, setup{})
	r.Stop()
	client := r.dial(t, 0)
	if _, err := client.Receive(); err == nil {
		t.Fatal("served")
	}
}

func TestOnSessionAdmitsWebSocketsAndMayReceive(t *testing.T) {
	refused := errors.New("wrong password")
	r := start(t, setup{config: func(srv *libnet.Server) {
		srv.OnSession = func(s *libnet.Session) error {
			if login, err := s.Receive(); err != nil || string(login) != "secret" {
				return refused
			}
			return s.Send("welcome")
		}
	}})
	bad := r.dial(t, 0)
	send(t, bad, "guess")
	if _, err := bad.Receive(); err == nil {
		t.Fatal("let in without the password")
	}
	good := r.dial(t, 0)
	send(t, good, "secret")
	want(t, good, "welcome")
	send(t, good, "echo")
	want(t, good, "echo")
}

// plainCodec has no AppendFrame and no ParseFrame.
type plainCodec struct{ libnet.Codec }

func TestAProtocolThatCannotEncodeWithoutTheConnectionIsRefused(t *testing.T) {
	plain := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return plainCodec{frames.NewCodec(rw)} })
	r := start(t, setup{protocol: plain})
	wantCode(t, r.browser(t), websocket.StatusInternalError)

	d := &libnet.Dialer{Protocol: plain}
	d.Logger = slog.New(slog.DiscardHandler)
	if _, err := ws.Dial(t.Context(), r.url(), d, nil); !errors.Is(err, libnet.ErrPanic) {
		t.Fatalf("Dial: %v", err)
	}
}

func TestMisuseOfHandlerPanicsWhereItIsSaid(t *testing.T) {
	srv := libnet.NewServer(libnettest.NewListener(), frames, 0)
	for name, misuse := range map[string]func(){
		"no server":                        func() { ws.Handler(nil, echo, nil) },
		"no handler":                       func() { ws.Handler(srv, nil, nil) },
		"nil func":                         func() { ws.Handler(srv, libnet.HandlerFunc(nil), nil) },
		"zero server":                      func() { ws.Handler(new(libnet.Server), echo, nil) },
		"no protocol":                      func() { ws.Protocol(nil, nil) },
		"a protocol that is a nil pointer": func() { ws.Protocol((*codec.Composed)(nil), nil) },
		"no listener":                      func() { ws.TLSListener(nil, new(tls.Config)) },
		"a listener that is a nil pointer": func() { ws.TLSListener((*libnettest.Listener)(nil), new(tls.Config)) },
		"no context":                       func() { var nobody context.Context; _, _ = ws.Dial(nobody, "ws://127.0.0.1:1", nil, nil) },
		"bad pattern":                      func() { ws.Handler(srv, echo, &ws.HandlerOptions{OriginPatterns: []string{"["}}) },
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, "libnet: ") {
					t.Errorf("%s: %q", name, text)
				}
			}()
			misuse()
			t.Errorf("%s: no panic", name)
		}()
	}
}

// The listener never accepts, so the request is never answered.
func TestDialFailsWithinItsBoundAndLeavesNothing(t *testing.T) {
	libnettest.VerifyNone(t)
	r := start(t, setup{serve: func(*http.Server, net.Listener) error { return nil }})
	d := &libnet.Dialer{Protocol: frames}
	d.HandshakeTimeout = 50 * time.Millisecond
	_, err := ws.Dial(t.Context(), r.url(), d, nil)
	if !errors.Is(err, libnet.ErrHandshakeTimeout) {
		t.Fatalf("Dial: %v", err)
	}
	r.listener.Close()
	if _, err := ws.Dial(t.Context(), r.url(), d, nil); err == nil {
		t.Fatal("dialled a closed port")
	}
	if _, err := ws.Dial(t.Context(), "ftp://libnet.test", d, nil); err == nil {
		t.Fatal("dialled ftp")
	}
	if _, err := ws.Dial(t.Context(), r.url(), &libnet.Dialer{}, nil); err == nil {
		t.Fatal("dialled without a protocol")
	}
}

// A limit says so with a close code that has a client try again.
func TestAWebSocketThatALimitRefusesIsToldToTryAgainLater(t *testing.T) {
	r := start(t, setup{config: func(srv *libnet.Server) { srv.MaxSessions = 1 }})
	first := r.dial(t, 0)
	send(t, first, "hello")
	want(t, first, "hello")
	wantCode(t, r.browser(t), websocket.StatusTryAgainLater)
}
