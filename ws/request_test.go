package ws_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

func TestAHandlerSeesTheRequestAndTheSubprotocol(t *testing.T) {
	type seen struct{ path, room, token, cookie, subprotocol string }
	look := func(s *libnet.Session) seen {
		r := ws.Request(s)
		if r == nil {
			return seen{}
		}
		cookie, err := r.Cookie("user")
		if err != nil {
			return seen{}
		}
		return seen{r.URL.Path, r.URL.Query().Get("room"), r.Header.Get("Authorization"), cookie.Value, ws.Subprotocol(s)}
	}
	got := make(chan seen, 3)
	r := start(t, setup{
		options: &ws.HandlerOptions{Subprotocols: []string{"chat.v2", "chat.v1"}},
		config: func(srv *libnet.Server) {
			srv.OnSession = func(s *libnet.Session) error {
				got <- look(s)
				s.OnClose(func() { got <- look(s) })
				return nil
			}
		},
		handler: libnet.HandlerFunc(func(s *libnet.Session) { got <- look(s) }),
	})
	client, err := ws.Dial(t.Context(), r.url()+"chat?room=7", &libnet.Dialer{Protocol: frames}, &ws.DialOptions{
		Header:       http.Header{"Authorization": {"Bearer x"}, "Cookie": {"user=me"}},
		Subprotocols: []string{"chat.v1", "chat.v2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	want := seen{"/chat", "7", "Bearer x", "me", "chat.v2"}
	for _, where := range []string{"OnSession", "the handler", "OnClose"} {
		if s := <-got; s != want {
			t.Errorf("%s: %+v", where, s)
		}
	}
	if agreed := ws.Subprotocol(client); agreed != "chat.v2" {
		t.Errorf("the client: %q", agreed)
	}
	if ws.Request(client) != nil {
		t.Error("a client has a request")
	}
}

func TestASessionThatIsNoWebSocketHasNoRequest(t *testing.T) {
	srv := libnet.NewServer(libnettest.NewListener(), frames, 0)
	defer srv.Stop()
	near, far := libnettest.Pipe()
	defer far.Close()
	s, err := srv.NewSession(near)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*libnet.Session{s, nil} {
		if ws.Request(s) != nil || ws.Subprotocol(s) != "" {
			t.Error("it has")
		}
	}
}

func TestDialTellsHowTheServerAnswered(t *testing.T) {
	r := start(t, setup{})
	for _, status := range []int{http.StatusUnauthorized, http.StatusServiceUnavailable, http.StatusNotFound} {
		url := behind(t, r, nil, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Retry-After", "120")
				http.Error(w, "as you see", status)
			})
		})
		_, err := ws.Dial(t.Context(), url, &libnet.Dialer{Protocol: frames}, nil)
		var answer *ws.HandshakeError
		if !errors.As(err, &answer) {
			t.Fatalf("%d: %v", status, err)
		}
		if answer.StatusCode != status || answer.Header.Get("Retry-After") != "120" || string(answer.Body) != "as you see\n" {
			t.Errorf("%d: %+v", status, answer)
		}
	}
	_, err := ws.Dial(t.Context(), "ws://127.0.0.1:1/", &libnet.Dialer{Protocol: frames}, nil)
	var answer *ws.HandshakeError
	if err == nil || errors.As(err, &answer) {
		t.Errorf("nobody answered: %v", err)
	}
}

// An answer that agrees and then proves wrong is an answer, too; its connection is closed.
func TestDialTellsOfAnUpgradeThatIsWrong(t *testing.T) {
	libnettest.VerifyNone(t)
	r := start(t, setup{})
	url := behind(t, r, nil, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			write(t, conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			conn.SetReadDeadline(time.Now().Add(soon))
			if n, err := conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("the client went on with %d bytes", n)
			}
		})
	})
	begin := time.Now()
	_, err := ws.Dial(t.Context(), url, &libnet.Dialer{Protocol: frames}, nil)
	var answer *ws.HandshakeError
	if !errors.As(err, &answer) || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("Dial: %v", err)
	}
	if took := time.Since(begin); took > testkit.Patience/2 { // less than the handshake's bound
		t.Errorf("Dial waited %v for more", took)
	}
}

// A server of another protocol ends what it takes for no frame of its own.
func TestDialOfAServerThatIsNoWebSocketsSaysSo(t *testing.T) {
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", frames, 0)
	if err != nil {
		t.Fatal(err)
	}
	srv.Logger = testkit.Quiet
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(echo) }()
	defer func() { srv.Stop(); <-served }()
	_, err = ws.Dial(t.Context(), "ws://"+srv.Listener().Addr().String(), &libnet.Dialer{Protocol: frames}, nil)
	if !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "no WebSocket server") {
		t.Errorf("Dial: %v", err)
	}
}

func TestDialOfAServerThatSpeaksNoTLSGivesUp(t *testing.T) {
	testkit.Slow(t)
	for name, config := range map[string]*tls.Config{"with a TLSConfig": testkit.AnyTLS(), "without one": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := testkit.Listen(t, "tcp")
			defer l.Close()
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := ws.Dial(ctx, "wss://"+l.Addr().String(), &libnet.Dialer{Protocol: frames, TLSConfig: config}, nil)
			if took := time.Since(began); !errors.Is(err, libnet.ErrHandshakeTimeout) || !strings.Contains(err.Error(), "may not speak TLS") || took < 10*time.Second {
				t.Errorf("Dial: %v, after %v", err, took)
			}
		})
	}
}

func TestDialWithoutADialerIsAnError(t *testing.T) {
	if _, err := ws.Dial(t.Context(), "ws://127.0.0.1:1", new(libnet.Dialer), nil); err == nil || !strings.Contains(err.Error(), "without a Protocol") {
		t.Errorf("Dial without a Protocol: %v", err)
	}
	r := start(t, setup{})
	if _, err := ws.Dial(context.Background(), r.url(), nil, nil); err == nil {
		t.Error("dialled")
	}
}
