package codec_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// mqtt frames MQTT control packets. A message is the packet's first byte, which tells its type, and
// then what follows the length.
type mqtt struct{}

func (mqtt) Max() int { return 1<<28 - 1 }

func (m mqtt) AppendFrame(dst, payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return dst, libnet.ErrEncode
	}
	if len(payload) > m.Max() {
		return dst, libnet.ErrFrameTooLarge
	}
	dst = append(dst, payload[0])
	dst = binary.AppendUvarint(dst, uint64(len(payload)-1))
	return append(dst, payload[1:]...), nil
}

func (m mqtt) ParseFrame(src []byte) (payload []byte, n int, err error) {
	return m.ParseFrameMax(src, m.Max())
}

// ParseFrameMax makes mqtt a codec.Limiter.
func (m mqtt) ParseFrameMax(src []byte, limit int) (payload []byte, n int, err error) {
	if len(src) == 0 {
		return nil, 0, nil
	}
	length, size := binary.Uvarint(src[1:])
	switch {
	case size < 0 || size > 4 || size == 0 && len(src) > 4 || length > math.MaxInt32:
		return nil, 0, libnet.ErrMalformedFrame
	case size == 0:
		return nil, 0, nil
	case 1+int(length) > limit:
		return nil, 0, libnet.ErrFrameTooLarge
	}
	n = 1 + size + int(length)
	if len(src) < n {
		return nil, 0, nil
	}
	payload = append([]byte{src[0]}, src[1+size:n]...)
	return payload, n, nil
}

var _ codec.Limiter = mqtt{}

// A framing of your own needs three methods. This one has ParseFrameMax as well, to refuse a packet
// over the bound by its length alone.
func ExampleFraming() {
	var wire bytes.Buffer
	c := codec.New(mqtt{}, codec.Bytes).MaxMessage(1000).NewCodec(&wire)
	c.Send("\x30\x00\x04roomhello")
	c.Send("\xc0")
	fmt.Printf("%q\n", wire.String())
	for range 2 {
		msg, err := c.Receive()
		fmt.Printf("%q %v\n", msg, err)
	}
	wire.WriteString("\x30\xff\xff\xff\x7f")
	_, err := c.Receive()
	fmt.Println(err)
	// Output:
	// "0\v\x00\x04roomhello\xc0\x00"
	// "0\x00\x04roomhello" <nil>
	// "\xc0" <nil>
	// libnet: frame too large
}
