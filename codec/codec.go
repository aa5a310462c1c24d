package codec

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
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
// it works as well, at the price of one more copy. It is asked in the place of AppendFrame: a type that
// embeds a Sealer and changes AppendFrame must change this, too.
type Sealer interface {
	// Room is how many bytes to leave free before the payload, 0 to 65,535.
	Room() int

	// SealFrame makes a frame of dst[start:], which is Room zero bytes and then the payload, and
	// returns the longer or shorter dst. It leaves dst[:start] alone. Its errors are AppendFrame's.
	SealFrame(dst []byte, start int) ([]byte, error)
}

// A Limiter is a [Framing] that can be told of a bound smaller than its Max, and so refuses a frame
// over [Composed.MaxMessage] as soon as its header is there. For a framing without it the bound is
// applied to what has arrived: to the payload once it is whole, and to an unfinished frame once that
// is longer than twice the bound and 1 KiB, so that there is room for headers and escapes. A type of yours
// that embeds a [LengthField] or another framing is one without it, unless you write the method; then it is
// asked in the place of ParseFrame.
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
	// slice. msg is never nil. An error is given to the caller of Send, wrapped in libnet.ErrEncode. So is
	// an answer that does not begin with dst.
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

	last atomic.Pointer[transcoder] // what newTranscoder made last; nil before the first codec
}

var _ libnet.Protocol = (*Composed)(nil)

// New returns the protocol whose frames are f's and whose messages are m's. It panics when one of
// them is nil or a nil pointer, or f is a [LengthField] that no frame can satisfy or has a negative Max.
// A pointer to a framing or a marshaler of this package is taken for what it points to.
//
// Its bound is the default of [Composed.MaxMessage].
func New(f Framing, m Marshaler) *Composed {
	if f == nil || m == nil || isNil(f) || isNil(m) {
		panic("libnet: codec.New: a nil framing or marshaler")
	}
	f, m = builtinFraming(f), builtinMarshaler(m)
	if f.Max() < 0 {
		panic(fmt.Sprintf("libnet: codec.New: a framing whose Max is %d", f.Max()))
	}
	return &Composed{framing: f, marshaler: m}
}

// builtinFraming returns f, or the framing of this package that it points to, made ready.
func builtinFraming(f Framing) Framing {
	switch p := f.(type) {
	case *prefix:
		return *p
	case *uvarint:
		return *p
	case *lines:
		return *p
	case LengthField:
		return p.compile()
	case *LengthField:
		return p.compile()
	}
	return f
}

// builtinMarshaler returns m, or the marshaler of this package that it points to.
func builtinMarshaler(m Marshaler) Marshaler {
	switch p := m.(type) {
	case *bytesMarshaler:
		return *p
	case *jsonMarshaler:
		return *p
	case *protoMarshaler:
		return *p
	}
	return m
}

// MaxMessage returns a protocol like c that neither sends nor accepts a message longer than n bytes,
// its framing's header not counted. The bound is never more than the framing's Max; a negative n
// means just that, and 0 means the default: 1 MiB, or the whole size for [Fixed].
//
// On a session, Config.MaxMessage counts as well: the smaller of the two bounds holds, and it alone
// where c has the default.
func (c *Composed) MaxMessage(n int) *Composed {
	return &Composed{framing: c.framing, marshaler: c.marshaler, maxExplicit: n}
}

// NewCodec returns a codec on rw. It reads nothing yet and does not block.
//
// The codec is a libnet.FrameAppender and a libnet.FrameParser, and with [Bytes] behind a length
// it is a libnet.FrameSplitter: a session uses these and does the input and output itself. Its method
// MaxMessage() int tells the bound, and CheckPayload(payload []byte) error says why a frame could not bring
// that payload: a transport that keeps messages apart by itself asks, so that the framing's rules hold there,
// too. Any goroutine may call both. Without a session, on any rw, its Receive returns a slice that the
// caller owns and repeats its first error; its Send makes one Write call a message.
func (c *Composed) NewCodec(rw io.ReadWriter) libnet.Codec {
	return c.transcoder(c.bound(rw)).over(rw)
}

// MakesAtOnce lets a session make its codec where it is needed.
func (c *Composed) MakesAtOnce(of libnet.Protocol, _ inside.Call) bool {
	itself, is := of.(*Composed)
	return is && itself == c && isOwn(c.framing)
}

