package libnettest_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sync/atomic"

	"github.com/libnet-go/libnet"
)

// parts is a codec for []byte and string behind their length, with all optional interfaces. It is sound; a mutant
// replaces one of its parts.
type parts struct {
	rw     io.ReadWriter
	header int // bytes of the length, 2 or 4
	max    int // the longest payload
	buf    []byte
	err    error // of the reader
	n      int   // for a mutant to count with
	keep   []byte

	shared *common // by all codecs of the protocol

	receive func() ([]byte, error)
	read    func() error
	send    func(msg any) error
	close   func() error
	encode  func(dst []byte, msg any) ([]byte, error)
	parse   func(src []byte) (payload []byte, n int, err error)
	split   func(dst []byte, msg any) (header, payload []byte, err error)
}

// common is what a protocol's codecs should not have in common.
type common struct {
	n    atomic.Int64
	buf  []byte
	lock chan struct{} // a channel, for the bubble's clock
}

// partsProtocol makes sound codecs, and spoils them if it has a mutant.
type partsProtocol struct {
	spoil  func(c *parts)
	shared *common
}

func mutated(spoil func(c *parts)) libnet.Protocol {
	return partsProtocol{spoil, &common{lock: make(chan struct{}, 1)}}
}

func (p partsProtocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	c := &parts{rw: rw, header: 2, max: math.MaxUint16, shared: p.shared}
	c.receive, c.read, c.send, c.close = c.soundReceive, c.soundRead, c.soundSend, c.soundClose
	c.encode, c.parse, c.split = c.soundEncode, c.soundParse, c.soundSplit
	if p.spoil != nil {
		p.spoil(c)
	}
	return c
}

func (c *parts) Receive() ([]byte, error)                              { return c.receive() }
func (c *parts) Send(msg any) error                                    { return c.send(msg) }
func (c *parts) Close() error                                          { return c.close() }
func (c *parts) AppendFrame(dst []byte, msg any) ([]byte, error)       { return c.encode(dst, msg) }
func (c *parts) ParseFrame(src []byte) ([]byte, int, error)            { return c.parse(src) }
func (c *parts) SplitFrame(dst []byte, msg any) (h, p []byte, e error) { return c.split(dst, msg) }

var _ interface {
	libnet.FrameSplitter
	libnet.FrameParser
	libnet.FrameAppender
} = (*parts)(nil)

// wide gives c a length of four bytes, and a bound.
func (c *parts) wide(max int) { c.header, c.max = 4, max }

// bounded gives c a length of four bytes, and the bound that the stream has.
func (c *parts) bounded() {
	c.wide(1 << 20)
	if max := streamBound(c.rw); max > 0 {
		c.max = max
	}
}

func streamBound(rw io.ReadWriter) int {
	if s, ok := rw.(libnet.Stream); ok {
		return s.MaxMessage()
	}
	return 0
}

func payloadOf(msg any) ([]byte, error) {
	switch m := msg.(type) {
	case []byte:
		return m, nil
	case string:
		return []byte(m), nil
	}
	return nil, fmt.Errorf("%w: %T", libnet.ErrEncode, msg)
}

func (c *parts) appendLength(dst []byte, n int) []byte {
	if c.header == 2 {
		return binary.BigEndian.AppendUint16(dst, uint16(n))
	}
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}

func (c *parts) length(src []byte) int {
	if c.header == 2 {
		return int(binary.BigEndian.Uint16(src))
	}
	return int(binary.BigEndian.Uint32(src))
}

func (c *parts) soundEncode(dst []byte, msg any) ([]byte, error) {
	payload, err := payloadOf(msg)
	switch {
	case err != nil:
		return dst, err
	case len(payload) > c.max:
		return dst, libnet.ErrFrameTooLarge
	}
	return append(c.appendLength(dst, len(payload)), payload...), nil
}

func (c *parts) soundSplit(dst []byte, msg any) (header, payload []byte, err error) {
	payload, isSlice := msg.([]byte)
	switch {
	case !isSlice || len(payload) == 0:
		return dst, nil, nil
	case len(payload) > c.max:
		return dst, nil, libnet.ErrFrameTooLarge
	}
	return c.appendLength(dst, len(payload)), payload, nil
}

func (c *parts) soundParse(src []byte) (payload []byte, n int, err error) {
	if len(src) < c.header {
		return nil, 0, nil
	}
	if c.length(src) > c.max {
		return nil, 0, libnet.ErrFrameTooLarge
	}
	if n = c.header + c.length(src); len(src) < n {
		return nil, 0, nil
	}
	return src[c.header:n:n], n, nil
}

func (c *parts) soundReceive() ([]byte, error) {
	for {
		payload, n, err := c.parse(c.buf)
		switch {
		case err != nil:
			return nil, err
		case n > 0:
			c.buf = c.buf[n:]
			return append([]byte{}, payload...), nil
		case c.err == io.EOF && len(c.buf) > 0:
			return nil, io.ErrUnexpectedEOF
		case c.err != nil:
			return nil, c.err
		}
		c.err = c.read()
	}
}

// receiveSoundly leaves ParseFrame alone to what a mutant does to c.parse.
func (c *parts) receiveSoundly() {
	c.receive = func() ([]byte, error) {
		parse := c.parse
		c.parse = c.soundParse
		defer func() { c.parse = parse }()
		return c.soundReceive()
	}
}

// sendSoundly leaves AppendFrame alone to what a mutant does to c.encode.
func (c *parts) sendSoundly() {
	c.send = func(msg any) error {
		frame, err := c.soundEncode(nil, msg)
		if err != nil {
			return err
		}
		return c.write(frame)
	}
}

func (c *parts) soundRead() error {
	chunk := make([]byte, 4<<10)
	n, err := c.rw.Read(chunk)
	c.buf = append(c.buf, chunk[:n]...)
	return err
}

func (c *parts) soundSend(msg any) error {
	frame, err := c.encode(nil, msg)
	if err != nil {
		return err
	}
	return c.write(frame)
}

func (c *parts) write(frame []byte) error {
	n, err := c.rw.Write(frame)
	if err == nil && n < len(frame) {
		err = io.ErrShortWrite
	}
	return err
}

func (c *parts) soundClose() error {
	if closer, ok := c.rw.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// every counts its calls, and reports each k-th.
func (c *parts) every(k int) bool {
	c.n++
	return c.n%k == 0
}

// damage changes the last byte of p, in memory of its own.
func damage(p []byte) []byte {
	if len(p) == 0 {
		return p
	}
	p = append([]byte{}, p...)
	p[len(p)-1] ^= 1
	return p
}
