package ws

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/libnet-go/libnet"
)

// keptRequest is what a session keeps of its request: all but the fields of the handshake, which are half of a short
// one.
func keptRequest(raw string) string {
	var kept strings.Builder
	for line := range strings.Lines(raw) {
		if line[0] == ' ' || line[0] == '\t' { // goes on with the field of the line before
			return raw
		}
		if name, _, isField := strings.Cut(line, ":"); !isField || !ofHandshake[http.CanonicalHeaderKey(name)] {
			kept.WriteString(line)
		}
	}
	return strings.Clone(kept.String())
}

var ofHandshake = map[string]bool{
	"Connection": true, "Upgrade": true, "Sec-Websocket-Version": true, "Sec-Websocket-Key": true, "Sec-Websocket-Extensions": true,
}

// requestText is keptRequest of a request that net/http has read.
func requestText(r *http.Request) string {
	var kept strings.Builder
	for _, part := range []string{r.Method, " ", requestURI(r), " ", r.Proto, "\r\nHost: ", r.Host, "\r\n"} {
		kept.WriteString(part)
	}
	_ = r.Header.WriteSubset(&kept, ofHandshake)
	kept.WriteString("\r\n")
	return strings.Clone(kept.String())
}

// requestURI is that which the peer has sent; a request that did not come from a peer may have none.
func requestURI(r *http.Request) string {
	if r.RequestURI == "" {
		return r.URL.RequestURI()
	}
	return r.RequestURI
}

// A beyond is what net/http and middleware have made of a request, where its text does not say so.
type beyond struct {
	values     context.Context // of which only those are used
	url        *url.URL        // nil where it is what the text says
	remoteAddr string          // "" where it is the connection's
	pattern    string
	path       []string // names and values of the pattern's wildcards
}

func beyondText(r *http.Request, conn net.Conn) *beyond {
	b := &beyond{values: withoutCancels(r.Context()), pattern: r.Pattern}
	if read, err := url.ParseRequestURI(requestURI(r)); err != nil || *read != *r.URL {
		b.url = r.URL
	}
	if addrText(conn.RemoteAddr()) != r.RemoteAddr {
		b.remoteAddr = r.RemoteAddr
	}
	for name := range wildcards(r.Pattern) {
		b.path = append(b.path, name, r.PathValue(name))
	}
	return b
}

// withoutCancels returns the context below those that only add a cancellation, as net/http's two do for each request:
// they are over with it, and cost as much as a request's text. Where package context is made otherwise, they are kept.
func withoutCancels(ctx context.Context) context.Context {
	for reflect.TypeOf(ctx) == cancelType {
		field := reflect.ValueOf(ctx).Elem().FieldByName("Context")
		if !field.IsValid() || !field.CanInterface() {
			break
		}
		below, ok := field.Interface().(context.Context)
		if !ok {
			break
		}
		ctx = below
	}
	return ctx
}

var cancelType = func() reflect.Type {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return reflect.TypeOf(ctx)
}()

// wildcards yields the names in a pattern of http.ServeMux, or of another router that writes them as it does: with a
// regular expression, braces in it perhaps, behind a colon.
func wildcards(pattern string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for {
			_, rest, found := strings.Cut(pattern, "{")
			name, behind, closed := strings.Cut(rest, "}")
			name, _, _ = strings.Cut(name, ":")
			if !found || !closed || !yield(strings.TrimSuffix(name, "...")) {
				return
			}
			pattern = behind
		}
	}
}

// addTo returns r with what its text does not say.
func (b *beyond) addTo(r *http.Request, s *libnet.Session) *http.Request {
	r = r.WithContext(sessionContext{s, context.WithoutCancel(b.values)})
	r.Pattern = b.pattern
	if b.remoteAddr != "" {
		r.RemoteAddr = b.remoteAddr
	}
	if b.url != nil {
		r.URL = new(url.URL)
		*r.URL = *b.url
	}
	for i := 0; i < len(b.path); i += 2 {
		r.SetPathValue(b.path[i], b.path[i+1])
	}
	return r
}

// requestOf makes the request anew: a session that keeps one would cost twice as much. Of the fields of the handshake
// it has those that are the same in every one.
func (c *serverCodec) requestOf(s *libnet.Session) *http.Request {
	r, err := parseRequest(c.request, s)
	if err != nil {
		return nil
	}
	if c.beyond != nil {
		r = c.beyond.addTo(r, s)
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-Websocket-Version", "13")
	return r
}
