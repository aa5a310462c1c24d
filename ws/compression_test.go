package ws_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/ws"
)

const (
	compressedFrame = 0x40 // of a first frame: its message is compressed
	offersDeflate   = "Sec-WebSocket-Extensions: permessage-deflate"
	deflateAnswer   = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
)

// rawDeflate is raw with compression agreed on.
func (r *rig) rawDeflate(t testing.TB) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, in, answer := r.rawWith(t, offersDeflate)
	if answer.Get("Sec-WebSocket-Extensions") != deflateAnswer {
		t.Fatal(answer)
	}
	return conn, in
}

// rawWith is raw with fields of the request, and returns those of the answer.
func (r *rig) rawWith(t testing.TB, fields ...string) (net.Conn, *bufio.Reader, http.Header) {
	t.Helper()
	conn := r.connect(t)
	write(t, conn, request(fields...))
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response, err)
	}
	return conn, in, response.Header
}

// deflate compresses a message as RFC 7692, 7.2.1 says.
func deflate(t testing.TB, message string) string {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, message)
	w.Flush()
	return strings.TrimSuffix(out.String(), "\x00\x00\xff\xff")
}

func inflate(t testing.TB, compressed string) string {
	t.Helper()
	message, err := io.ReadAll(flate.NewReader(strings.NewReader(compressed + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	if err != nil {
		t.Fatal(err)
	}
	return string(message)
}

// A received is a message as a server has sent it.
type received struct {
	firsts  []byte // of its frames
	payload string // of all of them
}

func (m received) isCompressed() bool { return m.firsts[0]&compressedFrame != 0 }

func (m received) message(t testing.TB) string {
	t.Helper()
	if m.isCompressed() {
		return inflate(t, m.payload)
	}
	return m.payload
}

func receiveRaw(t testing.TB, in io.Reader) (m received) {
	t.Helper()
	for {
		first, payload, err := readFrame(in)
		if err != nil {
			t.Fatal(err)
		}
		m.firsts, m.payload = append(m.firsts, first), m.payload+payload
		if first&fin != 0 {
			return m
		}
	}
}

// readFrame reads a frame of either side.
func readFrame(in io.Reader) (first byte, payload string, err error) {
	header := make([]byte, 2)
	if _, err = io.ReadFull(in, header); err != nil {
		return 0, "", err
	}
	length := uint64(header[1] & 0x7f)
	size := map[uint64]int{126: 2, 127: 8}[length]
	rest := make([]byte, size+4*int(header[1]>>7))
	if _, err = io.ReadFull(in, rest); err != nil {
		return 0, "", err
	}
	switch size {
	case 2:
		length = uint64(binary.BigEndian.Uint16(rest))
	case 8:
		length = binary.BigEndian.Uint64(rest)
	}
	p := make([]byte, length)
	_, err = io.ReadFull(in, p)
	if key := rest[size:]; len(key) > 0 {
		for i := range p {
			p[i] ^= key[i%4]
		}
	}
	return header[0], string(p), err
}

// compressible has n bytes and becomes a few times shorter; the same for the same n.
func compressible(n int) string {
	random := rand.New(rand.NewSource(int64(n)))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, `{"id":%d,"price":%.2f},`, random.Intn(100), random.Float64())
	}
	return b.String()[:n]
}

// incompressible has n bytes.
func incompressible(n int) string {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return string(b)
}

func TestCompressionIsAgreedToAsItWasOffered(t *testing.T) {
	const withBits = deflateAnswer + "; server_max_window_bits=15"
	offers := map[string]string{
		"permessage-deflate":                                                         deflateAnswer,
		"permessage-deflate; client_max_window_bits":                                 deflateAnswer, // Chromium's
		"permessage-deflate; client_max_window_bits=8":                               deflateAnswer,
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover": deflateAnswer,
		"permessage-deflate;server_max_window_bits=15":                               withBits,
		"permessage-deflate; server_max_window_bits=\"15\"":                          withBits,
		"permessage-deflate; server_max_window_bits=\"1\\5\"":                        withBits,
		"permessage-deflate; server_max_window_bits=9, permessage-deflate":           deflateAnswer,
		"permessage-deflate; server_max_window_bits=9, permessage-deflate; unknown":  "",
		"x-webkit-deflate-frame, , permessage-deflate ; client_no_context_takeover":  deflateAnswer,
		"other; a=b; c=\"d\", permessage-deflate":                                    deflateAnswer,
		"":      "",
		"other": "",
		"permessage-deflate; server_max_window_bits":                                 "",
		"permessage-deflate; server_max_window_bits=14":                              "",
		"permessage-deflate; server_max_window_bits=16":                              "",
		"permessage-deflate; server_max_window_bits=7":                               "",
		"permessage-deflate; server_max_window_bits=015":                             "",
		"permessage-deflate; server_max_window_bits=+15":                             "",
		"permessage-deflate; client_max_window_bits=16":                              "",
		"permessage-deflate; server_no_context_takeover=1":                           "",
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover": "",
		"permessage-deflate; client_max_window_bits; client_max_window_bits=15":      "",
		"permessage-deflate; threads=2":                                              "",
	}
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{options: withCompressFrom(nil, 1)})
		for offer, want := range offers {
			if _, _, answer := r.rawWith(t, "Sec-WebSocket-Extensions: "+offer); answer.Get("Sec-WebSocket-Extensions") != want {
				t.Errorf("%s: %q", offer, answer["Sec-Websocket-Extensions"])
			}
		}
		_, _, answer := r.rawWith(t, "Sec-WebSocket-Extensions: other", "Sec-WebSocket-Extensions: permessage-deflate")
		if got := answer["Sec-Websocket-Extensions"]; len(got) != 1 || got[0] != deflateAnswer {
			t.Errorf("offered in the second line: %q", got)
		}
	})
}

