package ws

import (
	"bytes"
	"io"
	"sync/atomic"
	"unicode/utf8"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/lengthprefix"
	"github.com/libnet-go/libnet/internal/sendqueue"
)

// A serverCodec cuts a client's frames from what its session has read, and makes frames of what that sends. A session
// uses nothing else of it: its Receive and Send are the inner codec's and would speak the wrong framing.
//
// ParseFrame belongs to the session's receiver; all else may be called by any goroutine. A session keeps one, so it is
// small: what it can ask of the inner codec it asks each time.
type serverCodec struct {
	libnet.Codec // the inner one, an innerCodec
	*terms
	stream  sessionStream
	request string  // as it was read
	beyond  *beyond // what net/http and middleware have added to it; nil without

	message *message                 // one whose fragments arrive; nil between two
	control atomic.Pointer[controls] // nil before the first control frame that is to be answered
}

// controls is what a peer's control frames have left behind.
type controls struct {
	closed bool   // its close frame has come
	answer []byte // the payload of that, which is answered with the same

	// The receiver's.
	pongs    int    // bytes of those that may wait to be written
	pongsEnd uint64 // where the last of them ends, in bytes of output
}

// A message is one that comes in fragments.
type message struct {
	bytes    []byte
	text     bool // it is to be UTF-8
	deflated bool
}

var (
	_ libnet.FrameAppender = (*serverCodec)(nil)
	_ libnet.FrameParser   = (*serverCodec)(nil)
)

// ParseFrame unmasks a whole frame in place, and answers a control frame. The payload is nil where no message ends.
func (c *serverCodec) ParseFrame(src []byte) (payload []byte, n int, err error) {
	h, size, err := parseHeader(src, rules{fragmented: c.message != nil, deflates: c.deflates}, c.room())
	if err != nil {
		return nil, 0, err.(*fault).error
	}
	if size == 0 || int64(len(src)-size) < h.length {
		return nil, 0, nil
	}
	n = size + int(h.length)
	payload = src[size:n:n]
	lengthprefix.Mask(payload, h.key)
	if h.opcode() >= opClose {
		payload, err = nil, c.receiveControl(h, payload)
	} else if payload = c.collect(h, payload); payload != nil {
		payload, err = c.receiveMessage(h, payload)
	}
	switch {
	case err == nil:
		return payload, n, nil
	case c.peerClosed():
		return nil, n, err // the close frame has been received
	}
	return nil, 0, err
}

// room is how much more may come of the message whose fragments arrive, or of one that begins and is not compressed.
func (c *serverCodec) room() int {
	switch m := c.message; {
	case m == nil:
		return c.wire.Max
	case m.deflated:
		return maxDeflated(c.wire.Max) - len(m.bytes)
	default:
		return c.wire.Max - len(m.bytes)
	}
}

// collect returns the message that a frame completes, nil while there are fragments to come. Their storage grows with
// what arrives.
func (c *serverCodec) collect(h header, payload []byte) []byte {
	m := c.message
	switch {
	case m == nil && h.fin():
		return payload
	case m == nil:
		m = &message{text: h.opcode() == opText, deflated: h.deflated(), bytes: []byte{}}
		c.message = m
	}
	m.bytes = append(m.bytes, payload...)
	if !h.fin() {
		return nil
	}
	return m.bytes
}

// receiveMessage returns the message that ends with a frame, as it was before it was compressed, and what is wrong with
// it.
func (c *serverCodec) receiveMessage(h header, payload []byte) ([]byte, error) {
	text, deflated := h.opcode() == opText, h.deflated()
	if m := c.message; m != nil {
		text, deflated, c.message = m.text, m.deflated, nil
	}
	if deflated {
		var err error
		if payload, err = inflated(payload, c.wire.Max); err != nil {
			return nil, err.(*fault).error
		}
	}
	if text && !utf8.Valid(payload) {
		return nil, errNotUTF8
	}
	if checker, ok := c.Codec.(payloadChecker); ok {
		return payload, checker.CheckPayload(payload)
	}
	return payload, nil
}

// InMessage reports whether fragments of a message are to come.
func (c *serverCodec) InMessage(inside.Call) bool { return c.message != nil }

// PeerClosed reports whether the peer's close frame has come.
func (c *serverCodec) PeerClosed(inside.Call) bool { return c.peerClosed() }

func (c *serverCodec) peerClosed() bool {
	left := c.control.Load()
	return left != nil && left.closed
}

func (c *serverCodec) receiveControl(h header, payload []byte) error {
	switch h.opcode() {
	case opClose:
		return c.receiveClose(payload)
	case opPing:
		c.receivePing(payload)
	}
	return nil
}

// receivePing answers a ping, unless too many answers wait.
func (c *serverCodec) receivePing(payload []byte) {
	left := c.control.Load()
	if left == nil {
		left = new(controls)
		c.control.Store(left)
	}
	if written, queued := c.stream.Output(inside.Call{}); queued == 0 || written >= left.pongsEnd {
		left.pongs = 0
	}
	if left.pongs >= maxWaitingPongs {
		return
	}
	left.pongs += c.pong(payload)
	written, queued := c.stream.Output(inside.Call{})
	left.pongsEnd = written + uint64(queued)
}

// pong queues the answer to a ping, and returns its length: 0 for a session that does not write any more.
func (c *serverCodec) pong(payload []byte) (n int) {
	out := outbufs.Get().(*outbuf)
	out.bytes = appendFrame(out.bytes[:0], finBit|opPong, payload, false)
	n, _ = c.stream.Write(out.bytes)
	putOutbuf(out)
	return n
}