// transcoder returns the one that sessions with this bound share: usually all of a protocol.
func (c *Composed) transcoder(bound int) transcoder {
	if last := c.last.Load(); last != nil && (*last).MaxMessage() == bound {
		return *last
	}
	t := c.newTranscoder(bound)
	c.last.Store(&t)
	return t
}

func (c *Composed) newTranscoder(bound int) transcoder {
	_, plainBytes := c.marshaler.(bytesMarshaler)
	if p, ok := c.framing.(prefix); ok {
		frames := newPrefixed(p, bound)
		if plainBytes {
			frames.wire.Bytes = bound
			return &prefixedBytes{frames}
		}
		frames.marshaler, frames.wire.Payloads = withBound(c.marshaler), takesPayloads(c.marshaler)
		return &frames
	}
	frames := framed{framing: complete(c.framing), max: bound, marshaler: withBound(c.marshaler)}
	if header, ok := c.framing.(headerAppender); ok && plainBytes && header.splits() {
		return &splitting{frames, header}
	}
	return &frames
}

// bound is the longest payload of a codec on rw.
func (c *Composed) bound(rw io.ReadWriter) int {
	most := max(0, c.framing.Max())
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

// A transcoder is the half of a codec that knows bytes only, one type for each way to handle frames. It
// never changes and is shared.
type transcoder interface {
	libnet.FrameAppender
	libnet.FrameParser
	MaxMessage() int
	CheckPayload(payload []byte) error
	over(rw io.ReadWriter) libnet.Codec
}

// The codecs: a transcoder and a connection, one type for each transcoder, so that a session finds
// exactly those optional interfaces that help it. Each session keeps one, so they are small.
type (
	prefixedCodec struct {
		*prefixed
		conn
	}
	prefixedBytesCodec struct {
		*prefixedBytes
		conn
	}
	splittingCodec struct {
		*splitting
		conn
	}
	framedCodec struct {
		*framed
		conn
	}
)

func (c *prefixed) over(rw io.ReadWriter) libnet.Codec { return &prefixedCodec{c, conn{rw: rw}} }
func (c *prefixedBytes) over(rw io.ReadWriter) libnet.Codec {
	return &prefixedBytesCodec{c, conn{rw: rw}}
}
func (c *splitting) over(rw io.ReadWriter) libnet.Codec { return &splittingCodec{c, conn{rw: rw}} }
func (c *framed) over(rw io.ReadWriter) libnet.Codec    { return &framedCodec{c, conn{rw: rw}} }

// The methods of [libnet.Codec] that need both halves.
func (c *prefixedCodec) Receive() ([]byte, error)      { return c.receive(c.prefixed) }
func (c *prefixedCodec) Send(msg any) error            { return c.send(c.prefixed, msg) }
func (c *prefixedBytesCodec) Receive() ([]byte, error) { return c.receive(c.prefixedBytes) }
func (c *prefixedBytesCodec) Send(msg any) error       { return c.send(c.prefixedBytes, msg) }
func (c *splittingCodec) Receive() ([]byte, error)     { return c.receive(c.splitting) }
func (c *splittingCodec) Send(msg any) error           { return c.send(c.splitting, msg) }
func (c *framedCodec) Receive() ([]byte, error)        { return c.receive(c.framed) }
func (c *framedCodec) Send(msg any) error              { return c.send(c.framed, msg) }

// SharedHalf lets the sessions of a protocol share what they know of its framing. A half knows no connection.
func (c *prefixedCodec) SharedHalf(inside.Call) half      { return c.prefixed }
func (c *prefixedBytesCodec) SharedHalf(inside.Call) half { return c.prefixedBytes }
func (c *splittingCodec) SharedHalf(inside.Call) half     { return c.splitting }
func (c *framedCodec) SharedHalf(inside.Call) half        { return c.framed }

type half = interface {
	libnet.FrameAppender
	libnet.FrameParser
}

type pureCodec interface {
	libnet.Codec
	libnet.FrameAppender
	libnet.FrameParser
	MaxMessage() int
	CheckPayload(payload []byte) error
}

var (
	_ pureCodec            = (*prefixedCodec)(nil)
	_ pureCodec            = (*prefixedBytesCodec)(nil)
	_ pureCodec            = (*splittingCodec)(nil)
	_ pureCodec            = (*framedCodec)(nil)
	_ libnet.FrameSplitter = (*prefixedBytesCodec)(nil)
	_ libnet.FrameSplitter = (*splittingCodec)(nil)
)
