package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// A framingCase is a framing and what is known of it without asking it.
type framingCase struct {
	name    string
	framing codec.Framing
	decode  reference
	most    int                               // the largest payload in bytes, where tests can reach it
	carries func(payload []byte) bool         // nil: every payload
	arrives func(payload []byte) (got []byte) // nil: as it was sent
	header  int                               // bytes by which a frame too large is known; 0: the bound and one more
}

// late says that a frame too large is known only when all of it is there.
const late = -1

var framings = []framingCase{
	{name: "Uint8", framing: codec.Uint8, decode: referencePrefix(1, false), most: 255, header: 1},
	{name: "Uint16BE", framing: codec.Uint16BE, decode: referencePrefix(2, false), most: 65535, header: 2},
	{name: "Uint16LE", framing: codec.Uint16LE, decode: referencePrefix(2, true), most: 65535, header: 2},
	{name: "Uint24BE", framing: codec.Uint24BE, decode: referencePrefix(3, false), most: 1<<24 - 1, header: 3},
	{name: "Uint24LE", framing: codec.Uint24LE, decode: referencePrefix(3, true), most: 1<<24 - 1, header: 3},
	{name: "Uint32BE", framing: codec.Uint32BE, decode: referencePrefix(4, false), header: 4},
	{name: "Uint32LE", framing: codec.Uint32LE, decode: referencePrefix(4, true), header: 4},
	{name: "Uint64BE", framing: codec.Uint64BE, decode: referencePrefix(8, false), header: 8},
	{name: "Uint64LE", framing: codec.Uint64LE, decode: referencePrefix(8, true), header: 8},
	{name: "Uvarint", framing: codec.Uvarint, decode: referenceVarint, header: 2},
	{
		name: "Lines", framing: codec.Lines, decode: referenceDelimiter("\r\n", "\n"),
		carries: func(p []byte) bool { return !bytes.Contains(p, []byte("\n")) && !bytes.HasSuffix(p, []byte("\r")) },
	},
	{
		name: "Delimiter CRLF", framing: codec.Delimiter("\r\n"), decode: referenceDelimiter("\r\n"),
		carries: func(p []byte) bool { return !bytes.Contains(p, []byte("\r\n")) },
	},
	{
		name: "Delimiter NUL", framing: codec.Delimiter([]byte{0}), decode: referenceDelimiter("\x00"),
		carries: func(p []byte) bool { return !bytes.Contains(p, []byte{0}) },
	},
	{
		// The end of a payload and the beginning of such a delimiter can make another one.
		name: "Delimiter overlapping", framing: codec.Delimiter("#+#"), decode: referenceDelimiter("#+#"),
		carries: func(p []byte) bool {
			return !bytes.Contains(p, []byte("#+#")) && !bytes.HasSuffix(p, []byte("#+"))
		},
	},
	{
		name: "Fixed", framing: codec.Fixed(5), decode: referenceFixed(5), most: 5,
		carries: func(p []byte) bool { return len(p) == 5 },
		header:  1,
	},
	{
		name: "LengthField game", framing: codec.LengthField{Size: 2, Order: binary.LittleEndian, IncludesHeader: true, Strip: 2},
		decode: referenceLength(0, 2, true, 0, true, 2), most: 65533,
		header: 2,
	},
	{
		name: "LengthField gRPC", framing: codec.LengthField{Offset: 1, Size: 4},
		decode:  referenceLength(1, 4, false, 0, false, 0),
		carries: longerThan(4), arrives: overwritten(1, 4, binary.BigEndian, 5),
		header: 5,
	},
	{
		name: "LengthField PostgreSQL", framing: codec.LengthField{Offset: 1, Size: 4, Adjust: -4},
		decode:  referenceLength(1, 4, false, -4, false, 0),
		carries: longerThan(4), arrives: overwritten(1, 4, binary.BigEndian, 1),
		header: 5,
	},
	{
		name: "LengthField MySQL", framing: codec.LengthField{Size: 3, Order: binary.LittleEndian, Adjust: 1, Strip: 3},
		decode: referenceLength(0, 3, true, 1, false, 3), most: 1 << 24, carries: longerThan(0),
		header: 3,
	},
	{
		name: "LengthField of one", framing: codec.LengthField{Offset: 3, Size: 1, Adjust: 7, IncludesHeader: true, Strip: 9},
		decode: referenceLength(3, 1, false, 7, true, 9), most: 255 + 7 - 9,
		header: 4,
	},
	{
		name: "LengthField of five", framing: codec.LengthField{Size: 5, Strip: 5},
		decode: referenceLength(0, 5, false, 0, false, 5),
		header: 5,
	},
	{
		name: "LengthField of six", framing: codec.LengthField{Offset: 2, Size: 6, Order: binary.LittleEndian, Adjust: -1, Strip: 8},
		decode: referenceLength(2, 6, true, -1, false, 8),
		header: 8,
	},
	{
		name: "LengthField of eight", framing: codec.LengthField{Size: 8, Adjust: -3, Strip: 12},
		decode: referenceLength(0, 8, false, -3, false, 12),
		header: 8,
	},
	{name: "user's", framing: userFraming{}, decode: referencePrefix(1, false), most: 255, header: late},
	{name: "user's with everything", framing: userFastFraming{}, decode: referencePrefix(1, false), most: 255, header: 1},
}

func longerThan(n int) func([]byte) bool {
	return func(p []byte) bool { return len(p) > n }
}

// overwritten is what happens to the length field inside a message that is sent with its header.
func overwritten(offset, size int, order binary.ByteOrder, less int) func([]byte) []byte {
	return func(p []byte) []byte {
		got := bytes.Clone(p)
		order.PutUint32(got[offset:offset+size], uint32(len(p)-less))
		return got
	}
}

