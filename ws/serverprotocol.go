package ws

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/lengthprefix"
	"github.com/libnet-go/libnet/internal/usercode"
)

// Protocol returns a protocol whose sessions are WebSockets on the server's own listener, with TLS where the server has
// a TLSConfig, and with no HTTP server behind it:
//
//	protocol := ws.Protocol(codec.New(codec.Uint16BE, codec.JSON), &ws.HandlerOptions{Text: true})
//	server, err := libnet.Serve("tcp", ":8080", protocol, 64)
//	...
//	server.ServeMessages(handler)
//
// A session is all that such a server has to offer: a request that is no WebSocket's is answered with an error. In
// event mode one that waits has neither a goroutine nor a buffer, as over TCP. Under Serve and ServeMessages the
// handshake comes before OnSession, on a goroutine of the session's own; Config.HandshakeTimeout bounds it, and the
// login behind it: set it. Of a request that has begun Config.FrameTimeout bounds the rest. A session whose handshake
// fails is closed, for a reason that wraps a [*HandshakeError] if there was anything to answer; OnSession does not see
// it. With Accept and NewSession the handshake comes with the session's first use, be it by [Request].
//
// inner's messages are what the WebSocket carries, without inner's framing: the section "On a server's own listener"
// says what is different from [Handler]. A server of this protocol may also have a Handler, whose sessions then have
// the same messages.
//
// It panics without inner, and for a pattern that path.Match does not accept. For a client's side there is [Dial].
func Protocol(inner libnet.Protocol, o *HandlerOptions) libnet.Protocol {
	if usercode.IsMissing(inner) {
		panic("libnet: ws.Protocol needs a protocol")
	}
	return &serverProtocol{inner: inner, options: copyOptions(o)}
}

// A serverProtocol is another one without its framing, for connections that are not upgraded yet. Its sessions share
// it, so a broadcast encodes once for them all.
type serverProtocol struct {
	inner   libnet.Protocol
	options options
	wires   [2]atomic.Pointer[lengthprefix.Prefix] // the last session's framing, without and with compression
	terms   sync.Map                               // of the last session with an agreement of the options', by that
}

// terms are what the sessions of a protocol share that have agreed on the same. Immutable.
type terms struct {
	agreement
	protocol *serverProtocol
	wire     *lengthprefix.Prefix // of a message in one frame
}

// NewCodec is asked for no session of a server: that calls Handshake.
func (p *serverProtocol) NewCodec(io.ReadWriter) libnet.Codec {
	panic("libnet: ws.Protocol is for a libnet.Server; a client calls ws.Dial")
}

// A sessionStream is the stream of a server's session.
type sessionStream interface {
	libnet.Stream
	Session(inside.Call) *libnet.Session
	Output(inside.Call) (written uint64, queued int)
}

// Handshake implements what package libnet calls before the first frame.
func (p *serverProtocol) Handshake(rw io.ReadWriter, _ inside.Call) (codec libnet.Codec, answer []byte, err error) {
	stream := rw.(sessionStream)
	buf := outbufs.Get().(*outbuf)
	defer putOutbuf(buf)
	if buf.bytes, err = readRequest(stream, buf.bytes); err != nil {
		return nil, refusalFor(err), err
	}
	raw := string(buf.bytes)
	r, err := parseRequest(raw, stream.Session(inside.Call{}))
	if err != nil {
		return nil, refusalFor(err), err
	}
	agreed, answer, err := p.options.agree(r)
	if err != nil {
		return nil, answer, err
	}
	made, err := p.newCodec(stream, agreed)
	if err != nil {
		return nil, (&HandshakeError{StatusCode: http.StatusInternalServerError}).bytes(), err
	}
	made.request = keptRequest(raw)
	return made, answer, nil
}

// newCodec makes a codec that does not know its request yet.
func (p *serverProtocol) newCodec(stream sessionStream, agreed agreement) (*serverCodec, error) {
	inner, err := newInner(p.inner, stream)
	if err != nil {
		return nil, err
	}
	terms := p.termsOf(agreed, p.wire(inner, maxMessage(inner, stream), agreed.deflates))
	return &serverCodec{Codec: inner, stream: stream, terms: terms}, nil
}

// termsOf keeps as many as the options have agreements. A subprotocol that is none of theirs is middleware's, which may
// have it from the peer, and would be kept for ever.
func (p *serverProtocol) termsOf(agreed agreement, wire *lengthprefix.Prefix) *terms {
	if agreed.subprotocol != "" && !slices.Contains(p.options.accept.Subprotocols, agreed.subprotocol) {
		return &terms{agreed, p, wire}
	}
	if known, ok := p.terms.Load(agreed); ok && known.(*terms).wire == wire {
		return known.(*terms)
	}
	t := &terms{agreed, p, wire}
	p.terms.Store(agreed, t)
	return t
}

// wire returns the framing that sessions with this bound share: usually all of a protocol.
func (p *serverProtocol) wire(inner innerCodec, limit int, deflates bool) *lengthprefix.Prefix {
	w := lengthprefix.WebSocket(opcodeOf(p.options.text), limit)
	if of := innerPrefix(inner); of != nil && !p.options.text { // a text is looked at before it is sent
		w.Bytes = min(of.Bytes, limit, lengthprefix.MaxWebSocketBytes)
		if deflates {
			w.Bytes = min(w.Bytes, p.options.compressFrom-1)
		}
	}
	last := &p.wires[variant(deflates)]
	if known := last.Load(); known != nil && *known == w {
		return known
	}
	last.Store(&w)
	return &w
}

// innerPrefix returns that of an inner codec to which every payload within its bound is a message; nil for others.
func innerPrefix(inner libnet.Codec) *lengthprefix.Prefix {
	if c, ok := inner.(interface{ LengthPrefix() *lengthprefix.Prefix }); ok {
		return c.LengthPrefix()
	}
	return nil
}

// refusalFor answers a request that could not be read; nil where the connection's own error says why.
func refusalFor(err error) []byte {
	if e, ok := err.(*HandshakeError); ok {
		return e.bytes()
	}
	return nil
}

// Refusal answers a connection that becomes no session, with the status that proxies and clients know to wait after. An
// upgrade and a close code would have the server agree to each request first.
func (p *serverProtocol) Refusal(reason error, _ inside.Call) []byte {
	return (&HandshakeError{StatusCode: http.StatusServiceUnavailable, Body: []byte(reason.Error() + "\n")}).bytes()
}
