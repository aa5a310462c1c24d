package ws

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
)

// Between a session and its conn a message is a frame of this package's own: a zero byte, the payload's
// length, the payload. The zero byte goes ahead when a message is late, so that the session's FrameTimeout
// counts from its beginning.
const (
	lengthAt   = 1
	headerSize = 5
)

// defaultMaxMessage is Config.MaxMessage's default.
const defaultMaxMessage = 1 << 20

// protocols makes the protocol that all conns of a [Handler] share, so that a broadcast encodes once for
// them all.
type protocols struct {
	text bool

	once sync.Once
	made *protocol
}

// wrap is always given the same p: that of the handler's server.
func (ps *protocols) wrap(p libnet.Protocol) *protocol {
	ps.once.Do(func() { ps.made = &protocol{inner: p, text: ps.text} })
	return ps.made
}

func (ps *protocols) messageType() websocket.MessageType {
	if ps.text {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

// protocol is another one without its framing.
type protocol struct {
	inner libnet.Protocol
	text  bool

	// limit is the longest message, set by each NewCodec to the same value.
	limit atomic.Int64
}

func (p *protocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	inner := p.inner.NewCodec(rw)
	parser, canParse := inner.(libnet.FrameParser)
	appender, canAppend := inner.(libnet.FrameAppender)
	if !canParse || !canAppend {
		panic(fmt.Sprintf("libnet: ws: a %T is no FrameAppender and FrameParser", inner))
	}
	limit := maxMessage(inner, rw)
	p.limit.Store(int64(limit))
	return &messageCodec{Codec: inner, parser: parser, appender: appender, limit: limit, text: p.text}
}

func maxMessage(codec libnet.Codec, rw io.ReadWriter) int {
	if c, ok := codec.(interface{ MaxMessage() int }); ok {
		return min(c.MaxMessage(), math.MaxInt32)
	}
	set := 0
	if stream, ok := rw.(libnet.Stream); ok {
		set = stream.MaxMessage()
	}
	switch {
	case set == 0:
		return defaultMaxMessage
	case set < 0:
		return math.MaxInt32
	}
	return min(set, math.MaxInt32)
}

// messageCodec marshals as the server's codec does and frames as conn expects it. A session uses nothing
// else of it: its Receive and Send are the inner codec's and would speak the wrong framing.
type messageCodec struct {
	libnet.Codec
	parser   libnet.FrameParser
	appender libnet.FrameAppender
	limit    int
	text     bool
}

var (
	_ libnet.FrameAppender = (*messageCodec)(nil)
	_ libnet.FrameParser   = (*messageCodec)(nil)
)

// AppendFrame has the inner codec append its frame and moves the payload to where the inner header was.
func (c *messageCodec) AppendFrame(dst []byte, msg any) ([]byte, error) {
	start := len(dst) + headerSize
	framed, err := c.appender.AppendFrame(append(dst, make([]byte, headerSize)...), msg)
	if err != nil {
		return dst, err
	}
	payload, n, err := c.parser.ParseFrame(framed[start:])
	switch {
	case err != nil:
		return dst, fmt.Errorf("%w: %w", libnet.ErrEncode, err)
	case n != len(framed)-start:
		return dst, fmt.Errorf("%w: the codec parses %d bytes of its frame of %d", libnet.ErrEncode, n, len(framed)-start)
	case len(payload) > c.limit:
		return dst, libnet.ErrFrameTooLarge
	case c.text && !utf8.Valid(payload):
		return dst, fmt.Errorf("%w: a text message is not UTF-8", libnet.ErrEncode)
	}
	framed = append(framed[:start], payload...)
	binary.BigEndian.PutUint32(framed[start-headerSize+lengthAt:], uint32(len(payload)))
	return framed, nil
}

// ParseFrame cuts what conn.Read delivered.
func (c *messageCodec) ParseFrame(src []byte) (payload []byte, n int, err error) {
	if len(src) < headerSize {
		return nil, 0, nil
	}
	length := int(binary.BigEndian.Uint32(src[lengthAt:]))
	if length > c.limit {
		return nil, 0, libnet.ErrFrameTooLarge
	}
	if len(src)-headerSize < length {
		return nil, 0, nil
	}
	n = headerSize + length
	return src[headerSize:n:n], n, nil
}
