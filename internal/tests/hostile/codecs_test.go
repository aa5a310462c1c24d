package hostile

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// plain is a codec that knows only io.Reader and io.Writer.
type plain struct {
	rw io.ReadWriter
	b  *bomb
}

func (c *plain) Receive() ([]byte, error) {
	if does := c.b.at("libnet.Codec.Receive"); does != "" {
		return nil, c.b.failure(does)
	}
	var header [4]byte
	if _, err := io.ReadFull(c.rw, header[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(header[:])&0xffffff)
	_, err := io.ReadFull(c.rw, body)
	return body, err
}

func (c *plain) Send(msg any) error {
	if does := c.b.at("libnet.Codec.Send"); does != "" {
		return c.b.failure(does)
	}
	_, err := c.rw.Write(appendFrame(nil, msg))
	return err
}

func (c *plain) Close() error {
	err := c.b.failure(c.b.at("libnet.Codec.Close"))
	if closer, ok := c.rw.(io.Closer); ok {
		_ = closer.Close()
	}
	return err
}

func appendFrame(dst []byte, msg any) []byte {
	body, ok := msg.([]byte)
	if !ok {
		panic(fmt.Sprintf("a message that is a %T", msg))
	}
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(body))), body...)
}

func parseFrame(src []byte) ([]byte, int) {
	if len(src) < 4 {
		return nil, 0
	}
	n := 4 + int(binary.BigEndian.Uint32(src)&0xffffff)
	if len(src) < n {
		return nil, 0
	}
	return src[4:n:n], n
}

// pure is a codec that needs no connection.
type pure struct{ plain }

func (c *pure) AppendFrame(dst []byte, msg any) ([]byte, error) {
	site := "libnet.FrameAppender.AppendFrame"
	if body, ok := msg.([]byte); ok && string(body) == toGroup {
		site += " for a broadcast"
	}
	switch does := c.b.at(site); does {
	case "":
		return appendFrame(dst, msg), nil
	case givesNil:
		return nil, nil
	case givesLess:
		return dst[:len(dst)/2], nil
	default:
		return dst, c.b.failure(does)
	}
}

func (c *pure) ParseFrame(src []byte) ([]byte, int, error) {
	payload, n := parseFrame(src)
	if n == 0 {
		return nil, 0, nil
	}
	return c.parsed("libnet.FrameParser.ParseFrame", src, payload, n)
}

// ResumeFrame is asked for the rest of a frame.
func (c *pure) ResumeFrame(src []byte, _ int) ([]byte, int, error) {
	payload, n := parseFrame(src)
	return c.parsed("libnet.FrameParser.ResumeFrame", src, payload, n)
}

func (c *pure) parsed(site string, src, payload []byte, n int) ([]byte, int, error) {
	switch does := c.b.at(site); does {
	case "":
	case givesNil:
		return nil, 0, nil
	case givesLess:
		return payload, -1, nil
	case givesMore:
		return payload, len(src) + 1, nil
	default:
		return nil, 0, c.b.failure(does)
	}
	return payload, n, nil
}

// splitting is a codec whose large messages need no copy.
type splitting struct{ pure }

func (c *splitting) SplitFrame(dst []byte, msg any) (header, payload []byte, err error) {
	body := msg.([]byte)
	switch does := c.b.at("libnet.FrameSplitter.SplitFrame"); does {
	case "":
	case givesNil:
		return nil, nil, nil
	default:
		return dst, nil, c.b.failure(does)
	}
	return binary.BigEndian.AppendUint32(dst, uint32(len(body))), body, nil
}

// A userProtocol is a protocol of the user's.
type userProtocol struct {
	b    *bomb
	kind string // of its codecs
}

func (p *userProtocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	b := p.b.orInert()
	switch p.b.at("libnet.Protocol.NewCodec") {
	case givesNil:
		return nil
	case givesTyped:
		return (*splitting)(nil)
	}
	c := plain{rw, b}
	switch p.kind {
	case "plain":
		return &c
	case "pure":
		return &pure{c}
	}
	return &splitting{pure{c}}
}

// framing is the user's part of a codec.Composed.
type framing struct{ b *bomb }

func (f framing) AppendFrame(dst, payload []byte) ([]byte, error) {
	switch does := f.b.at("codec.Framing.AppendFrame"); does {
	case "":
		return appendFrame(dst, payload), nil
	case givesNil:
		return nil, nil
	case givesLess:
		return dst[:len(dst)/2], nil
	default:
		return dst, f.b.failure(does)
	}
}

func (f framing) parse(site string, src []byte) ([]byte, int, error) {
	payload, n := parseFrame(src)
	if n == 0 {
		return nil, 0, nil
	}
	switch does := f.b.at(site); does {
	case "":
	case givesNil:
		return nil, 0, nil
	case givesLess:
		return payload, -1, nil
	case givesMore:
		return payload, len(src) + 1, nil
	default:
		return nil, 0, f.b.failure(does)
	}
	return payload, n, nil
}

func (f framing) ParseFrame(src []byte) ([]byte, int, error) {
	return f.parse("codec.Framing.ParseFrame", src)
}

func (f framing) Max() int {
	switch f.b.at("codec.Framing.Max") {
	case givesLess:
		return -1
	case givesMore:
		return math.MaxInt
	}
	return 1 << 20
}

// wholeFraming is one with all that is optional.
type wholeFraming struct{ framing }

func (f wholeFraming) Room() int {
	switch f.b.at("codec.Sealer.Room") {
	case givesLess:
		return -1
	case givesMore:
		return math.MaxInt
	}
	return 4
}

func (f wholeFraming) SealFrame(dst []byte, start int) ([]byte, error) {
	switch does := f.b.at("codec.Sealer.SealFrame"); does {
	case "":
	case givesNil:
		return nil, nil
	case givesLess:
		return dst[:start/2], nil
	default:
		return dst, f.b.failure(does)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst, nil
}

func (f wholeFraming) ParseFrameMax(src []byte, limit int) ([]byte, int, error) {
	return f.parse("codec.Limiter.ParseFrameMax", src)
}

type marshaler struct{ b *bomb }

func (m marshaler) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	switch does := m.b.at("codec.Marshaler.AppendMarshal"); does {
	case "":
		return append(dst, msg.([]byte)...), nil
	case givesNil:
		return nil, nil
	case givesLess:
		return dst[:len(dst)/2], nil
	default:
		return dst, m.b.failure(does)
	}
}

func protocolOf(kind string, b *bomb) libnet.Protocol {
	switch kind {
	case "composed":
		return codec.New(framing{b}, marshaler{b})
	case "whole":
		return codec.New(wholeFraming{framing{b}}, marshaler{b})
	case "func":
		return libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			return (&userProtocol{b, "pure"}).NewCodec(rw)
		})
	}
	return &userProtocol{b, kind}
}
