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
		sent := long(fin|compressedFrame|binaryFrame, deflate(t, compressible(5000)))
		exchange := func(n uint64) received {
			write(t, conn, sent)
			m := receiveRaw(t, in)
			testkit.Eventually(t, "as many messages each way", func() bool {
				now := s.Stats()
				return now.MessagesIn == n && now.MessagesOut == n
			})
			return m
		}
		exchange(1) // with which the bytes of the handshake are counted
		before := s.Stats()
		m := exchange(2)
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

// What a burst broadcasts to those who wait for the rest of it goes into their queues at once; yet never into that of
// one who has agreed on something else than the one it was encoded for.
func TestABurstReachesEachAsItHasAgreed(t *testing.T) {
	inMode(t, protocolServe, func(t *testing.T) {
		const each, bursts = 4, 20
		r := start(t, setup{queue: 10_000, options: withCompressFrom(nil, 100), handler: libnet.HandlerFunc(func(s *libnet.Session) { <-s.Done() })})
		var plain, compressed, all libnet.Group[int]
		var ins []io.Reader
		for i := range 2 * each {
			of, connect := &plain, r.raw
			if i%2 == 0 {
				of, connect = &compressed, r.rawDeflate
			}
			_, in := connect(t)
			s := r.session(t)
			ins = append(ins, in)
			of.Put(i, s)
			all.Put(i, s)
		}
		conn, _ := r.raw(t)
		sender := r.session(t)
		for n := range bursts {
			write(t, conn, strings.Repeat(frame(fin|binaryFrame, "step"), 6))
			for i, group := range []*libnet.Group[int]{&plain, &plain, &compressed, &compressed, &all, &all} {
				if _, err := sender.Receive(); err != nil {
					t.Fatal(err)
				}
				group.Broadcast(compressible(200 + 6*n + i))
			}
		}
		go sender.Receive() // which has the last burst written
		for j, in := range ins {
			for n := range bursts {
				of := []int{0, 1, 4, 5}
				if j%2 == 0 {
					of = []int{2, 3, 4, 5}
				}
				for _, i := range of {
					if m := receiveRaw(t, in); m.isCompressed() != (j%2 == 0) || m.message(t) != compressible(200+6*n+i) {
						t.Fatalf("session %d, burst %d, message %d: %x, %q", j, n, i, m.firsts, m.payload)
					}
				}
			}
		}
	})
}

// A frame that waits for its peer takes its own size, and not that of the message.
func TestABroadcastThatWaitsKeepsItsCompressedFormOnly(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector keeps more")
	}
	const messages, size = 50, 1 << 20
	r := start(t, setup{queue: 1000, handler: sink, options: withCompressFrom(nil, 1), config: func(srv *libnet.Server) {
		srv.MaxMessage, srv.SendQueueBytes, srv.SendBuffer = 2*size, 100<<20, 4<<10
	}})
	r.rawDeflate(t) // and reads no more
	s := r.session(t)
	message := compressible(size)
	before, _ := testkit.InUse()
	for range messages {
		if result := r.Manager().Broadcast(message); result.Sent != 1 {
			t.Fatalf("%+v", result)
		}
	}
	after, _ := testkit.InUse()
	queued := s.Stats().QueuedBytes
	if queued < messages*size/10 || queued > messages*size/2 {
		t.Fatalf("%d bytes are queued", queued)
	}
	if kept := after - before; kept > 2*queued+2*size {
		t.Errorf("%d bytes are kept for %d that are queued", kept, queued)
	}
}

func TestACompressedEchoAllocatesItsMessage(t *testing.T) {
	r := serveLastMessage(t, ws.Protocol(frames, withCompressFrom(nil, 1)))
	conn, in := r.rawDeflate(t)
	out := []byte(masked(fin|compressedFrame|binaryFrame, deflate(t, strings.Repeat("0123456789", 100))))
	write(t, conn, string(out))
	m := receiveRaw(t, in)
	if !m.isCompressed() {
		t.Fatal("the echo is not compressed")
	}
	back := make([]byte, len(m.payload)+2)
	testkit.Steady(t, "an echo", 1, func() {
		if _, err := conn.Write(out); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(in, back); err != nil {
			t.Error(err)
		}
	})
}