// receiveClose returns what a close frame means. The session's end answers it.
func (c *serverCodec) receiveClose(payload []byte) error {
	e, err := parseClose(payload)
	if err != nil {
		return err.(*fault).error
	}
	c.control.Store(&controls{closed: true, answer: bytes.Clone(payload)})
	return endByPeer(e, c.message != nil)
}

// CloseFrame tells the peer why the session ends, or answers its own close frame.
func (c *serverCodec) CloseFrame(reason error, _ inside.Call) []byte {
	if left := c.control.Load(); left != nil && left.closed {
		return appendFrame(nil, finBit|opClose, left.answer, false)
	}
	return closeFrame(reason, false)
}

// BytesHeader spares a message whose payload is as the sender has it a draft, as that of the inner codec does.
func (c *serverCodec) BytesHeader(payload []byte) (h sendqueue.Header, isBytes bool) {
	h, isBytes = bytesHeader(c.Codec, payload)
	return c.headerInPlaceOf(h, payload), isBytes
}

// PayloadHeader is BytesHeader for a message that is a [sendqueue.Payload].
func (c *serverCodec) PayloadHeader(payload []byte) (h sendqueue.Header) {
	inner, ok := c.Codec.(interface {
		PayloadHeader(payload []byte) sendqueue.Header
	})
	if !ok {
		return h
	}
	return c.headerInPlaceOf(inner.PayloadHeader(payload), payload)
}

// headerInPlaceOf is a frame's where the inner codec has one for the payload, and where AppendFrame has nothing to say
// about it.
func (c *serverCodec) headerInPlaceOf(inner sendqueue.Header, payload []byte) (h sendqueue.Header) {
	n := len(payload)
	if inner.Len == 0 || n > lengthprefix.MaxWebSocketBytes || c.compresses(n) || checkSent(payload, c.wire.Max, c.protocol.options.text) != nil {
		return h
	}
	h.Bytes, h.Len = c.wire.Header(n)
	return h
}

// LengthPrefix lets a session cut most frames itself, and put them together if messages are bytes; nil where the inner
// codec may have something to say about a payload.
func (c *serverCodec) LengthPrefix() *lengthprefix.Prefix {
	if innerPrefix(c.Codec) == nil {
		return nil
	}
	return c.wire
}

// bytesHeader asks an inner codec whether its messages are bytes as they are, and whether its frames are a header and
// these. Only package codec's know.
func bytesHeader(inner libnet.Codec, payload []byte) (h sendqueue.Header, isBytes bool) {
	if c, ok := inner.(interface {
		BytesHeader(payload []byte) (sendqueue.Header, bool)
	}); ok {
		return c.BytesHeader(payload)
	}
	return h, false
}

// AppendFrame has the inner codec append its frame, and makes one of the payload.
func (c *serverCodec) AppendFrame(dst []byte, msg any) ([]byte, error) {
	inner := c.Codec.(innerCodec)
	if c.deflates {
		return c.appendDeflating(dst, msg)
	}
	framed, payload, err := appendInner(inner, inner, dst, msg)
	if err == nil {
		err = checkSent(payload, c.wire.Max, c.protocol.options.text)
	}
	if err != nil {
		return dst, err
	}
	var room [10]byte
	header := appendHeader(room[:0], finBit|opcodeOf(c.protocol.options.text), len(payload), 0)
	return replaceHeader(dst, framed, header, payload, isAppended(inner, dst, framed)), nil
}

// isAppended reports whether framed lies in dst's memory, or in new one. A codec of the user's may have it in memory of
// its own, of which nothing may be changed.
func isAppended(inner libnet.Codec, dst, framed []byte) bool {
	_, own := inner.(interface {
		BytesHeader(payload []byte) (sendqueue.Header, bool)
	})
	return own || cap(dst) > 0 && cap(framed) > 0 && &dst[:1][0] == &framed[:1][0]
}

// appendDeflating is AppendFrame where compression is agreed on.
func (c *serverCodec) appendDeflating(dst []byte, msg any) ([]byte, error) {
	o := &c.protocol.options
	var d draft
	err := d.make(c.Codec.(innerCodec), msg, draftRules{c.wire.Max, o.text, o.compressFrom})
	if err == nil {
		dst = appendHeader(dst, finBit|opcodeOf(o.text)|d.bits, len(d.payload), 0)
		dst = append(dst, d.payload...)
	}
	d.free()
	return dst, err
}

// compresses reports whether a message of n bytes is sent compressed, if that makes it shorter.
func (c *serverCodec) compresses(n int) bool {
	return c.deflates && n >= c.protocol.options.compressFrom
}

// Variant tells package libnet which sessions of a protocol share what a broadcast encodes.
func (c *serverCodec) Variant() sendqueue.Variant { return variant(c.deflates) }

// replaceHeader returns dst, the header and the payload, which may lie within framed: there, if it may be changed.
func replaceHeader(dst, framed, header, payload []byte, inPlace bool) []byte {
	start := len(dst) + len(header)
	var whole []byte
	if inPlace && start+len(payload) <= cap(framed) {
		whole = framed[:start+len(payload)]
	} else {
		whole = append(make([]byte, 0, start+len(payload)), dst...)[:start+len(payload)]
	}
	copy(whole[start:], payload) // before the header, which may be longer than the inner one was
	copy(whole[len(dst):], header)
	return whole
}

// OnlyCloses is what the inner codec's Close closes, if it says that it closes nothing else.
func (c *serverCodec) OnlyCloses(call inside.Call) io.ReadWriter {
	if inner, ok := c.Codec.(interface {
		OnlyCloses(inside.Call) io.ReadWriter
	}); ok {
		return inner.OnlyCloses(call)
	}
	return nil
}
