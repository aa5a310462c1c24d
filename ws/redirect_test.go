package ws_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/ws"
)

// A redirecting is two web servers, one of them with TLS, whose pages are redirects but for one.
type redirecting struct {
	plain, secure *httptest.Server
	asked         atomic.Int64 // for a page that is not a redirect, without TLS
	all           atomic.Int64
}

func startRedirecting(t *testing.T) *redirecting {
	r := new(redirecting)
	sessions := ws.Handler(newServer(t), libnet.HandlerFunc(func(s *libnet.Session) { _ = s.Send("here") }), nil)
	page := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.all.Add(1)
		to := map[string]string{"/loop": "/loop", "/plain": r.plain.URL + "/", "/secure": r.secure.URL + "/", "/there": r.secure.URL + "/plain"}[q.URL.Path]
		if to != "" {
			http.Redirect(w, q, to, http.StatusTemporaryRedirect)
			return
		}
		if q.TLS == nil {
			r.asked.Add(1)
		}
		sessions.ServeHTTP(w, q)
	})
	r.plain, r.secure = httptest.NewServer(page), httptest.NewTLSServer(page)
	t.Cleanup(func() { r.plain.Close(); r.secure.Close() })
	return r
}

func (r *redirecting) dial(t *testing.T, url string) (*libnet.Session, error) {
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	d := &libnet.Dialer{Protocol: frames}
	d.TLSConfig = r.secure.Client().Transport.(*http.Transport).TLSClientConfig
	return ws.Dial(ctx, url, d, &ws.DialOptions{Header: http.Header{"Authorization": {"Bearer of the token"}}})
}

func TestADialFollowsSomeRedirectsAndNoneThatLeavesTLS(t *testing.T) {
	r := startRedirecting(t)
	for name, c := range map[string]struct {
		from     string
		secure   bool
		refused  bool
		requests int64
	}{
		"none":                           {r.plain.URL, false, false, 1},
		"from plain to plain":            {r.plain.URL + "/plain", false, false, 2},
		"from plain to TLS":              {r.plain.URL + "/secure", true, false, 2},
		"from TLS to TLS":                {r.secure.URL + "/secure", true, false, 2},
		"from TLS to plain":              {r.secure.URL + "/plain", false, true, 1},
		"from plain to TLS and to plain": {r.plain.URL + "/there", false, true, 2},
		"for ever":                       {r.plain.URL + "/loop", false, true, 11},
	} {
		t.Run(name, func(t *testing.T) {
			asked, all := r.asked.Load(), r.all.Load()
			s, err := r.dial(t, c.from)
			if n := r.all.Load() - all; n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
			if c.refused {
				var answer *ws.HandshakeError
				if !errors.As(err, &answer) || answer.StatusCode != http.StatusTemporaryRedirect || answer.Header.Get("Location") == "" {
					t.Errorf("dialled %v, %v; want the redirect", s, err)
				}
				if r.asked.Load() != asked {
					t.Error("what was to go over TLS went without")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if msg, err := s.Receive(); string(msg) != "here" {
				t.Errorf("received %q, %v", msg, err)
			}
			if _, secure := s.TLS(); secure != c.secure {
				t.Errorf("over TLS: %v", secure)
			}
		})
	}
}
