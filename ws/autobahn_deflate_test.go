package ws_test

import (
	"fmt"
	"io"
	"math/rand"
	"net"
	"strings"
	"testing"
	"time"
)

// Sections 12 and 13 of the Autobahn|Testsuite: an echoing server gets messages of all sizes and kinds, in one
// compressed frame and in fragments, by every offer of the suite. The suite sends 1,000 of each; here are fewer, of the
// sizes at which something changes.
func TestTheCasesOfAutobahnAboutCompression(t *testing.T) {
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{queue: 64, options: withCompressFrom(nil, 1)})
		for number, offer := range autobahnOffers {
			t.Run(number, func(t *testing.T) {
				conn, in, answer := r.rawWith(t, "Sec-WebSocket-Extensions: "+offer.sent)
				agreed := answer.Get("Sec-WebSocket-Extensions")
				if agreed != offer.answer {
					t.Fatalf("answered %q, want %q", agreed, offer.answer)
				}
				for kind, data := range autobahnData(t) {
					sizes := []int{16, 64, 256, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10}
					if number != "12" {
						sizes = []int{16, 4 << 10, 64 << 10}
					}
					for _, size := range sizes {
						message := data(size)
						wantSameMessage(t, conn, in, message, agreed != "", 2*size, fmt.Sprint(kind, ", ", size))
						wantSameMessage(t, conn, in, message, agreed != "", max(size/8, 16), fmt.Sprint(kind, ", ", size, " in fragments"))
					}
				}
			})
		}
	})
}

// autobahnOffers are those of 12, and of 13.1 to 13.7, and how a server answers them that cannot make its window
// smaller.
var autobahnOffers = map[string]struct{ sent, answer string }{
	"12":   {"permessage-deflate; client_no_context_takeover; client_max_window_bits", deflateAnswer},
	"13.1": {"permessage-deflate; client_max_window_bits", deflateAnswer},
	"13.2": {"permessage-deflate; client_max_window_bits; server_no_context_takeover", deflateAnswer},
	"13.3": {"permessage-deflate; client_max_window_bits; server_max_window_bits=9", ""},
	"13.4": {"permessage-deflate; client_max_window_bits; server_max_window_bits=15", deflateAnswer + "; server_max_window_bits=15"},
	"13.5": {"permessage-deflate; client_max_window_bits; server_no_context_takeover; server_max_window_bits=9", ""},
	"13.6": {"permessage-deflate; client_max_window_bits; server_no_context_takeover; server_max_window_bits=15", deflateAnswer + "; server_max_window_bits=15"},
	"13.7": {"permessage-deflate; server_no_context_takeover; server_max_window_bits=9, permessage-deflate; server_no_context_takeover, permessage-deflate", deflateAnswer},
}

// autobahnData makes messages of the kinds of 12.1 to 12.5.
func autobahnData(t testing.TB) map[string]func(n int) string {
	random := rand.New(rand.NewSource(12))
	words := func(n int, from string) string {
		all := []rune(from)
		var b strings.Builder
		for b.Len() < n {
			b.WriteRune(all[random.Intn(len(all))])
		}
		return b.String()
	}
	return map[string]func(int) string{
		"JSON": compressible,
		"UTF-8": func(n int) string {
			return words(n, "Ἀρχὴ ἥμισυ παντός. Грузите апельсины 🍊 Grüße")
		},
		"HTML": func(n int) string {
			return strings.Repeat("<td class=\"cell\">"+words(9, "abcdefgh")+"</td>\n", n/32+1)[:n]
		},
		"random": incompressible,
		"one":    func(n int) string { return strings.Repeat("*", n) },
	}
}

// wantSameMessage sends a message, compressed or not, in frames of size bytes before compression, and receives it.
func wantSameMessage(t *testing.T, conn net.Conn, in io.Reader, message string, compressed bool, size int, what string) {
	t.Helper()
	payload, first := message, byte(binaryFrame)
	if compressed {
		payload, first = deflate(t, message), binaryFrame|compressedFrame
	}
	go func() {
		for ; len(payload) > size; payload, first = payload[size:], 0 {
			io.WriteString(conn, long(first, payload[:size]))
		}
		io.WriteString(conn, long(fin|first, payload))
	}()
	conn.SetReadDeadline(time.Now().Add(soon))
	m := receiveRaw(t, in)
	if m.message(t) != message || m.isCompressed() && len(m.payload) >= len(message) {
		t.Fatalf("%s: came back as %d bytes in %d frames of %d", what, len(m.payload), len(m.firsts), m.firsts[0])
	}
	if !compressed && m.isCompressed() {
		t.Fatalf("%s: compressed, though that is not agreed on", what)
	}
}