// RFC 6455, 9.1. Where compression is off nobody looks.
func TestARequestWhoseOffersCannotBeReadIsRefused(t *testing.T) {
	offers := []string{
		"permessage-deflate; client_max_window_bits=",
		"permessage-deflate; client_no_context_takeover=\"\"",
		"permessage-deflate;",
		"permessage-deflate; server_max_window_bits=\"15",
		"permessage-deflate; server_max_window_bits=\"15, permessage-deflate\"",
		"permessage-deflate client_no_context_takeover",
		"permessage-deflate, other; =",
		"permessage deflate",
	}
	eachMode(t, func(t *testing.T) {
		for _, from := range []int{0, 1} {
			r := start(t, setup{options: withCompressFrom(nil, from)})
			for _, offer := range offers {
				conn := r.connect(t)
				write(t, conn, request("Sec-WebSocket-Extensions: "+offer))
				response, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				if want := []int{http.StatusSwitchingProtocols, http.StatusBadRequest}[from]; response.StatusCode != want {
					t.Errorf("%s: %d, want %d", offer, response.StatusCode, want)
				}
				for field := range response.Header {
					if response.StatusCode == http.StatusBadRequest && (field == "Upgrade" || strings.HasPrefix(field, "Sec-")) {
						t.Errorf("%s: a refusal with a field %s", offer, field)
					}
				}
			}
		}
	})
}

func TestCompressionIsOffUnlessAskedFor(t *testing.T) {
	eachMode(t, func(t *testing.T) {
		for _, from := range []int{0, -1} {
			r := start(t, setup{queue: 8, options: withCompressFrom(nil, from)})
			conn, in, answer := r.rawWith(t, offersDeflate)
			if answer["Sec-Websocket-Extensions"] != nil {
				t.Fatal(answer)
			}
			message := compressible(1000)
			write(t, conn, frame(fin|text, message))
			if m := receiveRaw(t, in); m.isCompressed() || m.payload != message {
				t.Errorf("%x, %q", m.firsts, m.payload)
			}
			write(t, conn, frame(fin|compressedFrame|text, deflate(t, message)))
			wantOneClose(t, conn, in, 1002)
		}
	})
}