func (f framingCase) canCarry(p []byte) bool { return f.carries == nil || f.carries(p) }

func (f framingCase) asReceived(p []byte) []byte {
	if f.arrives == nil {
		return p
	}
	return f.arrives(p)
}

// bound is n, or what the framing can say if that is less.
func (f framingCase) bound(n int) int {
	if f.most > 0 {
		return min(n, f.most)
	}
	return n
}

// A marshalerCase makes messages of a given size on the wire; nil where there is none.
type marshalerCase struct {
	name      string
	marshaler codec.Marshaler
	message   func(size int) (msg any, payload []byte)
}

var marshalers = []marshalerCase{
	{"Bytes", codec.Bytes, func(size int) (any, []byte) {
		b := bytes.Repeat([]byte("payload."), size/8+1)[:size]
		return b, b
	}},
	{"Bytes of a pointer", codec.Bytes, func(size int) (any, []byte) {
		b := bytes.Repeat([]byte{0xff}, size)
		return &b, b
	}},
	{"Bytes of a string", codec.Bytes, func(size int) (any, []byte) {
		s := strings.Repeat("s", size)
		return s, []byte(s)
	}},
	{"Proto", codec.Proto, func(size int) (any, []byte) {
		// Field 2, so that no tag is a line feed.
		for overhead := range 6 {
			m := &anypb.Any{Value: bytes.Repeat([]byte{'p'}, max(size-overhead, 0))}
			if b, err := proto.Marshal(m); err == nil && len(b) == size {
				return m, b
			}
		}
		return nil, nil
	}},
	{"JSON", codec.JSON, func(size int) (any, []byte) {
		if size < 2 {
			return nil, nil
		}
		s := strings.Repeat("j", size-2)
		return s, []byte(`"` + s + `"`)
	}},
	{"user's", userMarshaler{}, func(size int) (any, []byte) {
		return userMessage(size), bytes.Repeat([]byte{'o'}, size)
	}},
}

// userFraming has the three methods that a framing needs, and a flaw: a nil empty payload.
type userFraming struct{}

func (userFraming) Max() int { return 255 }

func (userFraming) AppendFrame(dst, payload []byte) ([]byte, error) {
	if len(payload) > 255 {
		return dst, libnet.ErrFrameTooLarge
	}
	return append(append(dst, byte(len(payload))), payload...), nil
}

func (userFraming) ParseFrame(src []byte) ([]byte, int, error) {
	switch {
	case len(src) == 0 || len(src) < 1+int(src[0]):
		return nil, 0, nil
	case src[0] == 0:
		return nil, 1, nil
	}
	return src[1 : 1+int(src[0])], 1 + int(src[0]), nil
}

// userFastFraming is the same with everything optional.
type userFastFraming struct{ userFraming }

var (
	_ codec.Sealer  = userFastFraming{}
	_ codec.Limiter = userFastFraming{}
)

func (userFastFraming) Room() int { return 1 }

func (userFastFraming) SealFrame(dst []byte, start int) ([]byte, error) {
	if len(dst)-start-1 > 255 {
		return dst, libnet.ErrFrameTooLarge
	}
	dst[start] = byte(len(dst) - start - 1)
	return dst, nil
}

func (userFastFraming) ParseFrameMax(src []byte, limit int) ([]byte, int, error) {
	if len(src) > 0 && int(src[0]) > limit {
		return nil, 0, libnet.ErrFrameTooLarge
	}
	return userFraming{}.ParseFrame(src)
}

// userMarshaler encodes a number as that many bytes; a negative one fails.
type userMarshaler struct{}

type userMessage int

var errUser = errors.New("user's marshaler: negative")

func (userMarshaler) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	n, ok := msg.(userMessage)
	if !ok || n < 0 {
		return nil, errUser
	}
	return append(dst, bytes.Repeat([]byte{'o'}, int(n))...), nil
}

// pure is a codec without a connection.
func pure(protocol libnet.Protocol) interface {
	libnet.FrameAppender
	libnet.FrameParser
} {
	return protocol.NewCodec(nil).(interface {
		libnet.FrameAppender
		libnet.FrameParser
	})
}

func mustAppend(t testing.TB, c libnet.FrameAppender, dst []byte, msg any) []byte {
	t.Helper()
	frame, err := c.AppendFrame(dst, msg)
	if err != nil {
		t.Fatalf("AppendFrame: %v", err)
	}
	return frame
}

func wantError(t testing.TB, what string, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%s: got error %v, want %v", what, err, target)
		}
	}
}

// readWriter joins the two halves of a connection.
type readWriter struct {
	io.Reader
	io.Writer
}

func reading(r io.Reader) io.ReadWriter { return readWriter{r, io.Discard} }
func writing(w io.Writer) io.ReadWriter { return readWriter{strings.NewReader(""), w} }

// limitedStream is a libnet.Stream as a session with Config.MaxMessage hands it out.
type limitedStream struct {
	io.ReadWriter
	limit int
}

func (s limitedStream) MaxMessage() int    { return s.limit }
func (limitedStream) Close() error         { return nil }
func (limitedStream) LocalAddr() net.Addr  { return nil }
func (limitedStream) RemoteAddr() net.Addr { return nil }

var _ libnet.Stream = limitedStream{}

// chunks reads one chunk at a time, then answers err.
type chunks struct {
	rest [][]byte
	err  error
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, c.err
	}
	n := copy(p, c.rest[0])
	if c.rest[0] = c.rest[0][n:]; len(c.rest[0]) == 0 {
		c.rest = c.rest[1:]
	}
	return n, nil
}

func describe(payload []byte, n int, err error) string {
	return fmt.Sprintf("%d bytes of %d, %v", len(payload), n, err)
}
