package ws

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/usercode"
)

// maxRequest is how long a request may be. Browsers with many cookies come to half of that.
const maxRequest = 16 << 10

// readRequest reads up to the empty line behind the header, and no further. It reads byte by byte: the session's stream
// has them in memory.
func readRequest(r io.Reader, dst []byte) ([]byte, error) {
	lineStart := len(dst)
	for len(dst) < maxRequest {
		dst = append(dst, 0)
		last := len(dst) - 1
		if _, err := io.ReadFull(r, dst[last:]); err != nil {
			if err == io.EOF && last > 0 {
				err = io.ErrUnexpectedEOF
			}
			return dst[:last], err
		}
		switch {
		case last == 0 && (dst[0] < 'A' || dst[0] > 'Z'):
			return dst, badRequest("bytes that are no HTTP request")
		case dst[last] != '\n':
		case len(bytes.TrimSuffix(dst[lineStart:last], []byte("\r"))) == 0:
			return dst, nil
		default:
			lineStart = len(dst)
		}
	}
	return dst, refuse(http.StatusRequestHeaderFieldsTooLarge, "a request of more than 16 KiB")
}

func badRequest(what string) error { return refuse(http.StatusBadRequest, what) }

// refuse is an error of the peer's.
func refuse(status int, what string) error {
	return &HandshakeError{StatusCode: status, Body: []byte(what + "\n"), Err: malformed(what).(*fault).error}
}

// parseRequest makes a request of what readRequest has read.
func parseRequest(raw string, s *libnet.Session) (*http.Request, error) {
	r, err := http.ReadRequest(bufio.NewReaderSize(strings.NewReader(raw), 16))
	if err != nil {
		return nil, badRequest("a malformed HTTP request")
	}
	switch {
	case hostLines(raw) > 1: // RFC 9112, 3.2
		return nil, badRequest("a request with several Hosts")
	case hasSpacedName(r.Header): // RFC 9112, 5.1: others may have taken it for the field without the space
		return nil, badRequest("a request with a space in a field's name")
	}
	r.Body = http.NoBody
	r.RemoteAddr = addrText(s.RemoteAddr())
	if state, ok := s.TLS(); ok {
		r.TLS = &state
	}
	return r.WithContext(sessionContext{s, context.Background()}), nil
}

func hostLines(raw string) (n int) {
	for line := range strings.Lines(raw) {
		if name, _, isField := strings.Cut(line, ":"); isField && strings.EqualFold(name, "Host") {
			n++
		}
	}
	return n
}

func hasSpacedName(h http.Header) bool {
	for name := range h {
		if strings.Contains(name, " ") {
			return true
		}
	}
	return false
}

// addrText is empty for the address of a user's conn that has none.
func addrText(addr net.Addr) string {
	if usercode.IsNil(addr) {
		return ""
	}
	return addr.String()
}

// checkRequest refuses what net/http's server would refuse, too.
func checkRequest(r *http.Request) error {
	switch {
	case r.ProtoMajor != 1:
		return refuse(http.StatusHTTPVersionNotSupported, "a request of another version of HTTP than 1")
	case r.ProtoAtLeast(1, 1) && r.Host == "":
		return badRequest("a request without a Host")
	case strings.ContainsFunc(r.Host, isNoneOfHost):
		return badRequest("a malformed Host")
	}
	return nil
}

// isNoneOfHost holds for what neither a name, an address nor a port has in it (RFC 3986, 3.2.2 and 2).
func isNoneOfHost(c rune) bool {
	letterOrDigit := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	return !letterOrDigit && !strings.ContainsRune("-._~%!$&'()*+,;=:@[]", c)
}

// sessionContext ends with its session.
type sessionContext struct {
	session *libnet.Session
	values  context.Context // never done
}

var _ context.Context = sessionContext{}

func (c sessionContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c sessionContext) Done() <-chan struct{}       { return c.session.Done() }
func (c sessionContext) Value(key any) any           { return c.values.Value(key) }

func (c sessionContext) Err() error {
	select {
	case <-c.session.Done():
		return context.Canceled
	default:
		return nil
	}
}

