package codec_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// boundOf finds the longest message that c takes by trying.
func boundOf(t *testing.T, c libnet.Codec, most int) int {
	t.Helper()
	buffer, dst := make([]byte, most+1), make([]byte, 0, most+16)
	low, high := 0, most+1
	for low < high {
		middle := (low + high + 1) / 2
		msg := buffer[:middle]
		if _, err := c.(libnet.FrameAppender).AppendFrame(dst, &msg); err == nil {
			low = middle
		} else if errors.Is(err, libnet.ErrFrameTooLarge) {
			high = middle - 1
		} else {
			t.Fatal(err)
		}
	}
	return low
}

func TestTheSmallerExplicitBoundHoldsAndADefaultGivesWay(t *testing.T) {
	const unset, off, noStream, mib = 0, -1, math.MinInt, 1 << 20
	for _, row := range []struct {
		framing  codec.Framing
		own      int // as MaxMessage is called; unset: it is not
		sessions int // Config.MaxMessage
		want     int
	}{
		{codec.Uint32BE, unset, noStream, mib},
		{codec.Uint32BE, unset, unset, mib},
		{codec.Uint32BE, unset, 500, 500},
		{codec.Uint32BE, unset, 2 * mib, 2 * mib},
		{codec.Uint32BE, 300, noStream, 300},
		{codec.Uint32BE, 300, unset, 300},
		{codec.Uint32BE, 300, 500, 300},
		{codec.Uint32BE, 500, 300, 300},
		{codec.Uint32BE, 300, off, 300},
		{codec.Uint32BE, off, 300, 300},
		{codec.Uint16BE, unset, noStream, 65535},
		{codec.Uint16BE, unset, 2 * mib, 65535},
		{codec.Uint16BE, unset, off, 65535},
		{codec.Uint16BE, off, noStream, 65535},
		{codec.Uint16BE, off, off, 65535},
		{codec.Uint16BE, 2 * mib, unset, 65535},
		{codec.Uint24BE, unset, off, 1<<24 - 1},
		{codec.Uint24BE, off, unset, 1<<24 - 1},
		{codec.Lines, unset, 500, 500},
		{codec.Uvarint, 300, 500, 300},
		{codec.LengthField{Size: 4, Strip: 4}, unset, 500, 500},
		{userFraming{}, unset, 100, 100},
		{userFraming{}, 1000, unset, 255},
	} {
		protocol := codec.New(row.framing, codec.Bytes)
		if row.own != unset {
			protocol = protocol.MaxMessage(row.own)
		}
		rw := reading(strings.NewReader(""))
		if row.sessions != noStream {
			rw = limitedStream{rw, row.sessions}
		}
		c := protocol.NewCodec(rw)
		if got := boundOf(t, c, max(row.want+10, 2*mib)); got != row.want {
			t.Errorf("%v, MaxMessage %d, Config.MaxMessage %d: bound %d, want %d", row.framing, row.own, row.sessions, got, row.want)
		}
		if told := c.(interface{ MaxMessage() int }).MaxMessage(); told != row.want {
			t.Errorf("%v, MaxMessage %d, Config.MaxMessage %d: tells a bound of %d, want %d", row.framing, row.own, row.sessions, told, row.want)
		}
	}
}

func TestMaxMessageLeavesTheProtocolItIsCalledOn(t *testing.T) {
	wide := codec.New(codec.Uint32BE, codec.Bytes)
	narrow := wide.MaxMessage(10)
	again := narrow.MaxMessage(0)
	for name, row := range map[string]struct {
		protocol *codec.Composed
		want     int
	}{"wide": {wide, 1 << 20}, "narrow": {narrow, 10}, "back to the default": {again, 1 << 20}} {
		if got := boundOf(t, row.protocol.NewCodec(nil), 2<<20); got != row.want {
			t.Errorf("%s: %d, want %d", name, got, row.want)
		}
	}
}

