package codec_test

import (
	"bytes"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// resumer is what a codec offers to whoever knows how much of the input it has seen.
type resumer interface {
	ResumeFrame(src []byte, seen int) (payload []byte, n int, err error)
}

func TestAnUnfinishedLineIsNotSearchedAgain(t *testing.T) {
	for name, framing := range map[string]codec.Framing{"Lines": codec.Lines, "Delimiter": codec.Delimiter("\r\n")} {
		c := codec.New(framing, codec.Bytes).NewCodec(nil).(resumer)
		// Were it searched, what was seen would be found to hold a delimiter.
		if got, n, err := c.ResumeFrame([]byte("seen\r\nand what came since"), 6); n != 0 || err != nil {
			t.Errorf("%s: %s", name, describe(got, n, err))
		}
		if got, n, err := c.ResumeFrame([]byte("seen and what came since\r\nnext"), 4); string(got) != "seen and what came since" || n != 26 || err != nil {
			t.Errorf("%s: %s", name, describe(got, n, err))
		}
	}
}

func TestWhatWasSeenIsBelievedOnlyWhereItCanBe(t *testing.T) {
	for _, framing := range framings {
		c := codec.New(framing.framing, codec.Bytes).NewCodec(nil)
		resuming, ok := c.(resumer)
		if !ok {
			continue
		}
		frame := mustAppend(t, c.(libnet.FrameAppender), nil, "12345")
		for _, seen := range []int{math.MinInt, -1, 0, len(frame) + 1, math.MaxInt} {
			if got, n, err := resuming.ResumeFrame(frame, seen); !bytes.Equal(got, framing.asReceived([]byte("12345"))) || n != len(frame) || err != nil {
				t.Errorf("%s, %d: %s", framing.name, seen, describe(got, n, err))
			}
		}
	}
}

// FuzzResumeFrame: a frame that arrives in any pieces is found as if it were looked for from its start.
func FuzzResumeFrame(f *testing.F) {
	for which := range framings {
		f.Add([]byte("a\r\nb##c#+#d\n"), byte(which), uint16(10), []byte{1, 2, 3})
		f.Add([]byte("\x00\x00\x00\x05hello\r\r\n\x00"), byte(which), uint16(4), []byte{0})
	}
	f.Fuzz(func(t *testing.T, src []byte, which byte, bound uint16, cuts []byte) {
		framing := framings[int(which)%len(framings)]
		c := codec.New(framing.framing, codec.Bytes).MaxMessage(max(1, framing.bound(int(bound)))).NewCodec(nil)
		resuming, ok := c.(resumer)
		if !ok {
			return
		}
		end, seen := 0, 0
		for i := 0; end < len(src); i++ {
			end = len(src)
			if i < len(cuts) {
				end = min(len(src), seen+1+int(cuts[i]))
			}
			want, wantN, wantErr := c.(libnet.FrameParser).ParseFrame(src[:end:end])
			got, n, err := resuming.ResumeFrame(src[:end:end], seen)
			if kindOf(n, err) != kindOf(wantN, wantErr) || n != wantN || !bytes.Equal(got, want) || cap(got) != len(got) {
				t.Fatalf("%s: %q after %d: %s, not %s", framing.name, src[:end], seen, describe(got, n, err), describe(want, wantN, wantErr))
			}
			if n != 0 || err != nil {
				return
			}
			seen = end
		}
	})
}

// Each round receives one line that arrives in the pieces which a TCP segment brings.
func BenchmarkLineInPieces(b *testing.B) {
	const segment = 1460
	for _, framing := range []struct {
		name    string
		framing codec.Framing
	}{{"Lines", codec.Lines}, {"Delimiter", codec.Delimiter("\r\n")}} {
		for _, size := range []int{1, 1 << 10, 64 << 10, 1 << 20} {
			b.Run(framing.name+"/"+strconv.Itoa(size), func(b *testing.B) {
				line := []byte(strings.Repeat("x", size) + "\r\n")
				in := &pieces{size: segment}
				c := codec.New(framing.framing, codec.Bytes).NewCodec(reading(in))
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					in.rest = line
					if msg, err := c.Receive(); err != nil || len(msg) != size {
						b.Fatal(len(msg), err)
					}
				}
			})
		}
	}
}

func TestALineThatArrivesByteByByteIsReceived(t *testing.T) {
	line := strings.Repeat("x", 100_000)
	for name, framing := range map[string]codec.Framing{"Lines": codec.Lines, "Delimiter": codec.Delimiter("\r\n")} {
		c := codec.New(framing, codec.Bytes).NewCodec(reading(&pieces{[]byte(line + "\r\n\r\n" + line + "\r\nrest"), 1}))
		for _, want := range []string{line, "", line} {
			if got, err := c.Receive(); string(got) != want || err != nil {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
		if _, err := c.Receive(); err != io.ErrUnexpectedEOF {
			t.Errorf("%s: at the end %v", name, err)
		}
	}
}