// The examples of RFC 7692, 7.2.3, by section, and what follows from them.
var deflateVectors = map[string]struct{ sent, message string }{
	"7.2.3.1":                      {frame(fin|compressedFrame|text, "\xf2\x48\xcd\xc9\xc9\x07\x00"), "Hello"},
	"7.2.3.1, in fragments":        {frame(compressedFrame|text, "\xf2\x48\xcd") + frame(fin, "\xc9\xc9\x07\x00"), "Hello"},
	"7.2.3.3":                      {frame(fin|compressedFrame|text, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), "Hello"},
	"7.2.3.4":                      {frame(fin|compressedFrame|text, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "Hello"},
	"7.2.3.5":                      {frame(fin|compressedFrame|text, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), "Hello"},
	"7.2.3.6":                      {frame(compressedFrame|text, "\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff") + frame(fin, "\x00"), "Hello"},
	"an empty message":             {frame(fin|compressedFrame|text, "\x00"), ""},
	"an empty message, fixed":      {frame(fin|compressedFrame|text, "\x02\x00"), ""},
	"an empty last block":          {frame(fin|compressedFrame|text, "\x01\x00\x00\xff\xff\x00"), ""},
	"the last block is the tail":   {frame(fin|compressedFrame|text, "\x01"), ""},
	"behind a last block":          {frame(fin|compressedFrame|text, "\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "HelloHello"},
	"referring beyond a last one":  {frame(fin|compressedFrame|text, "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00"), "HelloHello"},
	"a message that is not":        {frame(fin|text, "Hello"), "Hello"},
	"fragments that are not":       {frame(text, "Hel") + frame(fin, "lo"), "Hello"},
	"empty fragments in between":   {frame(compressedFrame|text, "") + frame(0, "\xf2\x48\xcd") + frame(0, "") + frame(fin, "\xc9\xc9\x07\x00"), "Hello"},
	"a ping between the fragments": {frame(compressedFrame|text, "\xf2\x48\xcd") + frame(0x8a, "pong") + frame(fin, "\xc9\xc9\x07\x00"), "Hello"},
}

func TestTheExamplesOfTheRFCInflate(t *testing.T) {
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{queue: 64, options: withCompressFrom(nil, 100)})
		conn, in := r.rawDeflate(t)
		for name, vector := range deflateVectors {
			write(t, conn, vector.sent)
			if m := receiveRaw(t, in); m.isCompressed() || m.payload != vector.message {
				t.Errorf("%s: %x, %q, want %q", name, m.firsts, m.payload, vector.message)
			}
		}
	})
}

// What is wrong with a compressed message ends the session, with one close frame, and what is right before it is a message.
func TestACompressedMessageThatIsWrongEndsItsSession(t *testing.T) {
	const limit = 10_000
	hello := "\xf2\x48\xcd\xc9\xc9\x07\x00"
	whole := deflate(t, compressible(5000))
	for name, test := range map[string]struct {
		sent string
		code int
	}{
		"a compressed ping":                 {frame(compressedFrame|ping, hello), 1002},
		"a compressed pong":                 {frame(compressedFrame|0x8a, hello), 1002},
		"a compressed close":                {frame(compressedFrame|0x88, "\x03\xe8"), 1002},
		"the bit in a later fragment":       {frame(compressedFrame|text, hello[:3]) + frame(fin|compressedFrame, hello[3:]), 1002},
		"the bit in a plain one's fragment": {frame(text, "Hel") + frame(fin|compressedFrame, "lo"), 1002},
		"another reserved bit":              {frame(fin|compressedFrame|0x20|text, hello), 1002},
		"the last reserved bit":             {frame(fin|0x10|text, hello), 1002},
		"an unknown opcode":                 {frame(fin|compressedFrame|0x3, hello), 1002},
		"nothing at all":                    {frame(fin|compressedFrame|text, ""), 1002},
		"nothing in fragments":              {frame(compressedFrame|text, "") + frame(fin, ""), 1002},
		"garbage":                           {frame(fin|compressedFrame|text, "\xff\xff\xff\xff"), 1002},
		"random bytes":                      {frame(fin|compressedFrame|text, incompressible(1000)), 1002},
		"a message that is cut":             {long(fin|compressedFrame|text, whole[:len(whole)/2]), 1002},
		"with its tail":                     {frame(fin|compressedFrame|text, hello+"\x00\x00\xff\xff\x12"), 1002},
		"behind its last block":             {frame(fin|compressedFrame|text, "\xf3\x48\xcd\xc9\xc9\x07\x00"+"\xff\xff\xff\xff"), 1002},
		"a last block without an empty one": {frame(fin|compressedFrame|text, "\xf3\x48\xcd\xc9\xc9\x07\x00"), 1002},
		"a window of another message":       {frame(fin|compressedFrame|text, hello) + frame(fin|compressedFrame|text, "\xf2\x00\x11\x00\x00"), 1002},
		"ever another last block":           {frame(fin|compressedFrame|text, strings.Repeat("\x03\x00", 100)+"\x00"), 1002},
		"text that is not UTF-8":            {frame(fin|compressedFrame|text, deflate(t, "caf\xe9")), 1007},
		"text that is cut":                  {frame(fin|compressedFrame|text, deflate(t, "\xe2\x82")), 1007},
		"one byte too many":                 {frame(fin|compressedFrame|text, deflate(t, strings.Repeat("x", limit+1))), 1009},
		"a bomb":                            {long(fin|compressedFrame|text, deflate(t, strings.Repeat("x", 8<<20))), 1009},
		"a bomb in fragments":               {frame(compressedFrame|text, "") + long(fin, deflate(t, strings.Repeat("x", 1000*limit))), 1009},
		"a claim":                           {"\xc2\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1009},
		"compressed, it is too long":        {long(fin|compressedFrame|text, strings.Repeat("\x00\x00\x00\xff\xff", limit)), 1009},
		"its fragments are too long":        {strings.Repeat(frame(0, strings.Repeat("\x00\x00\x00\xff\xff", 200)), 20), 1009},
	} {
		if name == "its fragments are too long" {
			test.sent = frame(compressedFrame|text, "") + test.sent
		}
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T) {
				r := start(t, setup{queue: 8, options: withCompressFrom(nil, 1), handler: sink, config: func(srv *libnet.Server) { srv.MaxMessage = limit }})
				conn, in := r.rawDeflate(t)
				go io.WriteString(conn, test.sent)
				wantOneClose(t, conn, in, test.code)
				wantNoSession(t, r)
			})
		})
	}
}

