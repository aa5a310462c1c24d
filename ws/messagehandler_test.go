package ws_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

var echoMessages = libnet.MessageHandlerFunc(testkit.EchoMessage)

// serveWeb serves h with net/http on a port of its own, over TLS if secure, and returns the address.
func serveWeb(t testing.TB, h http.Handler, secure bool) *net.TCPAddr {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().(*net.TCPAddr)
	if secure {
		listener = ws.TLSListener(listener, testkit.ServerTLS())
	}
	web := &http.Server{Handler: h, ErrorLog: discardLog}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	t.Cleanup(func() {
		web.Close()
		<-served
	})
	return addr
}

func newServer(t testing.TB) *libnet.Server {
	srv := libnet.NewServer(libnettest.NewListener(), frames, 1000)
	srv.Logger = slog.New(slog.DiscardHandler)
	t.Cleanup(srv.Stop)
	return srv
}

func TestFramesBehindTheRequestReachAMessageHandler(t *testing.T) {
	srv := newServer(t)
	addr := serveWeb(t, ws.MessageHandler(srv, echoMessages, nil), false)
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(soon))
	write(t, conn, upgradeRequest+frame(fin|binaryFrame, "early")+frame(ping, "?")+frame(fin|text, "half a frame")[:9])
	in := bufio.NewReader(conn)
	wantUpgrade(t, in)
	wantEcho(t, in, "early")
	wantEcho(t, in, "?")
	write(t, conn, frame(fin|text, "half a frame")[9:])
	wantEcho(t, in, "half a frame")
}

func TestPagesAndSessionsShareATLSListener(t *testing.T) {
	srv := newServer(t)
	secure := make(chan bool, 1)
	srv.OnSession = func(s *libnet.Session) error {
		_, is := s.TLS()
		secure <- is && ws.Request(s).TLS != nil
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("/ws", ws.MessageHandler(srv, echoMessages, nil))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page of "+r.Proto) })
	addr := serveWeb(t, mux, true)

	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: testkit.ClientTLS(), ForceAttemptHTTP2: true}}
	defer browser.CloseIdleConnections()
	response, err := browser.Get("https://" + addr.String())
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if string(page) != "page of HTTP/1.1" || response.TLS == nil {
		t.Errorf("%q", page)
	}

	d := &libnet.Dialer{Protocol: frames}
	d.SendQueue, d.TLSConfig, d.Logger = 1000, testkit.ClientTLS(), slog.New(slog.DiscardHandler)
	client, err := ws.Dial(t.Context(), "wss://"+addr.String()+"/ws", d, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !<-secure {
		t.Error("the session is not secure")
	}
	for i := range 500 {
		send(t, client, numbered(i))
	}
	for i := range 500 {
		want(t, client, numbered(i))
	}
	if err := client.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "no session to be open", func() bool { return srv.Stats().Open == 0 })
}

type userKey struct{}

func TestARequestThatIsOverIsStillWhatMiddlewareMadeOfIt(t *testing.T) {
	srv := newServer(t)
	requests := make(chan *http.Request, 1)
	srv.OnSession = func(s *libnet.Session) error {
		testkit.Eventually(t, "the request to be over", func() bool { return ws.Request(s) != nil })
		requests <- ws.Request(s)
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("/chat/{room}/{rest...}", http.StripPrefix("/chat", ws.MessageHandler(srv, echoMessages, nil)))
	addr := serveWeb(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(context.WithValue(r.Context(), userKey{}, "me"))
		r.RemoteAddr = "192.0.2.1:80"
		mux.ServeHTTP(w, r)
	}), false)
	client, err := ws.Dial(t.Context(), "ws://"+addr.String()+"/chat/7/a/b?x=y", &libnet.Dialer{Protocol: frames}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	send(t, client, "hello")
	want(t, client, "hello")
	r := <-requests
	if r.URL.Path != "/7/a/b" || r.URL.RawQuery != "x=y" || r.RemoteAddr != "192.0.2.1:80" || r.Host != addr.String() ||
		r.PathValue("room") != "7" || r.PathValue("rest") != "a/b" || !strings.HasPrefix(r.Pattern, "/chat/") {
		t.Errorf("%+v: %s", r, r.URL)
	}
	ctx := r.Context()
	if ctx.Value(userKey{}) != "me" || ctx.Err() != nil || context.Cause(ctx) != nil {
		t.Errorf("%v: %v", ctx.Value(userKey{}), ctx.Err())
	}
	client.Close()
	<-ctx.Done()
}

