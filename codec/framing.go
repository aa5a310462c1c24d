package codec

import (
	"fmt"
	"slices"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/firstbytes"
	"github.com/libnet-go/libnet/internal/sendqueue"
)

// completeFraming is a framing with everything optional, as those of this package are.
type completeFraming interface {
	Framing
	Sealer
	Limiter

	// checkPayload says why no frame with at most limit bytes of payload could hold this one.
	checkPayload(payload []byte, limit int) error
}

// complete adds what f has not, and checks the answers of a framing that is not of this package.
func complete(f Framing) completeFraming {
	switch f := f.(type) {
	case uvarint:
		return f
	case lines:
		return f
	case *delimiter:
		return f
	case fixed:
		return f
	case *lengthField:
		return f
	}
	return newForeign(f)
}

// isOwn reports whether f is of this package, and so calls nobody else's code.
func isOwn(f Framing) bool {
	if _, is := f.(prefix); is {
		return true
	}
	_, is := f.(completeFraming)
	return is
}

// framed encodes and decodes for any framing and marshaler.
type framed struct {
	framing   completeFraming
	max       int
	marshaler boundedMarshaler
}

// MaxMessage is the longest message in bytes that this codec sends and accepts.
func (c *framed) MaxMessage() int { return c.max }

func (c *framed) ParseFrame(src []byte) (payload []byte, n int, err error) {
	return c.framing.ParseFrameMax(src, c.max)
}

// ResumeFrame is ParseFrame for a src whose first seen bytes were, by themselves, no whole frame: all of
// src when ParseFrame or ResumeFrame last looked at it and answered n == 0. A framing by a delimiter
// does not search them again, so that a message costs as much in many pieces as in one.
func (c *framed) ResumeFrame(src []byte, seen int) (payload []byte, n int, err error) {
	f, ok := c.framing.(searcher)
	if ok && 0 <= seen && seen <= len(src) && len(src) <= c.max && f.unfinished(src, seen) {
		return nil, 0, nil
	}
	return c.framing.ParseFrameMax(src, c.max)
}

// A searcher is a framing that looks at every byte of an unfinished frame.
type searcher interface {
	unfinished(src []byte, seen int) bool // where src[:seen] was, by itself
}

// FrameLength says how long a frame is that begins with head, header and all, whatever this codec would accept. It is
// not ok where that cannot be told: a part of a header, or a framing that announces no length. It is for the texts of
// errors.
func (c *framed) FrameLength(head []byte) (n firstbytes.Length, ok bool) {
	if f, is := c.framing.(announcer); is {
		claim, ok := f.frameLength(head)
		return firstbytes.Length(claim), ok
	}
	return 0, false
}

// An announcer is a framing whose frames say at their beginning how long they are.
type announcer interface {
	frameLength(head []byte) (n uint64, ok bool)
}

// CheckPayload says why a frame could not bring this payload: an error that wraps
// libnet.ErrFrameTooLarge or libnet.ErrMalformedFrame, or nil. It is for a transport that keeps messages
// apart without a framing, so that the rules of the framing hold there as well.
func (c *framed) CheckPayload(payload []byte) error {
	if len(payload) > c.max {
		return tooLarge(uint64(len(payload)), c.max)
	}
	return c.framing.checkPayload(payload, c.max)
}

func (c *framed) AppendFrame(dst []byte, msg any) ([]byte, error) {
	out, err := c.marshaler.appendMax(appendZeros(dst, c.framing.Room()), msg, c.max)
	if err == nil {
		out, err = c.framing.SealFrame(out, len(dst))
	}
	if err != nil {
		return dst, c.refuse(err)
	}
	return out, nil
}

// BytesHeader is that of [prefixedBytes], with no header.
func (c *framed) BytesHeader([]byte) (h sendqueue.Header, isBytes bool) {
	_, isBytes = c.marshaler.(bytesMarshaler)
	return h, isBytes
}

// refuse adds to an error of AppendFrame what the codec's user relies on: that it says nothing was
// written. A message too long for a fixed size is of the wrong size, too.
func (c *framed) refuse(err error) error {
	if _, ok := c.framing.(fixed); ok || !errchain.Is(err, libnet.ErrFrameTooLarge) {
		return encodeError(err)
	}
	return err
}

// headerAppender is a framing whose frames are a header and then the whole payload.
type headerAppender interface {
	splits() bool // false where this depends on how it was set up
	appendHeader(dst []byte, payloadLen int) ([]byte, error)
}

// splitting is framed with [Bytes] and such a framing.
type splitting struct {
	framed
	header headerAppender
}

func (c *splitting) SplitFrame(dst []byte, msg any) (header, payload []byte, err error) {
	payload, err = splittable(msg)
	if err == nil && len(payload) > c.max {
		err = tooLarge(uint64(len(payload)), c.max)
	}
	if err != nil || len(payload) == 0 {
		return dst, nil, err
	}
	header, err = c.header.appendHeader(dst, len(payload))
	if err != nil {
		return dst, nil, err
	}
	return header, slices.Clip(payload), nil
}

// appendPayload is AppendFrame for a framing that can seal.
func appendPayload(s Sealer, dst, payload []byte) ([]byte, error) {
	out, err := s.SealFrame(append(appendZeros(dst, s.Room()), payload...), len(dst))
	if err != nil {
		return dst, err
	}
	return out, nil
}

func appendZeros(dst []byte, n int) []byte {
	return append(dst, make([]byte, n)...) // compiles to a clear, without a second slice
}

// tooLarge reports a claimed or actual length and the limit it is over. Errors of this package never
// hold a part of the payload.
func tooLarge(n uint64, limit int) error {
	return fmt.Errorf("%w: %d bytes, limit %d", libnet.ErrFrameTooLarge, n, limit)
}

// encodeError makes err, which is sound, one that wraps libnet.ErrEncode.
func encodeError(err error) error {
	if errchain.Is(err, libnet.ErrEncode) {
		return err
	}
	return fmt.Errorf("%w: %w", libnet.ErrEncode, err)
}
