package codec

import (
	"io"

	"github.com/libnet-go/libnet"
)

// A Framing says where one message ends on the wire and the next begins. Its methods depend on
// nothing but their arguments, keep none of them, and may be called by any goroutine.
//
// These three are all that a framing of your own needs. [Sealer] and [Limiter] are optional.
type Framing interface {
	// AppendFrame appends payload as one frame to dst, which payload does not overlap. With an error
	// it returns dst as it was: one that wraps libnet.ErrFrameTooLarge for a payload longer than Max,
	// and libnet.ErrEncode for one that the framing cannot carry.
	AppendFrame(dst, payload []byte) ([]byte, error)

	// ParseFrame returns the payload of the frame at the start of src, and that frame's whole length
	// n. n == 0 without an error says that src ends inside the frame. The payload is usually a part
	// of src. An error says that src can never become a frame; it wraps libnet.ErrFrameTooLarge or
	// libnet.ErrMalformedFrame, and is given as soon as the bytes allow it.
	ParseFrame(src []byte) (payload []byte, n int, err error)

	// Max is the length in bytes of the longest payload that a frame can hold, at least 0.
	Max() int
}

// A Sealer is a [Framing] into whose frames a message is marshalled directly: Room bytes are left
// free, the message is appended behind them, and SealFrame makes a frame of both. A framing without
// it works as well, at the price of one more copy.
type Sealer interface {
	// Room is how many bytes to leave free before the payload, at least 0.
	Room() int

	// SealFrame makes a frame of dst[start:], which is Room zero bytes and then the payload, and
	// returns the longer or shorter dst. It leaves dst[:start] alone. Its errors are AppendFrame's.
	SealFrame(dst []byte, start int) ([]byte, error)
}

// A Limiter is a [Framing] that can be told of a bound smaller than its Max, and so refuses a frame
// over [Composed.MaxMessage] as soon as its header is there. For a framing without it the bound is
// applied to what has arrived: to the payload once it is whole, and to an unfinished frame once that
// is longer than twice the bound and 1 KiB, so that there is room for headers and escapes.
type Limiter interface {
	// ParseFrameMax is ParseFrame where a payload longer than limit bytes is a frame too large.
	ParseFrameMax(src []byte, limit int) (payload []byte, n int, err error)
}

// A Marshaler turns messages into bytes. It keeps neither argument and may be called by any
// goroutine.
//
// Receive hands out a payload as it came, so there is no counterpart: the caller, who knows what to
// expect, unmarshals.
type Marshaler interface {
	// AppendMarshal appends msg to dst, leaves the bytes before it alone, and returns the longer
	// slice. msg is never nil. An error is given to the caller of Send, wrapped in libnet.ErrEncode.
	AppendMarshal(dst []byte, msg any) ([]byte, error)
}

// defaultMaxMessage is the bound of a protocol that was given none, the same as Config.MaxMessage's.
const defaultMaxMessage = 1 << 20

// Composed is a protocol made of a framing and a marshaler. It never changes: any goroutine may use
// it, and one may serve any number of servers and dialers.
type Composed struct {
	framing     Framing
	marshaler   Marshaler
	maxExplicit int // as MaxMessage was given it; 0: never
}

var _ libnet.Protocol = (*Composed)(nil)

// New returns the protocol whose frames are f's and whose messages are m's. It panics when one of
// them is nil, or is a [LengthField] that no frame can satisfy.
//
// Its bound is the default of [Composed.MaxMessage].
func New(f Framing, m Marshaler) *Composed {
	if f == nil || m == nil {
		panic("libnet: codec.New: a nil framing or marshaler")
	}
	if field, ok := f.(LengthField); ok {
		f = field.compile()
	}
	return &Composed{framing: f, marshaler: m}
}

// MaxMessage returns a protocol like c that neither sends nor accepts a message longer than n bytes,
// its framing's header not counted. The bound is never more than the framing's Max; a negative n
// means just that, and 0 means the default: 1 MiB, or the whole size for [Fixed].
//
// On a session, Config.MaxMessage counts as well: the smaller of the two bounds holds, and it alone
// where c has the default.
func (c *Composed) MaxMessage(n int) *Composed {
	bounded := *c
	bounded.maxExplicit = n
	return &bounded
}

// NewCodec returns a codec on rw. It reads nothing yet and does not block.
//
// The codec is a libnet.FrameAppender and a libnet.FrameParser, and with [Bytes] behind a length
// it is a libnet.FrameSplitter: a session uses these and does the input and output itself. Its method
// MaxMessage() int tells the bound. Without a session, on any rw, its Receive returns a slice that the
// caller owns and repeats its first error; its Send makes one Write call a message.
func (c *Composed) NewCodec(rw io.ReadWriter) libnet.Codec {
	bound := c.bound(rw)
	_, plainBytes := c.marshaler.(bytesMarshaler)
	if p, ok := c.framing.(prefix); ok {
		frames := prefixed{prefix: p, size: p.size(), max: bound}
		if plainBytes {
			codec := &prefixedBytesCodec{prefixedBytes: prefixedBytes{frames}}
			codec.conn = conn{rw: rw, frames: &codec.prefixedBytes}
			return codec
		}
		frames.marshaler = withBound(c.marshaler)
		codec := &prefixedCodec{prefixed: frames}
		codec.conn = conn{rw: rw, frames: &codec.prefixed}
		return codec
	}
	frames := framed{framing: complete(c.framing), max: bound, marshaler: withBound(c.marshaler)}
	if header, ok := c.framing.(headerAppender); ok && plainBytes && header.splits() {
		codec := &splittingCodec{splitting: splitting{frames, header}}
		codec.conn = conn{rw: rw, frames: &codec.splitting}
		return codec
	}
	codec := &framedCodec{framed: frames}
	codec.conn = conn{rw: rw, frames: &codec.framed}
	return codec
}

// bound is the longest payload of a codec on rw.
func (c *Composed) bound(rw io.ReadWriter) int {
	most := c.framing.Max()
	own := min(c.maxExplicit, most)
	switch {
	case c.maxExplicit < 0:
		own = most
	case c.maxExplicit == 0:
		own = min(defaultMaxMessage, most)
		if _, ok := c.framing.(fixed); ok {
			own = most
		}
	}
	stream, ok := rw.(libnet.Stream)
	if !ok {
		return own
	}
	switch set := stream.MaxMessage(); {
	case set == 0:
		return own
	case c.maxExplicit != 0 && set > 0:
		return min(own, set)
	case c.maxExplicit != 0:
		return own
	case set > 0:
		return min(set, most)
	}
	return most
}

// The codecs: frames over a connection, one type for each way to handle frames, so that a session
// finds exactly those optional interfaces that help it.
type (
	prefixedCodec struct {
		prefixed
		conn
	}
	prefixedBytesCodec struct {
		prefixedBytes
		conn
	}
	splittingCodec struct {
		splitting
		conn
	}
	framedCodec struct {
		framed
		conn
	}
)

type pureCodec interface {
	libnet.Codec
	libnet.FrameAppender
	libnet.FrameParser
	MaxMessage() int
}

var (
	_ pureCodec            = (*prefixedCodec)(nil)
	_ pureCodec            = (*prefixedBytesCodec)(nil)
	_ pureCodec            = (*splittingCodec)(nil)
	_ pureCodec            = (*framedCodec)(nil)
	_ libnet.FrameSplitter = (*prefixedBytesCodec)(nil)
	_ libnet.FrameSplitter = (*splittingCodec)(nil)
)
