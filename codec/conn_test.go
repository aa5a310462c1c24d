package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/testkit"
)

func TestACodecWorksOnABareConnectionWithoutASession(t *testing.T) {
	near, far := net.Pipe()
	client, server := codec.Protobuf().NewCodec(near), codec.Protobuf().NewCodec(far)
	const messages = 100
	echoed := make(chan error, 1)
	go func() {
		defer server.Close()
		for {
			payload, err := server.Receive()
			if err != nil {
				echoed <- err
				return
			}
			if err := server.Send(&anypb.Any{Value: payload}); err != nil {
				echoed <- err
				return
			}
		}
	}()
	for i := range messages {
		msg := &anypb.Any{Value: bytes.Repeat([]byte{byte(i)}, i*i)}
		if err := client.Send(msg); err != nil {
			t.Fatal(err)
		}
		if got, err := client.Receive(); err != nil || !bytes.HasSuffix(got, msg.Value) || len(got) < len(msg.Value) {
			t.Fatalf("message %d: %d bytes came back, %v", i, len(got), err)
		}
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-echoed; err != io.EOF {
		t.Fatalf("the server ended with %v, want io.EOF", err)
	}
	if _, err := client.Receive(); !errors.Is(err, io.ErrClosedPipe) {
		t.Fatalf("Receive after Close: %v", err)
	}
	if err := client.Send("no message"); !errors.Is(err, libnet.ErrEncode) {
		t.Fatalf("Send of a wrong type: %v", err)
	}
	if err := client.Send(&anypb.Any{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Fatalf("Send after Close: %v", err)
	}
}

// K1: Receive never returned an error; a dead client cost one core at 100 %.
func TestK1ReceiveAnswersEOFWhenThePeerEndsBetweenFrames(t *testing.T) {
	for _, framing := range framings {
		c := codec.New(framing.framing, codec.Bytes).NewCodec(reading(strings.NewReader("")))
		for range 3 {
			if msg, err := c.Receive(); err != io.EOF || msg != nil {
				t.Errorf("%s: %q, %v", framing.name, msg, err)
			}
		}
	}
}

// K7: the reader answered (0, nil) after an error, so that its callers spun.
func TestK7AConnectionThatReadsNothingForEverEndsTheCodec(t *testing.T) {
	reads := 0
	c := codec.New(codec.Uint8, codec.Bytes).NewCodec(reading(readerFunc(func([]byte) (int, error) {
		reads++
		return 0, nil
	})))
	for range 3 {
		if _, err := c.Receive(); err != io.ErrNoProgress {
			t.Fatalf("got %v, want io.ErrNoProgress", err)
		}
	}
	if reads < 2 || reads > 1000 {
		t.Errorf("gave up after %d empty reads", reads)
	}
}

func TestEmptyReadsBetweenOthersAreNoEnd(t *testing.T) {
	reads := 0
	c := codec.New(codec.Uint8, codec.Bytes).NewCodec(reading(readerFunc(func(p []byte) (int, error) {
		if reads++; reads%50 != 0 {
			return 0, nil
		}
		p[0] = 1
		return 1, nil
	})))
	for range 20 {
		if msg, err := c.Receive(); err != nil || string(msg) != "\x01" {
			t.Fatalf("%q, %v", msg, err)
		}
	}
}

func TestAReaderThatMiscountsIsAnErrorAndNoPanic(t *testing.T) {
	for _, n := range []int{-1, 1 << 30} {
		c := codec.New(codec.Uint8, codec.Bytes).NewCodec(reading(readerFunc(func([]byte) (int, error) { return n, nil })))
		if msg, err := c.Receive(); err == nil {
			t.Errorf("a count of %d: %q", n, msg)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// K8: the next read cleared an error that should have stayed, a negative length panicked,
// and four bytes of header allocated up to 4 GiB.
func TestK8AnErrorOfReceiveStays(t *testing.T) {
	broken := errors.New("broken")
	reads := 0
	heals := readerFunc(func(p []byte) (int, error) {
		switch reads++; reads {
		case 1:
			return copy(p, "\x01a\x02b"), nil
		case 2:
			return 0, broken
		}
		return copy(p, "c"), nil // as a connection whose deadline is moved
	})
	c := codec.New(codec.Uint8, codec.Bytes).NewCodec(reading(heals))
	if msg, err := c.Receive(); err != nil || string(msg) != "a" {
		t.Fatalf("%q, %v", msg, err)
	}
	for range 3 {
		if msg, err := c.Receive(); err != broken || msg != nil {
			t.Fatalf("%q, %v, want the connection's own error", msg, err)
		}
	}
}

func TestK8ALengthWithItsTopBitsSetIsAnErrorFromTheHeaderAlone(t *testing.T) {
	claims := []uint64{1 << 63, 1<<63 | 5, 1<<64 - 1, 1<<64 - 4, 1 << 62, 1<<63 - 1, 1 << 32, 1<<32 - 1, 1 << 31, 1<<31 - 1}
	for _, claim := range claims {
		be, le := binary.BigEndian.AppendUint64(nil, claim), binary.LittleEndian.AppendUint64(nil, claim)
		for name, in := range map[string]struct {
			framing codec.Framing
			header  []byte
		}{
			"Uint64BE":                    {codec.Uint64BE, be},
			"Uint64LE":                    {codec.Uint64LE, le},
			"Uint32BE":                    {codec.Uint32BE, binary.BigEndian.AppendUint32(nil, uint32(claim)|1<<31)},
			"Uint32LE":                    {codec.Uint32LE, binary.LittleEndian.AppendUint32(nil, uint32(claim)|1<<31)},
			"Uvarint":                     {codec.Uvarint, binary.AppendUvarint(nil, claim)},
			"LengthField":                 {codec.LengthField{Size: 8, Strip: 8}, be},
			"LengthField LE":              {codec.LengthField{Size: 8, Order: binary.LittleEndian}, le},
			"LengthField with itself":     {codec.LengthField{Size: 8, IncludesHeader: true, Strip: 8}, be},
			"LengthField, large Adjust":   {codec.LengthField{Size: 8, Adjust: 1 << 30}, be},
			"LengthField, small Adjust":   {codec.LengthField{Size: 8, Adjust: -1 << 20}, be},
			"LengthField in native order": {codec.LengthField{Size: 8, Order: binary.NativeEndian}, binary.NativeEndian.AppendUint64(nil, claim)},
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c := codec.New(in.framing, codec.Bytes).NewCodec(reading(bytes.NewReader(in.header)))
			msg, err := c.Receive()
			runtime.ReadMemStats(&after)
			if !errors.Is(err, libnet.ErrFrameTooLarge) {
				t.Errorf("%s, claim %#x: %q, %v", name, claim, msg, err)
			}
			if spent := after.TotalAlloc - before.TotalAlloc; spent > 64<<10 {
				t.Errorf("%s, claim %#x: %d bytes allocated", name, claim, spent)
			}
		}
	}
}

// L1: a length with the top bit set passed the size check as a negative number.
func TestL1WithoutABoundOfOursTheLargestLengthsStillAreErrors(t *testing.T) {
	for _, claim := range []uint64{1 << 63, 1<<63 | 5, 1<<64 - 1} {
		header := binary.BigEndian.AppendUint64(nil, claim)
		for name, framing := range map[string]codec.Framing{"Uint64BE": codec.Uint64BE, "LengthField": codec.LengthField{Size: 8}} {
			_, n, err := pure(codec.New(framing, codec.Bytes).MaxMessage(-1)).ParseFrame(header)
			if !errors.Is(err, libnet.ErrFrameTooLarge) || n != 0 {
				t.Errorf("%s, claim %#x: n %d, %v", name, claim, n, err)
			}
		}
	}
}

func TestAFrameMayGrowThroughManyReadsUpToItsBound(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	protocol := codec.New(codec.Uint32BE, codec.Bytes)
	frame := mustAppend(t, pure(protocol), nil, payload)
	two := append(frame[:len(frame):len(frame)], frame...)
	for name, r := range map[string]io.Reader{
		"at once":      bytes.NewReader(two),
		"in halves":    iotest.HalfReader(bytes.NewReader(two)),
		"data and EOF": iotest.DataErrReader(bytes.NewReader(two)),
	} {
		c := protocol.NewCodec(reading(r))
		first, err1 := c.Receive()
		second, err2 := c.Receive()
		if !bytes.Equal(first, payload) || !bytes.Equal(second, payload) || err1 != nil || err2 != nil {
			t.Errorf("%s: %d and %d bytes, %v, %v", name, len(first), len(second), err1, err2)
		}
		if first[0] = 'X'; second[0] == 'X' {
			t.Errorf("%s: the messages share memory", name)
		}
		if _, err := c.Receive(); err != io.EOF {
			t.Errorf("%s: %v after the frames", name, err)
		}
	}
}

// K8, its last part: a claimed length cost memory before a byte of it had come.
func TestK8AFramesMemoryGrowsWithWhatArrivedNotWithWhatWasClaimed(t *testing.T) {
	const peers = 50
	codecs := make([]libnet.Codec, peers)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range codecs {
		codecs[i] = codec.New(codec.Uint32BE, codec.Bytes).NewCodec(reading(strings.NewReader("\x00\x10\x00\x00x")))
		if _, err := codecs[i].Receive(); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / peers; each > 8<<10 {
		t.Errorf("a claim of 1 MiB and one byte of it cost %d bytes", each)
	}
}

func TestTheReceiveBufferIsNoLargerThanTheFramesNeed(t *testing.T) {
	protocol := codec.New(codec.Uint32BE, codec.Bytes)
	large := mustAppend(t, pure(protocol), nil, make([]byte, 1<<20))
	small := mustAppend(t, pure(protocol), nil, make([]byte, 1000))
	stream := bytes.NewReader(append(large, bytes.Repeat(small, 1000)...))
	offered := 0
	c := protocol.NewCodec(reading(readerFunc(func(p []byte) (int, error) {
		offered = len(p)
		return stream.Read(p[:min(len(p), 700)])
	})))
	if msg, err := c.Receive(); err != nil || len(msg) != 1<<20 {
		t.Fatalf("%d bytes, %v", len(msg), err)
	}
	for i := range 1000 {
		if msg, err := c.Receive(); err != nil || len(msg) != 1000 {
			t.Fatalf("%d bytes, %v", len(msg), err)
		}
		if i >= 500 && offered > 8<<10 {
			t.Fatalf("for frames of 1,000 bytes, %d bytes were read into", offered)
		}
	}
}

// scriptedWriter answers as many Writes as it has lines for.
type scriptedWriter struct {
	script []writeAnswer
	calls  [][]byte
}

type writeAnswer struct {
	n   int // -1: all
	err error
}

func (w *scriptedWriter) Write(p []byte) (int, error) {
	w.calls = append(w.calls, bytes.Clone(p))
	if len(w.script) == 0 {
		return len(p), nil
	}
	answer := w.script[0]
	w.script = w.script[1:]
	if answer.n < 0 {
		answer.n = len(p)
	}
	return answer.n, answer.err
}

// K9: a header whose write failed, followed by a body whose write did not, was a success.
func TestK9AFrameIsOneWriteAndItsErrorIsSendsError(t *testing.T) {
	for _, framing := range framings {
		for _, marshaler := range marshalers {
			msg, payload := marshaler.message(framing.bound(5))
			if !framing.canCarry(payload) {
				continue
			}
			failed := errors.New("failed")
			w := &scriptedWriter{script: []writeAnswer{{0, failed}}}
			c := codec.New(framing.framing, marshaler.marshaler).NewCodec(writing(w))
			if err := c.Send(msg); err != failed {
				t.Errorf("%s/%s: a failed write: %v", framing.name, marshaler.name, err)
			}
			if err := c.Send(msg); err != nil {
				t.Errorf("%s/%s: %v", framing.name, marshaler.name, err)
			}
			if len(w.calls) != 2 || !bytes.Equal(w.calls[0], w.calls[1]) {
				t.Errorf("%s/%s: two frames took %d writes: %q", framing.name, marshaler.name, len(w.calls), w.calls)
			}
		}
	}
}

func TestNoFrameIsWrittenAfterATornOne(t *testing.T) {
	failed := errors.New("failed")
	for name, row := range map[string]struct {
		answer writeAnswer
		want   error
	}{
		"short with an error":    {writeAnswer{3, failed}, failed},
		"short without an error": {writeAnswer{3, nil}, io.ErrShortWrite},
	} {
		w := &scriptedWriter{script: []writeAnswer{row.answer}}
		c := codec.New(codec.Uint16BE, codec.Bytes).NewCodec(writing(w))
		for range 3 {
			if err := c.Send("message"); err != row.want {
				t.Errorf("%s: %v, want %v", name, err, row.want)
			}
		}
		if len(w.calls) != 1 {
			t.Errorf("%s: %d writes", name, len(w.calls))
		}
	}
}

// K3: a length over 16 bits was cut, and the stream was garbage from then on.
func TestK3AMessageOverTheBoundIsRefusedBeforeAByteIsWritten(t *testing.T) {
	for _, framing := range framings {
		if framing.most == 0 {
			continue
		}
		w := &scriptedWriter{}
		c := codec.New(framing.framing, codec.Bytes).MaxMessage(-1).NewCodec(writing(w))
		for _, size := range []int{framing.most + 1, framing.most + 5, 65541, 1<<24 + 1} {
			if size <= framing.most {
				continue
			}
			if err := c.Send(make([]byte, size)); !errors.Is(err, libnet.ErrFrameTooLarge) {
				t.Errorf("%s: %d bytes: %v", framing.name, size, err)
			}
		}
		if len(w.calls) != 0 {
			t.Errorf("%s: %d bytes were written", framing.name, len(w.calls[0]))
		}
		if framing.most > 1<<16 && framing.name != "Uint24BE" {
			continue // 16 MiB once are enough
		}
		whole := make([]byte, framing.most)
		if err := c.Send(whole); err != nil || len(w.calls) != 1 {
			t.Errorf("%s: the longest message after them: %v in %d writes", framing.name, err, len(w.calls))
			continue
		}
		back := codec.New(framing.framing, codec.Bytes).MaxMessage(-1).NewCodec(reading(bytes.NewReader(w.calls[0])))
		if got, err := back.Receive(); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%s: the longest message came back as %d bytes, %v", framing.name, len(got), err)
		}
	}
}

func TestCloseClosesWhatCanBeClosed(t *testing.T) {
	if err := codec.Protobuf().NewCodec(reading(strings.NewReader(""))).Close(); err != nil {
		t.Errorf("of no Closer: %v", err)
	}
	failed := errors.New("failed")
	if err := codec.Protobuf().NewCodec(closing{err: failed}).Close(); err != failed {
		t.Errorf("got %v, want the Closer's own error", err)
	}
}

type closing struct {
	io.ReadWriter
	err error
}

func (c closing) Close() error { return c.err }

func TestASessionDoesNotWaitForTheCloseOfACodecWhoseStreamIsNotItsOwn(t *testing.T) {
	testkit.Slow(t)
	released := make(chan struct{})
	defer close(released)
	var made libnet.Codec
	protocol := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		made = codec.New(codec.Uint16BE, codec.Bytes).NewCodec(stuckStream{rw.(libnet.Stream), released})
		return made
	})
	s, _ := testkit.SessionPair(t, testkit.ConnectTCP, protocol, 4)
	if err := s.Send([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if c, ok := made.(interface {
		OnlyCloses(inside.Call) io.ReadWriter
	}); !ok || c.OnlyCloses(inside.Call{}) == nil {
		t.Fatal("the codec does not say what it closes: a session cannot tell whether to wait")
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = s.Close()
	}()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("Close waits for the codec's")
	}
}

// stuckStream is a session's stream whose Close does not return before released.
type stuckStream struct {
	libnet.Stream
	released chan struct{}
}

func (s stuckStream) Close() error {
	<-s.released
	return nil
}