func wantNoSession(t testing.TB, r *rig) {
	t.Helper()
	testkit.Eventually(t, "no session to be open", func() bool { return r.Stats().Open == 0 })
}

// A message at the limit is none too many, however it is compressed.
func TestACompressedMessageMayBeAsLongAsAnother(t *testing.T) {
	const limit = 100_000
	stored := func(message string) string {
		var b strings.Builder
		for ; message != ""; message = message[min(len(message), 5000):] {
			n := min(len(message), 5000)
			b.WriteString(string([]byte{0, byte(n), byte(n >> 8), ^byte(n), ^byte(n >> 8)}) + message[:n])
		}
		return b.String() + "\x00"
	}
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{queue: 8, options: withCompressFrom(nil, 1), config: func(srv *libnet.Server) { srv.MaxMessage = limit }})
		conn, in := r.rawDeflate(t)
		for name, test := range map[string][2]string{
			"all the same":        {strings.Repeat("x", limit), deflate(t, strings.Repeat("x", limit))},
			"compressible":        {compressible(limit), deflate(t, compressible(limit))},
			"not compressible":    {incompressible(limit), deflate(t, incompressible(limit))},
			"not compressed":      {incompressible(limit), stored(incompressible(limit))},
			"almost the limit":    {compressible(limit - 1), deflate(t, compressible(limit-1))},
			"a 64 KiB of scratch": {compressible(64 << 10), deflate(t, compressible(64<<10))},
		} {
			go io.WriteString(conn, long(fin|compressedFrame|binaryFrame, test[1]))
			if got := receiveRaw(t, in).message(t); got != test[0] {
				t.Errorf("%s: %s", name, abridge([]byte(got)))
			}
		}
	})
}

func TestABombAllocatesNoMoreThanAMessageMay(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates, too")
	}
	const limit, bombs = 256 << 10, 20
	bomb := long(fin|compressedFrame|binaryFrame, deflate(t, strings.Repeat("\x00", 64<<20)))
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{options: withCompressFrom(nil, 1), handler: sink, config: func(srv *libnet.Server) { srv.MaxMessage = limit }})
		explode := func() {
			conn, in := r.rawDeflate(t)
			go io.WriteString(conn, bomb)
			wantOneClose(t, conn, in, 1009)
			wantNoSession(t, r)
		}
		explode()
		before := allocated()
		for range bombs {
			explode()
		}
		// The storage of an inflated message doubles until it is there; that of what is read grows by a quarter at a time.
		if each := (allocated() - before) / bombs; each > 2*limit+5*uint64(len(bomb))+100<<10 {
			t.Errorf("%d bytes were allocated for a bomb, whose message may have %d", each, limit)
		}
	})
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestMessagesAreCompressedFromTheSizeThatWasSet(t *testing.T) {
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{queue: 8, options: withCompressFrom(nil, 300)})
		conn, in := r.rawDeflate(t)
		plain, plainIn := r.raw(t)
		for _, n := range []int{0, 1, 299, 300, 301, 5000, 70_000} {
			write(t, conn, long(fin|binaryFrame, compressible(n)))
			m := receiveRaw(t, in)
			if m.isCompressed() != (n >= 300) || m.message(t) != compressible(n) || m.isCompressed() && len(m.payload) > n*3/4 {
				t.Errorf("%d bytes: %x, %d bytes", n, m.firsts, len(m.payload))
			}
			write(t, plain, long(fin|binaryFrame, compressible(n)))
			if m := receiveRaw(t, plainIn); m.isCompressed() || m.payload != compressible(n) {
				t.Errorf("%d bytes, not agreed: %x", n, m.firsts)
			}
			write(t, conn, long(fin|binaryFrame, incompressible(n)))
			if m := receiveRaw(t, in); m.isCompressed() || m.payload != incompressible(n) {
				t.Errorf("%d bytes that cannot be compressed: %x, %d bytes", n, m.firsts, len(m.payload))
			}
		}
	})
}

