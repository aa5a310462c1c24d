package ws

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/sendqueue"
)

// Between a session and its conn a message is a frame of this package's own: deflatedBit or 0, the payload's
// length, the payload. What is received is never compressed here. The zero byte goes ahead when a message is late,
// so that the session's FrameTimeout counts from its beginning.
const (
	lengthAt   = 1
	headerSize = 5
)

// defaultMaxMessage is Config.MaxMessage's default.
const defaultMaxMessage = 1 << 20

// protocols makes the protocol that all conns of a [Handler] share, so that a broadcast encodes once for
// them all.
type protocols struct {
	text         bool
	compressFrom int

	once sync.Once
	made *protocol
}

// wrap is always given the same p: that of the handler's server.
func (ps *protocols) wrap(p libnet.Protocol) *protocol {
	ps.once.Do(func() {
		if served, ok := p.(*serverProtocol); ok { // whose framing is for the server's own listener
			p = served.inner
		}
		ps.made = &protocol{inner: p, text: ps.text, compressFrom: ps.compressFrom}
	})
	return ps.made
}

func (ps *protocols) opcode() byte { return opcodeOf(ps.text) }

func opcodeOf(text bool) byte {
	if text {
		return opText
	}
	return opBinary
}

// protocol is another one without its framing.
type protocol struct {
	inner        libnet.Protocol
	text         bool
	compressFrom int // where that is agreed on
}

// NewCodec is given the stream of a session on a conn, which tells what it runs on.
func (p *protocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	inner, err := newInner(p.inner, rw)
	if err != nil {
		panic(err)
	}
	c := connOf(rw)
	limit := maxMessage(inner, rw)
	c.limit.Store(int64(limit))
	c.rate.Store(newFrameRate(rw))
	if stream, ok := rw.(interface {
		WriteTimeout(inside.Call) time.Duration
	}); ok {
		c.link.answerWithin.Store(int64(stream.WriteTimeout(inside.Call{})))
	}
	checker, _ := inner.(payloadChecker)
	return &messageCodec{Codec: inner, protocol: p, conn: c, parser: inner, appender: inner, checker: checker, limit: limit}
}

// MakesAtOnce says of this protocol what the inner one says of itself.
func (p *protocol) MakesAtOnce(_ libnet.Protocol, call inside.Call) bool {
	inner, ok := p.inner.(interface {
		MakesAtOnce(of libnet.Protocol, _ inside.Call) bool
	})
	return ok && inner.MakesAtOnce(p.inner, call)
}

// An innerCodec is one that can be had without its framing.
type innerCodec interface {
	libnet.Codec
	libnet.FrameAppender
	libnet.FrameParser
}

// newInner has a protocol of the user's make its codec.
func newInner(p libnet.Protocol, rw io.ReadWriter) (innerCodec, error) {
	codec := p.NewCodec(rw)
	if inner, ok := codec.(innerCodec); ok {
		return inner, nil
	}
	return nil, fmt.Errorf("%w: libnet: ws: a %T is no FrameAppender and FrameParser", libnet.ErrPanic, codec)
}

func connOf(rw io.ReadWriter) *conn {
	return rw.(interface{ Conn(inside.Call) net.Conn }).Conn(inside.Call{}).(*conn)
}

// payloadChecker is an optional interface of a codec whose framing cannot carry every payload. Without the framing
// nothing else would tell one that no other connection could have brought.
type payloadChecker interface {
	// CheckPayload returns an error that wraps libnet.ErrMalformedFrame or libnet.ErrFrameTooLarge.
	CheckPayload(payload []byte) error
}

// longest is the longest message: with the header it must have a length that is an int.
const longest = math.MaxInt32 - headerSize

// maxMessage is the longest message of a session.
func maxMessage(codec libnet.Codec, rw io.ReadWriter) int {
	if c, ok := codec.(interface{ MaxMessage() int }); ok {
		return atMost(c.MaxMessage())
	}
	set := 0
	if stream, ok := rw.(libnet.Stream); ok {
		set = stream.MaxMessage()
	}
	if set == 0 {
		set = defaultMaxMessage
	}
	return atMost(set)
}

// atMost is limit, where a negative one means no bound.
func atMost(limit int) int {
	if limit < 0 {
		return longest
	}
	return min(limit, longest)
}

