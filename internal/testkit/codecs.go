package testkit

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/libnet-go/libnet"
)

// TwoWrites is a codec as users write them: it knows nothing of libnet but the Codec interface, writes
// header and body separately, and reads them so.
type TwoWrites struct{ rw io.ReadWriter }

// NewTwoWrites returns one on a stream.
func NewTwoWrites(rw io.ReadWriter) *TwoWrites { return &TwoWrites{rw} }

// Plain is the protocol of TwoWrites: the same bytes as those of Frames.
var Plain = libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return NewTwoWrites(rw) })

func (c *TwoWrites) Receive() ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(c.rw, header[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(header[:])
	if n > 1<<20 {
		return nil, libnet.ErrFrameTooLarge
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.rw, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body, nil
}

func (c *TwoWrites) Send(msg any) error {
	body, ok := msg.([]byte)
	if !ok {
		return fmt.Errorf("%w: %T is not bytes", libnet.ErrEncode, msg)
	}
	if _, err := c.rw.Write(binary.BigEndian.AppendUint32(nil, uint32(len(body)))); err != nil {
		return err
	}
	_, err := c.rw.Write(body)
	return err
}

func (c *TwoWrites) Close() error {
	if closer, ok := c.rw.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// FuncCodec is a codec made of the functions that a test gives it; what it does not give answers that
// the stream is at its end, or nothing.
type FuncCodec struct {
	OnReceive func() ([]byte, error)
	OnSend    func(msg any) error
	OnClose   func() error
}

func (c *FuncCodec) Receive() ([]byte, error) {
	if c.OnReceive == nil {
		return nil, io.EOF
	}
	return c.OnReceive()
}

func (c *FuncCodec) Send(msg any) error {
	if c.OnSend == nil {
		return nil
	}
	return c.OnSend(msg)
}

func (c *FuncCodec) Close() error {
	if c.OnClose == nil {
		return nil
	}
	return c.OnClose()
}

// FramingCodec is a framing's codec of which a test has replaced how it makes frames, or how it finds them; nil is the
// codec's own way.
type FramingCodec struct {
	libnet.Codec
	OnAppend func(dst []byte, msg any) ([]byte, error)
	OnParse  func(src []byte) ([]byte, int, error)
}

func (c FramingCodec) AppendFrame(dst []byte, msg any) ([]byte, error) {
	if c.OnAppend != nil {
		return c.OnAppend(dst, msg)
	}
	return c.Codec.(libnet.FrameAppender).AppendFrame(dst, msg)
}

func (c FramingCodec) ParseFrame(src []byte) ([]byte, int, error) {
	if c.OnParse != nil {
		return c.OnParse(src)
	}
	return c.Codec.(libnet.FrameParser).ParseFrame(src)
}

// hiding has only the three methods of a Codec: a session uses it as a plain one.
type hiding struct{ libnet.Codec }

// Plain64K is Frames64K as a plain codec speaks it.
var Plain64K = libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
	return hiding{Frames64K.NewCodec(rw)}
})

// Protocols are a codec that a session takes apart and one that knows only io.ReadWriter; their bytes on
// the wire are the same.
var Protocols = []struct {
	Name     string
	Protocol libnet.Protocol
}{
	{"codec", Frames},
	{"plain codec", Plain},
}

// OverProtocols runs test with each of Protocols over each of Transports.
func OverProtocols(t *testing.T, test func(t *testing.T, p libnet.Protocol, connect Connector)) {
	t.Helper()
	for _, p := range Protocols {
		t.Run(p.Name, func(t *testing.T) {
			OverTransports(t, func(t *testing.T, connect Connector) { test(t, p.Protocol, connect) })
		})
	}
}