func TestTheSizeOfFixedIsItsBound(t *testing.T) {
	const size = 3 << 20
	record := bytes.Repeat([]byte{'r'}, size)
	protocol := codec.New(codec.Fixed(size), codec.Bytes)
	frame := mustAppend(t, pure(protocol), nil, record)
	if got, n, err := pure(protocol).ParseFrame(frame); n != size || len(got) != size || err != nil {
		t.Fatalf("%s", describe(got, n, err))
	}
	bounded := protocol.NewCodec(limitedStream{reading(strings.NewReader("r")), size - 1})
	if err := bounded.Send(record); !errors.Is(err, libnet.ErrFrameTooLarge) {
		t.Errorf("sent over the session's bound: %v", err)
	}
	if _, err := bounded.Receive(); !errors.Is(err, libnet.ErrFrameTooLarge) {
		t.Errorf("received over the session's bound: %v", err)
	}
}

func TestALengthThatEndsInsideItsHeaderIsMalformed(t *testing.T) {
	for _, row := range []struct {
		framing codec.LengthField
		header  string
	}{
		{codec.LengthField{Size: 2, IncludesHeader: true, Strip: 2}, "\x00\x00"},
		{codec.LengthField{Size: 2, IncludesHeader: true, Strip: 2}, "\x00\x01"},
		{codec.LengthField{Offset: 1, Size: 4, Adjust: -4}, "Q\x00\x00\x00\x03"},
		{codec.LengthField{Size: 1, Strip: 9}, "\x07"},
		{codec.LengthField{Size: 1, Adjust: -200}, "\xc7"},
	} {
		_, n, err := pure(codec.New(row.framing, codec.Bytes)).ParseFrame([]byte(row.header))
		if !errors.Is(err, libnet.ErrMalformedFrame) || n != 0 {
			t.Errorf("%+v, %q: n %d, %v", row.framing, row.header, n, err)
		}
	}
}

func TestAMessageThatItsLengthCannotDescribeIsRefused(t *testing.T) {
	for _, row := range []struct {
		framing codec.LengthField
		size    int
		want    error
	}{
		{codec.LengthField{Size: 4}, 3, libnet.ErrEncode},                                 // shorter than its header
		{codec.LengthField{Size: 2, Adjust: 8, Strip: 2}, 7, libnet.ErrEncode},            // would need length -1
		{codec.LengthField{Size: 1, Adjust: -10, Strip: 1}, 246, libnet.ErrFrameTooLarge}, // would need length 256
	} {
		c := codec.New(row.framing, codec.Bytes).NewCodec(nil)
		_, err := c.(libnet.FrameAppender).AppendFrame(nil, make([]byte, row.size))
		wantError(t, fmt.Sprintf("%+v", row.framing), err, row.want)
		_, err = row.framing.AppendFrame(nil, make([]byte, row.size))
		wantError(t, fmt.Sprintf("%+v itself", row.framing), err, row.want)
		if splitter, ok := c.(libnet.FrameSplitter); ok {
			_, _, err = splitter.SplitFrame(nil, make([]byte, row.size))
			wantError(t, fmt.Sprintf("%+v split", row.framing), err, row.want)
		}
	}
}

func TestAVarintOfMoreThan64BitsIsMalformed(t *testing.T) {
	c := pure(codec.New(codec.Uvarint, codec.Bytes))
	for _, header := range []string{
		strings.Repeat("\x80", 10),
		strings.Repeat("\xff", 10),
		strings.Repeat("\x80", 9) + "\x02",
		strings.Repeat("\xff", 9) + "\x7f",
		strings.Repeat("\x80", 10) + "\x00",
		strings.Repeat("\x80", 1000),
	} {
		if _, n, err := c.ParseFrame([]byte(header)); !errors.Is(err, libnet.ErrMalformedFrame) || n != 0 {
			t.Errorf("%x: n %d, %v", header, n, err)
		}
	}
	padded := "\x83\x80\x80\x00abc"
	if got, n, err := c.ParseFrame([]byte(padded)); string(got) != "abc" || n != len(padded) || err != nil {
		t.Errorf("a longer form than needed: %q, n %d, %v", got, n, err)
	}
}

