package sockets

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
)

func record(kind byte, payload []byte) []byte {
	n := len(payload)
	return append([]byte{kind, 3, 1, byte(n >> 8), byte(n)}, payload...)
}

// sample is n bytes of which none is its neighbour.
func sample(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i + i>>8)
	}
	return p
}

// A stepReader brings so many bytes at a time.
type stepReader struct {
	io.Reader
	step int
}

func (r stepReader) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(r.step, len(p))]) }

// likeCryptoTLS is the room that crypto/tls has for the first record.
const likeCryptoTLS = 576

// handedOver returns what each read of a handshake brings, until stream is over.
func handedOver(t testing.TB, stream []byte, step int) (reads [][]byte) {
	t.Helper()
	s := handshake{slots: NewSlots(1)}
	below := stepReader{bytes.NewReader(stream), step}
	for {
		p := make([]byte, likeCryptoTLS)
		n, err := s.read(below, p)
		if n > 0 {
			reads = append(reads, p[:n])
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return reads
		}
		if err != nil || n == 0 {
			t.Fatalf("a read brought %d bytes, %v", n, err)
		}
	}
}

func TestALongClientHelloIsHandedOverInRecordsThatHaveRoom(t *testing.T) {
	behind := record(20, []byte{1})
	for _, size := range []int{572, 1000, 1536, 1537, 2284, 2285, 4096} {
		for _, step := range []int{1, 5, 6, 575, 576, 1 << 20} {
			t.Run(fmt.Sprintf("%d bytes, %d at a time", size, step), func(t *testing.T) {
				hello := sample(size)
				reads := handedOver(t, append(record(22, hello), behind...), step)
				var payload, rest []byte
				parts := 0
				for _, r := range reads {
					if len(payload) == size {
						rest = append(rest, r...)
						continue
					}
					if !bytes.Equal(r[:3], []byte{22, 3, 1}) || int(r[3])<<8|int(r[4]) != len(r)-recordHeader {
						t.Fatalf("a record begins with % x and has %d bytes", r[:recordHeader], len(r))
					}
					payload = append(payload, r[recordHeader:]...)
					parts++
				}
				if !bytes.Equal(payload, hello) || !bytes.Equal(rest, behind) {
					t.Errorf("%d bytes came, and %d behind them", len(payload), len(rest))
				}
				if least := (size + likeCryptoTLS - recordHeader - 1) / (likeCryptoTLS - recordHeader); parts != max(helloParts, least) {
					t.Errorf("it came in %d parts", parts)
				}
			})
		}
	}
}

func TestOnlyAClientHelloThatIsTooLongForOneReadIsChanged(t *testing.T) {
	for name, stream := range map[string][]byte{
		"nothing":                    nil,
		"a part of a header":         {22, 3, 1, 5},
		"an empty record":            record(22, nil),
		"a short hello":              append(record(22, sample(200)), record(20, []byte{1})...),
		"as much as there is room":   append(record(22, sample(571)), "and more"...),
		"a hello beyond the bound":   append(record(22, sample(longestHello+1)), "and more"...),
		"the longest record":         record(22, sample(16<<10)),
		"a length that is no TLS's":  append([]byte{22, 3, 1, 0xff, 0xff}, sample(3000)...),
		"half a hello":               record(22, sample(2000))[:700],
		"most of a short hello":      record(22, sample(500))[:400],
		"an alert":                   record(21, sample(2000)),
		"an SSLv2 hello":             append([]byte{0x80, 0x2e, 1, 0, 2}, sample(1000)...),
		"a request without TLS":      append([]byte("GET / HTTP/1.1\r\nX: "), bytes.Repeat([]byte("x"), 2000)...),
		"another version's record":   append([]byte{22, 4, 0, 8, 0}, sample(2048)...),
		"a second long record":       append(record(22, sample(100)), record(22, sample(2000))...),
		"a length without a payload": {22, 3, 1, 8, 0},
	} {
		for _, step := range []int{1, 100, 1 << 20} {
			t.Run(fmt.Sprintf("%s, %d at a time", name, step), func(t *testing.T) {
				if got := bytes.Join(handedOver(t, stream, step), nil); !bytes.Equal(got, stream) {
					// What is cut within a long hello, nobody looks at: the error comes with the next read.
					if !bytes.HasPrefix(stream, got) || len(got) < recordHeader {
						t.Errorf("%d of %d bytes came, or others", len(got), len(stream))
					}
				}
			})
		}
	}
}

// A short record is whole with the read that brings its header: else crypto/tls makes room for as much once more.
func TestAShortClientHelloComesInOneRead(t *testing.T) {
	for _, step := range []int{1, 3, 5, 100, 571} {
		whole := record(22, sample(571))
		if reads := handedOver(t, whole, step); len(reads) != 1 || !bytes.Equal(reads[0], whole) {
			t.Errorf("%d at a time: %d reads", step, len(reads))
		}
	}
}

func TestAnErrorWithinAClientHelloIsThatOfTheConnection(t *testing.T) {
	stream := record(22, sample(2000))
	for _, at := range []int{0, 3, 5, 300, 1000} {
		s := handshake{slots: NewSlots(1)}
		below := io.MultiReader(bytes.NewReader(stream[:at]), iotest.ErrReader(iotest.ErrTimeout))
		n, err := s.read(below, make([]byte, likeCryptoTLS))
		if err != iotest.ErrTimeout || n > at {
			t.Errorf("after %d bytes: %d, %v", at, n, err)
		}
	}
}

// Whatever comes first, in pieces of whatever size: it arrives, and nothing else does.
func FuzzAClientHelloInParts(f *testing.F) {
	f.Add(record(22, sample(1500)), 576)
	f.Add(append(record(22, sample(600)), record(22, sample(900))...), 7)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), 3)
	f.Fuzz(func(t *testing.T, stream []byte, step int) {
		if step <= 0 || len(stream) > 1<<16 {
			return
		}
		reads := handedOver(t, stream, step)
		got := bytes.Join(reads, nil)
		if len(stream) < recordHeader || stream[0] != handshakeRecord || stream[1] != sslVersion3 {
			if !bytes.Equal(got, stream) {
				t.Fatalf("%d of %d bytes came, or others", len(got), len(stream))
			}
			return
		}
		// The payload of the first record, in parts or not, and then what is behind it.
		size := int(stream[3])<<8 | int(stream[4])
		var payload []byte
		for len(got) >= recordHeader && len(payload) < size {
			k := min(int(got[3])<<8|int(got[4]), len(got)-recordHeader)
			if !bytes.Equal(got[:3], stream[:3]) {
				t.Fatalf("a part begins with % x", got[:3])
			}
			payload = append(payload, got[recordHeader:recordHeader+k]...)
			got = got[recordHeader+k:]
		}
		if size == 0 {
			got = got[recordHeader:]
		}
		came := append(payload, got...)
		if want := stream[recordHeader:]; !bytes.Equal(came, want) && (len(want) >= size || !bytes.HasPrefix(want, came)) {
			t.Fatalf("%d of %d bytes came, or others", len(came), len(want))
		}
	})
}