// RFC 7692, 6.1: the bit is the first fragment's.
func TestOnlyTheFirstFragmentSaysThatAMessageIsCompressed(t *testing.T) {
	r := start(t, setup{queue: 8, options: withCompressFrom(nil, 1)})
	conn, in := r.rawDeflate(t)
	message := base64.StdEncoding.EncodeToString([]byte(incompressible(60_000)))
	write(t, conn, long(fin|binaryFrame, message))
	m := receiveRaw(t, in)
	if len(m.firsts) < 3 || m.firsts[0] != compressedFrame|binaryFrame || m.firsts[1] != 0 || m.firsts[len(m.firsts)-1] != fin {
		t.Errorf("%x", m.firsts)
	}
	if m.message(t) != message {
		t.Error("it is another message")
	}
	write(t, conn, frame(fin|binaryFrame, "plain"))
	if m := receiveRaw(t, in); string(m.firsts) != string([]byte{fin | binaryFrame}) || m.payload != "plain" {
		t.Errorf("%x, %q", m.firsts, m.payload)
	}
}

func TestTheBytesOfACompressedMessageAreCountedAsTheyAreSent(t *testing.T) {
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{queue: 8, options: withCompressFrom(nil, 1)})
		conn, in := r.rawDeflate(t)
		s := r.session(t)
		before := s.Stats()
		sent := long(fin|compressedFrame|binaryFrame, deflate(t, compressible(5000)))
		write(t, conn, sent)
		m := receiveRaw(t, in)
		testkit.Eventually(t, "one message each way", func() bool {
			now := s.Stats()
			return now.MessagesIn == 1 && now.MessagesOut == 1
		})
		if currentMode == handlerMode {
			return // its sessions count what package ws's frames hold
		}
		now := s.Stats()
		if in, out := now.BytesIn-before.BytesIn, now.BytesOut-before.BytesOut; in != uint64(len(sent)) || out != uint64(len(m.payload)+4) {
			t.Errorf("%d bytes in and %d out, want %d and %d", in, out, len(sent), len(m.payload)+4)
		}
	})
}

// Those who have agreed to compression get other bytes than those who have not, and each kind the same.
func TestABroadcastIsCompressedOnce(t *testing.T) {
	eachMode(t, func(t *testing.T) {
		counted := &encodings{Protocol: frames}
		r := start(t, setup{protocol: counted, queue: 100, options: withCompressFrom(nil, 100)})
		var ins []io.Reader
		for i := range 20 {
			connect := r.raw
			if i%2 == 0 {
				connect = r.rawDeflate
			}
			_, in := connect(t)
			r.session(t)
			ins = append(ins, in)
		}
		for i := range 20 {
			if result := r.Manager().Broadcast(compressible(400 + i)); result != (libnet.BroadcastResult{Sent: 20}) {
				t.Fatalf("%+v", result)
			}
		}
		for j, in := range ins {
			for i := range 20 {
				if m := receiveRaw(t, in); m.isCompressed() != (j%2 == 0) || m.message(t) != compressible(400+i) {
					t.Fatalf("%d: message %d: %x, %q", j, i, m.firsts, m.payload)
				}
			}
		}
		if n := counted.n.Load(); n != 40 {
			t.Errorf("encoded %d times, want 40", n)
		}
	})
}

func TestACompressedEchoAllocatesItsMessage(t *testing.T) {
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", ws.Protocol(frames, withCompressFrom(nil, 1)), 64)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Stop()
	var reply []byte
	go srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
		reply = msg
		s.Send(&reply)
	}))
	r := &rig{Server: srv, listener: srv.Listener()}
	conn, in := r.rawDeflate(t)
	out := []byte(masked(fin|compressedFrame|binaryFrame, deflate(t, strings.Repeat("0123456789", 100))))
	write(t, conn, string(out))
	back := make([]byte, len(receiveRaw(t, in).payload)+2)
	testkit.Steady(t, "an echo", 1, func() {
		if _, err := conn.Write(out); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(in, back); err != nil {
			t.Error(err)
		}
	})
}
