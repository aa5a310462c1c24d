package codec

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/libnet-go/libnet"
)

// CheckPayload returns an error for a payload that no frame of this protocol can have carried: on a transport that keeps
// messages apart by itself, and so goes without the framing, nothing else would tell. The error wraps
// libnet.ErrMalformedFrame, or libnet.ErrFrameTooLarge for one that is too long.
func (c *framed) CheckPayload(payload []byte) error {
	if len(payload) > c.max {
		return tooLarge(uint64(len(payload)), c.max)
	}
	if header, ok := c.framing.(headerAppender); ok && header.splits() {
		var room [64]byte
		_, err := header.appendHeader(room[:0], len(payload))
		return notCarried(err)
	}
	frame, err := c.framing.AppendFrame(nil, payload)
	if err != nil {
		return notCarried(err)
	}
	parsed, n, err := c.framing.ParseFrameMax(frame, c.max)
	switch {
	case err != nil:
		return notCarried(err)
	case n != len(frame) || !bytes.Equal(parsed, payload):
		return fmt.Errorf("%w: a message that would arrive as another", libnet.ErrMalformedFrame)
	}
	return nil
}

// notCarried is what an error of sending says about a message that came.
func notCarried(err error) error {
	if err == nil || errors.Is(err, libnet.ErrMalformedFrame) {
		return err
	}
	if errors.Is(err, libnet.ErrFrameTooLarge) && !errors.Is(err, libnet.ErrEncode) {
		return err
	}
	return fmt.Errorf("%w: %w", libnet.ErrMalformedFrame, err)
}
