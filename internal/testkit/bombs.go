package testkit

import (
	"io"

	"github.com/libnet-go/libnet"
)

// Bomb is a message on which the codecs of BombProtocol panic, in both directions.
const Bomb = "bomb"

type bombs struct{ libnet.Codec }

func (c bombs) Send(msg any) error {
	if msg == Bomb {
		panic("cannot send " + Bomb)
	}
	return c.Codec.Send(msg)
}

func (c bombs) Receive() ([]byte, error) {
	msg, err := c.Codec.Receive()
	if string(msg) == Bomb {
		panic("cannot receive " + Bomb)
	}
	return msg, err
}

// pureBombs does so with the optional interfaces.
type pureBombs struct{ bombs }

func (c pureBombs) AppendFrame(dst []byte, msg any) ([]byte, error) {
	if msg == Bomb {
		panic("cannot append " + Bomb)
	}
	return c.Codec.(libnet.FrameAppender).AppendFrame(dst, msg)
}

func (c pureBombs) ParseFrame(src []byte) ([]byte, int, error) {
	msg, n, err := c.Codec.(libnet.FrameParser).ParseFrame(src)
	if string(msg) == Bomb {
		panic("cannot parse " + Bomb)
	}
	return msg, n, err
}

// BombProtocol is Frames64K, as a plain codec or one with the optional interfaces, that panics on a Bomb.
func BombProtocol(pure bool) libnet.Protocol {
	return libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		plain := bombs{Frames64K.NewCodec(rw)}
		if pure {
			return pureBombs{plain}
		}
		return plain
	})
}