// messageCodec marshals as the server's codec does and frames as conn expects it. A session uses nothing
// else of it: its Receive and Send are the inner codec's and would speak the wrong framing.
type messageCodec struct {
	libnet.Codec
	protocol *protocol
	conn     *conn
	parser   libnet.FrameParser
	appender libnet.FrameAppender
	checker  payloadChecker // nil if every payload will do
	limit    int
}

var (
	_ libnet.FrameAppender = (*messageCodec)(nil)
	_ libnet.FrameParser   = (*messageCodec)(nil)
)

// AppendFrame has the inner codec append its frame and moves the payload to where the inner header was.
func (c *messageCodec) AppendFrame(dst []byte, msg any) ([]byte, error) {
	if c.conn.agreement.deflates {
		return c.appendDeflating(dst, msg)
	}
	start := len(dst) + headerSize
	framed, payload, err := appendInner(c.appender, c.parser, append(dst, make([]byte, headerSize)...), msg)
	if err == nil {
		err = checkSent(payload, c.limit, c.protocol.text)
	}
	if err != nil {
		return dst, err
	}
	if start+len(payload) > len(framed) { // behind it there may be what is the codec's
		framed = slices.Clip(framed)
	}
	framed = append(framed[:start], payload...)
	binary.BigEndian.PutUint32(framed[start-headerSize+lengthAt:], uint32(len(payload)))
	return framed, nil
}

// appendDeflating is AppendFrame where compression is agreed on.
func (c *messageCodec) appendDeflating(dst []byte, msg any) ([]byte, error) {
	var d draft
	err := d.make(c.Codec.(innerCodec), msg, draftRules{c.limit, c.protocol.text, c.protocol.compressFrom})
	if err == nil {
		dst = binary.BigEndian.AppendUint32(append(dst, d.bits), uint32(len(d.payload)))
		dst = append(dst, d.payload...)
	}
	d.free()
	return dst, err
}

// BytesHeader is serverCodec's, with no header.
func (c *messageCodec) BytesHeader(payload []byte) (h sendqueue.Header, isBytes bool) {
	_, isBytes = bytesHeader(c.Codec, payload)
	return h, isBytes
}

// Variant is serverCodec's.
func (c *messageCodec) Variant() sendqueue.Variant { return variant(c.conn.agreement.deflates) }

func variant(deflates bool) sendqueue.Variant {
	if deflates {
		return 1
	}
	return 0
}

// appendInner has an inner codec append its frame to dst, and returns that and the payload within.
func appendInner(a libnet.FrameAppender, p libnet.FrameParser, dst []byte, msg any) (framed, payload []byte, err error) {
	if framed, err = a.AppendFrame(dst, msg); err != nil {
		return nil, nil, err
	}
	if len(framed) < len(dst) {
		return nil, nil, fmt.Errorf("%w: the codec shortened what it should append to", libnet.ErrEncode)
	}
	payload, n, err := p.ParseFrame(framed[len(dst):])
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%w: %w", libnet.ErrEncode, err)
	case n != len(framed)-len(dst):
		return nil, nil, fmt.Errorf("%w: the codec parses %d bytes of its frame of %d", libnet.ErrEncode, n, len(framed)-len(dst))
	}
	return framed, payload, nil
}

// checkSent says what is wrong with a message that is to be sent.
func checkSent(payload []byte, limit int, text bool) error {
	switch {
	case len(payload) > limit:
		return libnet.ErrFrameTooLarge
	case text && !utf8.Valid(payload):
		return fmt.Errorf("%w: a text message is not UTF-8", libnet.ErrEncode)
	}
	return nil
}

// ParseFrame cuts what conn.Read delivered. The session calls it once for each frame.
func (c *messageCodec) ParseFrame(src []byte) (payload []byte, n int, err error) {
	if len(src) < headerSize {
		return nil, 0, nil
	}
	n = headerSize + int(binary.BigEndian.Uint32(src[lengthAt:]))
	if len(src) < n {
		return nil, 0, nil
	}
	payload = src[headerSize:n:n]
	if c.checker != nil {
		if err := c.checker.CheckPayload(payload); err != nil {
			return nil, 0, err
		}
	}
	c.conn.taken.Add(uint64(n))
	signal(c.conn.took)
	return payload, n, nil
}