// An answer is the ResponseWriter that the WebSocket library gets to see where there is no HTTP server. The library
// asks for the connection once the request is known to be right. It gets none: its part was the handshake.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer

	request  *http.Request
	options  *options
	agreed   bool
	deflates bool
	asked    bool   // for the connection: what follows is not for the peer
	bytes    []byte // of the answer, once asked
	err      error  // why the request is refused
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if status != http.StatusSwitchingProtocols && !a.asked {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	if !a.asked {
		a.body.Write(p)
	}
	return len(p), nil
}

func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	a.asked = true
	var extensions string
	if extensions, a.err = a.options.admit(a.request); a.err == nil {
		a.agreed, a.deflates = true, agreeTo(extensions, a.header)
		a.bytes = switching(a.header)
	}
	return nil, nil, http.ErrNotSupported
}

// An agreement is what both sides of a WebSocket have agreed on.
type agreement struct {
	subprotocol string // "" without
	deflates    bool   // messages may be compressed
}

// agreement is what was agreed on, with the subprotocol as the user spells it: that in the answer is as the client has
// spelled it, perhaps in other letters, and within a header of any length. Sessions share what they have by it.
func (o *options) agreement(subprotocol string, deflates bool) agreement {
	return agreement{spelledAs(o.accept.Subprotocols, subprotocol), deflates}
}

// spelledAs returns the first of names that the library takes for the same as name. Without one name is middleware's.
func spelledAs(names []string, name string) string {
	for _, known := range names {
		if strings.EqualFold(known, name) {
			return known
		}
	}
	return strings.Clone(name)
}

// agree has the library check a request, and then the user. It returns what to answer, and what is agreed on; with an
// error the answer refuses.
func (o *options) agree(r *http.Request) (agreed agreement, reply []byte, err error) {
	if err := checkRequest(r); err != nil {
		return agreed, refusalOf(err).bytes(), err
	}
	a := &answer{header: make(http.Header), request: r, options: o}
	_, err = websocket.Accept(a, r, &o.accept)
	switch {
	case a.agreed:
		return o.agreement(a.header.Get("Sec-WebSocket-Protocol"), a.deflates), a.bytes, nil
	case a.asked:
		return agreed, refusalOf(a.err).bytes(), fmt.Errorf("libnet: ws: refused: %w", a.err)
	}
	refusal := &HandshakeError{StatusCode: a.status, Header: a.header, Body: a.body.Bytes(),
		Err: fmt.Errorf("%w: ws: %w", libnet.ErrMalformedFrame, err)}
	return agreed, refusal.bytes(), refusal
}

// refusalOf is how a request is answered that is refused for err.
func refusalOf(err error) *HandshakeError {
	if e, ok := errchain.As[*HandshakeError](err); ok && e != nil && e.StatusCode >= 300 && e.StatusCode <= 599 {
		return e
	}
	return &HandshakeError{StatusCode: http.StatusForbidden}
}

// text is the answer's body.
func (e *HandshakeError) text() []byte {
	if len(e.Body) > 0 {
		return e.Body
	}
	return []byte(http.StatusText(e.StatusCode) + "\n")
}

// ofBody are the fields that say how a body is sent.
var ofBody = map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Trailer": true}

// fields is a copy of the answer's header, without what it says of the body: that may be of another server's.
func (e *HandshakeError) fields() http.Header {
	h := make(http.Header)
	for name, values := range e.Header {
		if !ofBody[http.CanonicalHeaderKey(name)] {
			h[name] = values
		}
	}
	return h
}

// bytes is the whole answer.
func (e *HandshakeError) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %03d %s\r\n", e.StatusCode, http.StatusText(e.StatusCode))
	h := e.fields()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	if e.StatusCode != http.StatusUpgradeRequired || h.Get("Connection") == "" {
		h.Set("Connection", "close")
	}
	h.Set("Content-Length", fmt.Sprint(len(e.text())))
	_ = h.Write(&b)
	b.WriteString("\r\n")
	b.Write(e.text())
	return b.Bytes()
}