func TestEveryFramingAloneKeepsItsPromises(t *testing.T) {
	payload := []byte("12345")
	for _, framing := range framings {
		f := framing.framing
		if framing.most > 0 && f.Max() != framing.most {
			t.Errorf("%s: Max is %d, want %d", framing.name, f.Max(), framing.most)
		}
		if framing.most == 0 && f.Max() < math.MaxInt32 {
			t.Errorf("%s: Max is only %d", framing.name, f.Max())
		}
		frame, err := f.AppendFrame([]byte("before"), payload)
		if err != nil || !bytes.HasPrefix(frame, []byte("before")) {
			t.Errorf("%s: %q, %v", framing.name, frame, err)
			continue
		}
		got, n, err := f.ParseFrame(append(frame[6:], "after"...))
		if err != nil || n != len(frame)-6 || !bytes.Equal(got, framing.asReceived(payload)) {
			t.Errorf("%s: %q, n %d, %v", framing.name, got, n, err)
		}
		if framing.most > 0 {
			over, err := f.AppendFrame([]byte("before"), make([]byte, framing.most+1))
			if !errors.Is(err, libnet.ErrFrameTooLarge) || string(over) != "before" {
				t.Errorf("%s: over Max: %d bytes, %v", framing.name, len(over), err)
			}
		}
	}
}

// answering is a framing of somebody else's that gives the answers it is told to.
type answering struct {
	userFraming
	payload []byte
	n       int
	err     error
}

func (a answering) ParseFrame([]byte) ([]byte, int, error)          { return a.payload, a.n, a.err }
func (a answering) AppendFrame(dst, payload []byte) ([]byte, error) { return dst[:len(dst)/2], a.err }

func TestTheAnswersOfAnotherFramingAreNotTrusted(t *testing.T) {
	own := errors.New("own")
	long := make([]byte, 100)
	for name, row := range map[string]struct {
		framing codec.Framing
		src     []byte
		want    []error
	}{
		"an error of its own":      {answering{err: own}, long, []error{libnet.ErrMalformedFrame, own}},
		"an error of libnet":       {answering{err: libnet.ErrFrameTooLarge}, long, []error{libnet.ErrFrameTooLarge}},
		"a negative length":        {answering{n: -1}, long, []error{libnet.ErrMalformedFrame}},
		"a length beyond what is":  {answering{n: 101}, long, []error{libnet.ErrMalformedFrame}},
		"a payload over the bound": {answering{n: 90, payload: long[:90]}, long, []error{libnet.ErrFrameTooLarge}},
		"more for ever":            {answering{}, make([]byte, 2*50+1024+1), []error{libnet.ErrFrameTooLarge}},
	} {
		payload, n, err := pure(codec.New(row.framing, codec.Bytes).MaxMessage(50)).ParseFrame(row.src)
		wantError(t, name, err, row.want...)
		if payload != nil || n != 0 {
			t.Errorf("%s: %d bytes of %d", name, len(payload), n)
		}
	}
	unbounded := pure(codec.New(hugeFraming{answering{}}, codec.Bytes).MaxMessage(-1))
	if _, n, err := unbounded.ParseFrame(long); n != 0 || err != nil {
		t.Errorf("without a bound: n %d, %v", n, err)
	}
	for _, err := range []error{nil, own} {
		dst, got := pure(codec.New(answering{err: err}, codec.Bytes)).AppendFrame([]byte("before"), "x")
		if wantError(t, "AppendFrame", got, libnet.ErrEncode); string(dst) != "before" {
			t.Errorf("dst became %q", dst)
		}
	}
}

type hugeFraming struct{ answering }

func (hugeFraming) Max() int { return math.MaxInt }

func TestAFailingMarshalerOfOnesOwnIsAnEncodeErrorWithItsCause(t *testing.T) {
	for _, framing := range framings {
		dst, err := pure(codec.New(framing.framing, userMarshaler{})).AppendFrame([]byte("before"), userMessage(-1))
		if wantError(t, framing.name, err, libnet.ErrEncode, errUser); string(dst) != "before" {
			t.Errorf("%s: dst became %q", framing.name, dst)
		}
	}
}

// signed builds on another marshaler, as compression would.
type signed struct{ inner codec.Marshaler }

func (m signed) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	dst, err := m.inner.AppendMarshal(dst, msg)
	return append(dst, '!'), err
}