func TestShutdownOfAMessageHandlersServerLosesNothing(t *testing.T) {
	for name, secure := range map[string]bool{"http": false, "https": true} {
		t.Run(name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			srv := newServer(t)
			addr := serveWeb(t, ws.MessageHandler(srv, echoMessages, nil), secure)
			scheme := "ws"
			d := &libnet.Dialer{Protocol: frames}
			d.SendQueue, d.Logger = 100, slog.New(slog.DiscardHandler)
			if secure {
				scheme, d.TLSConfig = "wss", testkit.ClientTLS()
			}
			const clients, messages = 20, 50
			for range clients {
				client, err := ws.Dial(t.Context(), scheme+"://"+addr.String(), d, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				for i := range messages {
					send(t, client, numbered(i))
				}
				for i := range messages {
					want(t, client, numbered(i))
				}
				defer func() {
					if _, err := client.Receive(); err == nil {
						t.Error("one too many")
					}
				}()
			}
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			s := srv.Stats()
			if s.Accepted != clients || s.Open != 0 || s.MessagesIn != clients*messages || s.MessagesOut != clients*messages || s.Discarded != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// What is refused behind the upgrade is told why, as by a Handler.
func TestAMessageHandlerTellsWhomItRefuses(t *testing.T) {
	inMode(t, messageHandlerMode, func(t *testing.T) {
		for _, test := range []func(*testing.T){
			TestAServerThatTakesNoSessionSaysSo,
			TestAProtocolThatCannotEncodeWithoutTheConnectionIsRefused,
			TestMaxSessionsHoldsForWebSocketsToo,
		} {
			t.Run(nameOf(test), test)
		}
	})
}

func TestMisuseOfAMessageHandlerPanicsWhereItIsSaid(t *testing.T) {
	srv := newServer(t)
	for name, misuse := range map[string]func(){
		"no server":   func() { ws.MessageHandler(nil, echoMessages, nil) },
		"no handler":  func() { ws.MessageHandler(srv, nil, nil) },
		"nil func":    func() { ws.MessageHandler(srv, libnet.MessageHandlerFunc(nil), nil) },
		"zero server": func() { ws.MessageHandler(new(libnet.Server), echoMessages, nil) },
		"no listener": func() { ws.TLSListener(nil, testkit.ServerTLS()) },
		"no config":   func() { ws.TLSListener(libnettest.NewListener(), nil) },
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

// Behind net/http the handshake of TLS is over: its bound has nothing to say to a client that waits to be let in.
func TestASilentClientBehindHTTPSMayWait(t *testing.T) {
	testkit.Slow(t)
	t.Parallel()
	srv := newServer(t)
	srv.OnSession = func(s *libnet.Session) error {
		select {
		case <-time.After(11 * time.Second):
			return s.Send("come in")
		case <-s.Done():
			return s.Err()
		}
	}
	web := httptest.NewTLSServer(ws.MessageHandler(srv, echoMessages, nil))
	defer web.Close()
	d := libnet.Dialer{Protocol: frames, TLSConfig: testkit.AnyTLS()}
	s, err := ws.Dial(t.Context(), web.URL, &d, nil)
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := s.Receive(); string(msg) != "come in" {
		t.Errorf("received %q, %v", msg, err)
	}
	_ = s.Close()
	srv.Stop()
}

// Routers that have regular expressions in their patterns set path values as http.ServeMux does.
func TestPathValuesOfPatternsWithExpressionsAreKept(t *testing.T) {
	srv := newServer(t)
	messages := ws.MessageHandler(srv, libnet.MessageHandlerFunc(func(s *libnet.Session, _ []byte) {
		r := ws.Request(s)
		_ = s.Send(r.PathValue("year") + " " + r.PathValue("room") + " " + r.Pattern)
	}), nil)
	addr := serveWeb(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Pattern = "/{year:[0-9]{4}}/{room:[a-z]+}"
		r.SetPathValue("year", "2026")
		r.SetPathValue("room", "lobby")
		messages.ServeHTTP(w, r)
	}), false)
	client, err := ws.Dial(t.Context(), "ws://"+addr.String()+"/2026/lobby", &libnet.Dialer{Protocol: frames}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	send(t, client, "which?")
	want(t, client, "2026 lobby /{year:[0-9]{4}}/{room:[a-z]+}")
}

// Pages send tokens as subprotocols, having no other header, and middleware agrees to them.
func TestSubprotocolsOfPeersAreNotKept(t *testing.T) {
	const clients, length, header = 200, 16 << 10, "Sec-WebSocket-Protocol"
	srv := newServer(t)
	messages := ws.MessageHandler(srv, echoMessages, nil)
	addr := serveWeb(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(header, r.Header.Get(header))
		messages.ServeHTTP(w, r)
	}), false)
	connect := func(token string) {
		o := &ws.DialOptions{Subprotocols: []string{token}}
		client, err := ws.Dial(t.Context(), "ws://"+addr.String(), &libnet.Dialer{Protocol: frames}, o)
		if err != nil {
			t.Fatal(err)
		}
		if agreed := ws.Subprotocol(client); agreed != token {
			t.Errorf("agreed on %.20q", agreed)
		}
		_ = client.Close()
	}
	connect("first")
	before, _ := testkit.InUse()
	for i := range clients {
		connect(strings.Repeat("x", length) + strconv.Itoa(i))
	}
	testkit.Eventually(t, "the tokens to be gone", func() bool {
		after, _ := testkit.InUse()
		return srv.Stats().Open == 0 && after-before < clients*length/2
	})
}
