package codec_test

import (
	"bytes"
	"encoding"
	"fmt"
	"net/netip"

	"github.com/libnet-go/libnet/codec"
)

// binaryMarshaler takes every type that has AppendBinary.
type binaryMarshaler struct{}

func (binaryMarshaler) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	m, ok := msg.(encoding.BinaryAppender)
	if !ok {
		return dst, fmt.Errorf("%T has no AppendBinary", msg)
	}
	return m.AppendBinary(dst)
}

func ExampleMarshaler() {
	var wire bytes.Buffer
	c := codec.New(codec.Uint8, binaryMarshaler{}).NewCodec(&wire)
	c.Send(netip.MustParseAddr("192.0.2.1"))
	fmt.Printf("% x\n", wire.Bytes())
	fmt.Println(c.Send(1.5))
	// Output:
	// 04 c0 00 02 01
	// libnet: message cannot be encoded: float64 has no AppendBinary
}