func TestAMarshalerMayBuildOnAnother(t *testing.T) {
	for _, marshaler := range marshalers {
		msg, payload := marshaler.message(10)
		c := pure(codec.New(codec.Uint8, signed{marshaler.marshaler}).MaxMessage(12))
		if frame := mustAppend(t, c, nil, msg); string(frame) != "\x0b"+string(payload)+"!" {
			t.Errorf("%s: %q", marshaler.name, frame)
		}
		_, err := c.AppendFrame(nil, make(chan int))
		wantError(t, marshaler.name, err, libnet.ErrEncode)
		msg, _ = marshaler.message(12)
		_, err = c.AppendFrame(nil, msg)
		wantError(t, marshaler.name, err, libnet.ErrFrameTooLarge)
	}
}

type shrinking struct{ err error }

func (m shrinking) AppendMarshal(dst []byte, _ any) ([]byte, error) { return dst[:0], m.err }

func TestTheAnswersOfAnotherMarshalerAreNotTrusted(t *testing.T) {
	for _, framing := range framings {
		for cause, want := range map[error]error{nil: libnet.ErrEncode, libnet.ErrFrameTooLarge: libnet.ErrFrameTooLarge} {
			dst, err := pure(codec.New(framing.framing, shrinking{cause})).AppendFrame([]byte("before"), "x")
			if wantError(t, framing.name, err, want); string(dst) != "before" {
				t.Errorf("%s: dst became %q", framing.name, dst)
			}
		}
	}
}

func TestErrorsTellLengthsAndNeverPayload(t *testing.T) {
	const secret = "swordfish"
	src := []byte(strings.Repeat(secret, 100))
	for _, framing := range framings {
		for _, bound := range []int{1, 8, 100} {
			protocol := codec.New(framing.framing, codec.Bytes).MaxMessage(bound)
			c := protocol.NewCodec(reading(bytes.NewReader(src)))
			for {
				_, err := c.Receive()
				if err == nil {
					continue
				}
				if err != io.EOF && strings.Contains(err.Error(), secret[:3]) {
					t.Errorf("%s: %v", framing.name, err)
				}
				break
			}
			for _, msg := range []any{secret, secret + "\n\r\n\x00#+#", "\x00" + secret} {
				if _, err := pure(protocol).AppendFrame(nil, msg); err != nil && strings.Contains(err.Error(), secret[:3]) {
					t.Errorf("%s: %v", framing.name, err)
				}
			}
		}
	}
}

func TestMisuseByTheProgrammerPanics(t *testing.T) {
	for name, f := range map[string]func(){
		"no framing":         func() { codec.New(nil, codec.Bytes) },
		"no marshaler":       func() { codec.New(codec.Uint8, nil) },
		"Fixed(0)":           func() { codec.Fixed(0) },
		"Fixed(-1)":          func() { codec.Fixed(-1) },
		"empty delimiter":    func() { codec.Delimiter("") },
		"nil delimiter":      func() { codec.Delimiter([]byte(nil)) },
		"size 0":             func() { codec.New(codec.LengthField{}, codec.Bytes) },
		"size 9":             func() { codec.New(codec.LengthField{Size: 9}, codec.Bytes) },
		"size 0, used alone": func() { codec.LengthField{}.ParseFrame(nil) },
		"negative offset":    func() { codec.New(codec.LengthField{Offset: -1, Size: 1}, codec.Bytes) },
		"long offset":        func() { codec.New(codec.LengthField{Offset: 1 << 16, Size: 1}, codec.Bytes) },
		"negative strip":     func() { codec.New(codec.LengthField{Strip: -1, Size: 1}, codec.Bytes) },
		"long strip":         func() { codec.New(codec.LengthField{Strip: 1 << 16, Size: 4}, codec.Bytes) },
		"large adjust":       func() { codec.New(codec.LengthField{Adjust: 1<<30 + 1, Size: 4}, codec.Bytes) },
		"no frame possible":  func() { codec.New(codec.LengthField{Adjust: -256, Size: 1}, codec.Bytes) },
		"strip over all":     func() { codec.New(codec.LengthField{Strip: 300, Size: 1}, codec.Bytes) },
	} {
		func() {
			defer func() {
				text, _ := recover().(string)
				if !strings.HasPrefix(text, "libnet: ") {
					t.Errorf("%s: panicked with %q", name, text)
				}
			}()
			f()
		}()
	}
}
