package ws_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/ws"
)

// behind serves r's sessions behind middleware and returns the URL for Dial.
func behind(t testing.TB, r *rig, o *ws.HandlerOptions, middleware func(http.Handler) http.Handler) string {
	t.Helper()
	web := httptest.NewUnstartedServer(middleware(ws.Handler(r.Server, echo, o)))
	web.Config.ErrorLog = discardLog
	web.Start()
	t.Cleanup(web.Close)
	return "ws" + strings.TrimPrefix(web.URL, "http")
}

// wrapped passes each request on with the ResponseWriter that wrap makes.
func wrapped(wrap func(http.ResponseWriter) http.ResponseWriter) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(wrap(w), r) })
	}
}

// embedding hides what the ResponseWriter is besides.
type embedding struct{ http.ResponseWriter }

// unwrapping is found through by an http.ResponseController.
type unwrapping struct{ embedding }

func (w unwrapping) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// hijacking passes Hijack on.
type hijacking struct{ embedding }

func (w hijacking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.ResponseWriter.(http.Hijacker).Hijack()
}

// late is a ResponseWriter with the contract of gin's: WriteHeader only notes a status, which goes out with
// WriteHeaderNow or the first Write, and Hijack is for the time before the first Write.
type late struct {
	http.ResponseWriter
	status int
	size   int // -1 before the header is out
}

func (w *late) WriteHeader(status int) {
	if w.size < 0 {
		w.status = status
	}
}

func (w *late) WriteHeaderNow() {
	if w.size < 0 {
		w.size = 0
		w.ResponseWriter.WriteHeader(w.status)
	}
}

func (w *late) Write(p []byte) (int, error) {
	w.WriteHeaderNow()
	n, err := w.ResponseWriter.Write(p)
	w.size += n
	return n, err
}

func (w *late) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.size > 0 {
		return nil, nil, errors.New("a body has been written")
	}
	w.size = max(w.size, 0)
	return w.ResponseWriter.(http.Hijacker).Hijack()
}

// lateServer ends each request as gin does.
func lateServer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lw := &late{w, http.StatusOK, -1}
		next.ServeHTTP(lw, r)
		lw.WriteHeaderNow()
	})
}

// failing claims to be a Hijacker.
type failing struct {
	embedding
	conn net.Conn
	err  error
}

func (w failing) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.conn, nil, w.err }

// bare passes the connection on without a buffer.
type bare struct{ embedding }

func (w bare) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, _, err := w.ResponseWriter.(http.Hijacker).Hijack()
	return conn, nil, err
}

func TestSessionsWorkBehindMiddleware(t *testing.T) {
	for name, middleware := range map[string]func(http.Handler) http.Handler{
		"that passes Hijack on": wrapped(func(w http.ResponseWriter) http.ResponseWriter { return hijacking{embedding{w}} }),
		"that can be unwrapped": wrapped(func(w http.ResponseWriter) http.ResponseWriter { return unwrapping{embedding{w}} }),
		"that can be unwrapped twice": wrapped(func(w http.ResponseWriter) http.ResponseWriter {
			return unwrapping{embedding{unwrapping{embedding{w}}}}
		}),
		"that writes the header late": lateServer,
		"late and to be unwrapped": func(next http.Handler) http.Handler {
			return lateServer(wrapped(func(w http.ResponseWriter) http.ResponseWriter { return unwrapping{embedding{w}} })(next))
		},
		"that has no buffer for the rest": wrapped(func(w http.ResponseWriter) http.ResponseWriter { return bare{embedding{w}} }),
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, setup{})
			s, err := ws.Dial(t.Context(), behind(t, r, nil, middleware), &libnet.Dialer{Protocol: frames}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			send(t, s, "hello")
			want(t, s, "hello")
		})
	}
}

func TestARequestWhoseConnectionCannotBeTakenOverIsAnswered501(t *testing.T) {
	for name, middleware := range map[string]func(http.Handler) http.Handler{
		"no Hijacker":        wrapped(func(w http.ResponseWriter) http.ResponseWriter { return embedding{w} }),
		"none behind Unwrap": wrapped(func(w http.ResponseWriter) http.ResponseWriter { return unwrapping{embedding{embedding{w}}} }),
		"none, and a late header": func(next http.Handler) http.Handler {
			return lateServer(wrapped(func(w http.ResponseWriter) http.ResponseWriter { return embedding{w} })(next))
		},
		"a Hijacker that fails": wrapped(func(w http.ResponseWriter) http.ResponseWriter {
			return failing{embedding: embedding{w}, err: http.ErrNotSupported}
		}),
		"one without a conn": wrapped(func(w http.ResponseWriter) http.ResponseWriter { return failing{embedding: embedding{w}} }),
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, setup{})
			url := behind(t, r, &ws.HandlerOptions{Subprotocols: []string{"v1"}}, middleware)
			_, err := ws.Dial(t.Context(), url, &libnet.Dialer{Protocol: frames}, &ws.DialOptions{Subprotocols: []string{"v1"}})
			var answer *ws.HandshakeError
			if !errors.As(err, &answer) || answer.StatusCode != http.StatusNotImplemented {
				t.Fatalf("Dial: %v, want 501", err)
			}
			for _, key := range []string{"Upgrade", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol"} {
				if value := answer.Header.Get(key); value != "" {
					t.Errorf("%s: %s", key, value)
				}
			}
			if n := r.Stats().Accepted; n != 0 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

func TestWhatMiddlewareSetsGoesOutWithTheUpgrade(t *testing.T) {
	r := start(t, setup{})
	url := behind(t, r, nil, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
			w.Header().Set("X-Split", "a\r\nInjected: b")
			w.Header().Set("Content-Length", "5")
			next.ServeHTTP(w, r)
		})
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, upgradeRequest+frame(fin|binaryFrame, "early")) // which the HTTP server may have buffered
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response, err)
	}
	if h := response.Header; h.Get("Set-Cookie") != "session=1" || h.Get("Injected") != "" || h.Get("Content-Length") != "" {
		t.Errorf("%v", h)
	}
	echoed := make([]byte, 2+len("early"))
	if _, err := io.ReadFull(in, echoed); err != nil || string(echoed[2:]) != "early" {
		t.Errorf("%q, %v", echoed, err)
	}
}

func TestARequestWithoutAnythingIsAnswered(t *testing.T) {
	r := start(t, setup{})
	h := ws.Handler(r.Server, echo, nil)
	for name, request := range map[string]*http.Request{
		"empty":     {},
		"no header": {Method: "GET", ProtoMajor: 1, ProtoMinor: 1},
		"HTTP/2":    {Method: "GET", ProtoMajor: 2, Header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request)
		if w.Code < 400 || w.Code > 501 {
			t.Errorf("%s: answered %d", name, w.Code)
		}
	}
}

func TestOptionsAreCopied(t *testing.T) {
	o := &ws.HandlerOptions{Subprotocols: []string{"v1"}, OriginPatterns: []string{"*.friend.test"}}
	r := start(t, setup{options: o})
	o.Subprotocols[0], o.OriginPatterns[0] = "changed", "["
	s, err := ws.Dial(t.Context(), r.url(), &libnet.Dialer{Protocol: frames}, &ws.DialOptions{
		Subprotocols: []string{"v1"},
		Header:       http.Header{"Origin": {"https://a.friend.test"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := ws.Subprotocol(s); got != "v1" {
		t.Errorf("agreed on %q", got)
	}
}
