package codec_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// suiteBound is just large enough for a varint of two bytes.
const suiteBound = 131

// sizes are around what changes an encoding: nothing, a header, a longer varint, the bound.
func sizes(bound int) []int {
	all := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 126, 127, 128, 129, bound - 1, bound, bound + 1, bound + 2, 3 * bound}
	slices.Sort(all)
	return slices.Compact(all)
}

// everywhere runs f for every framing with every marshaler, and every size.
func everywhere(t *testing.T, f func(t *testing.T, framing framingCase, protocol *codec.Composed, msg any, payload []byte)) {
	for _, framing := range framings {
		for _, marshaler := range marshalers {
			t.Run(framing.name+"/"+marshaler.name, func(t *testing.T) {
				protocol := codec.New(framing.framing, marshaler.marshaler).MaxMessage(suiteBound)
				for _, size := range sizes(framing.bound(suiteBound)) {
					if msg, payload := marshaler.message(size); msg != nil {
						f(t, framing, protocol, msg, payload)
					}
				}
			})
		}
	}
}

func TestEveryMessageIsEncodedOrRefusedForTheTrueReason(t *testing.T) {
	everywhere(t, func(t *testing.T, framing framingCase, protocol *codec.Composed, msg any, payload []byte) {
		c := pure(protocol)
		before := []byte("before")
		frame, err := c.AppendFrame(before, msg)
		switch tooLarge := len(payload) > framing.bound(suiteBound); {
		case tooLarge && framing.name == "Fixed":
			wantError(t, "too large for a fixed size", err, libnet.ErrFrameTooLarge, libnet.ErrEncode)
		case tooLarge:
			wantError(t, "too large", err, libnet.ErrFrameTooLarge)
		case !framing.canCarry(payload):
			wantError(t, "cannot be carried", err, libnet.ErrEncode)
		case err != nil:
			t.Fatalf("%d bytes: %v", len(payload), err)
		}
		if err != nil {
			if string(frame) != "before" {
				t.Fatalf("%d bytes: with an error dst became %q", len(payload), frame)
			}
			return
		}
		if !bytes.HasPrefix(frame, before) {
			t.Fatalf("%d bytes: what was before the frame became %q", len(payload), frame[:6])
		}
		got, n, err := c.ParseFrame(append(frame[len(before):len(frame):len(frame)], "the next frame"...))
		if err != nil || n != len(frame)-len(before) || got == nil || !bytes.Equal(got, framing.asReceived(payload)) {
			t.Fatalf("%d bytes came back as %s", len(payload), describe(got, n, err))
		}
		if cap(got) != len(got) {
			t.Fatalf("an append to the payload would overwrite the next frame")
		}
	})
}

func TestAFrameSplitAtEveryByteIsTheSameFrame(t *testing.T) {
	everywhere(t, func(t *testing.T, framing framingCase, protocol *codec.Composed, msg any, payload []byte) {
		c := pure(protocol)
		frame, err := c.AppendFrame(nil, msg)
		if err != nil {
			return
		}
		want := framing.asReceived(payload)
		for cut := range frame {
			if got, n, err := c.ParseFrame(frame[:cut:cut]); n != 0 || err != nil || got != nil {
				t.Fatalf("%d of %d bytes: %s", cut, len(frame), describe(got, n, err))
			}
			stream := &chunks{[][]byte{frame[:cut], frame[cut:], frame[:cut], frame[cut:]}, io.EOF}
			stream.rest = nonEmpty(stream.rest)
			receiver := protocol.NewCodec(reading(stream))
			for range 2 {
				if got, err := receiver.Receive(); err != nil || got == nil || !bytes.Equal(got, want) {
					t.Fatalf("cut at %d of %d: received %d bytes, %v", cut, len(frame), len(got), err)
				}
			}
			if _, err := receiver.Receive(); err != io.EOF {
				t.Fatalf("cut at %d of %d: after the frames %v, want io.EOF", cut, len(frame), err)
			}
		}
	})
}

func nonEmpty(all [][]byte) (some [][]byte) {
	for _, b := range all {
		if len(b) > 0 {
			some = append(some, b)
		}
	}
	return some
}

// K6: a frame cut short by EOF could not be told from a clean end.
func TestK6AStreamTruncatedAtEveryByteEndsUnexpectedly(t *testing.T) {
	everywhere(t, func(t *testing.T, framing framingCase, protocol *codec.Composed, msg any, payload []byte) {
		frame, err := pure(protocol).AppendFrame(nil, msg)
		if err != nil {
			return
		}
		for cut := range frame {
			c := protocol.NewCodec(reading(iotest.DataErrReader(bytes.NewReader(append(frame[:len(frame):len(frame)], frame[:cut]...)))))
			if _, err := c.Receive(); err != nil {
				t.Fatalf("the whole frame before the cut one: %v", err)
			}
			want := io.ErrUnexpectedEOF
			if cut == 0 {
				want = io.EOF
			}
			for range 3 {
				if got, err := c.Receive(); err != want || got != nil {
					t.Fatalf("cut at %d of %d: got %d bytes, %v, want %v", cut, len(frame), len(got), err, want)
				}
			}
		}
	})
}

func TestAFrameOverTheBoundIsRefusedFromItsHeaderAlone(t *testing.T) {
	for _, framing := range framings {
		t.Run(framing.name, func(t *testing.T) {
			bound := framing.bound(suiteBound) - 1
			frame := mustAppend(t, pure(codec.New(framing.framing, codec.Bytes)), nil, bytes.Repeat([]byte{'x'}, bound+1))
			header := framing.header
			switch header {
			case 0:
				header = bound + 1
			case late:
				header = len(frame)
			}
			narrow := codec.New(framing.framing, codec.Bytes).MaxMessage(bound)
			if got, n, err := pure(narrow).ParseFrame(frame[: header-1 : header-1]); n != 0 || err != nil {
				t.Fatalf("before its header was whole: %s", describe(got, n, err))
			}
			if got, n, err := pure(narrow).ParseFrame(frame[:header:header]); !errors.Is(err, libnet.ErrFrameTooLarge) || n != 0 || got != nil {
				t.Fatalf("the header alone: %s", describe(got, n, err))
			}
			c := narrow.NewCodec(reading(bytes.NewReader(frame[:header])))
			for range 2 {
				if got, err := c.Receive(); !errors.Is(err, libnet.ErrFrameTooLarge) || got != nil {
					t.Fatalf("Receive: %d bytes, %v", len(got), err)
				}
			}
		})
	}
}

func TestAMessageOfTheWrongTypeIsAnErrorOfSend(t *testing.T) {
	type stranger struct{ F func() }
	for _, framing := range framings {
		for _, marshaler := range marshalers {
			c := pure(codec.New(framing.framing, marshaler.marshaler))
			for _, msg := range []any{nil, stranger{}, &stranger{}, (*stranger)(nil), func() {}, make(chan int), (*[]byte)(nil), (*string)(nil)} {
				if frame, err := c.AppendFrame([]byte("before"), msg); !errors.Is(err, libnet.ErrEncode) || string(frame) != "before" {
					t.Errorf("%s/%s: %T: %q, %v", framing.name, marshaler.name, msg, frame, err)
				}
			}
		}
	}
}
