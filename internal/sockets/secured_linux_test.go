package sockets_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/readbuf"
	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/testkit"
)

// suites are kinds of records: what is around the plaintext differs, and so does where it lies in the buffer.
var suites = []struct {
	version, suite uint16
}{
	{tls.VersionTLS13, 0},
	{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256},
	{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA},
	{tls.VersionTLS10, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA},
}

func nameOf(i int) string {
	return fmt.Sprintf("%s %s", tls.VersionName(suites[i].version), tls.CipherSuiteName(suites[i].suite))
}

// pieces is a client's conn below crypto/tls, which writes pieces of the sizes that next returns.
type pieces struct {
	net.Conn
	next func() int
}

func (c *pieces) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = c.Conn.Write(p[n : n+min(c.next(), len(p)-n)])
		n += k
	}
	return n, err
}

// secured returns a server's conn whose handshake is over, and its client with a conn below it.
func secured(t testing.TB, kind int) (conn net.Conn, client *tls.Conn, below *pieces) {
	t.Helper()
	config := testkit.ServerTLS()
	config.MinVersion, config.MaxVersion = suites[kind].version, suites[kind].version
	config.CipherSuites = []uint16{suites[kind].suite}
	return shaken(t, config, testkit.AnyTLS(), func() int { return 1 << 20 })
}

// shaken is secured with these configs, and pieces of these sizes.
func shaken(t testing.TB, config, clientConfig *tls.Config, sizes func() int) (conn net.Conn, client *tls.Conn, below *pieces) {
	t.Helper()
	accepted, raw := testkit.ConnectTCP(t)
	conn = sockets.Secure(accepted, config, accepted.LocalAddr, sockets.NewSlots(1))
	below = &pieces{raw, sizes}
	clientConfig.MinVersion, clientConfig.DynamicRecordSizingDisabled = tls.VersionTLS10, true
	client = tls.Client(below, clientConfig)
	_ = raw.SetDeadline(time.Now().Add(testkit.Patience))
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := sockets.Of(conn).Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = conn.Close(), raw.Close() })
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	return conn, client, below
}

// A client's first message may be of any length, and come in any pieces. One that offers no key which the server takes
// says it twice.
func TestAHandshakeSucceedsWhateverTheClientHelloIsLike(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, more := range []int{0, 400, 1000, 2000, 2500, 3000, 12_000} {
			for name, sizes := range map[string]func() int{"bytes": just(1), "anything": upTo(2000), "one piece": just(1 << 20)} {
				for _, again := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, %d bytes more, %s, again %v", tls.VersionName(version), more, name, again), func(t *testing.T) {
						config, clientConfig := testkit.ServerTLS(), testkit.AnyTLS()
						config.MaxVersion = version
						if again {
							config.CurvePreferences = []tls.CurveID{tls.CurveP521}
						}
						for range more / 100 {
							clientConfig.NextProtos = append(clientConfig.NextProtos, strings.Repeat("x", 99))
						}
						conn, client, _ := shaken(t, config, clientConfig, sizes)
						echoes(t, conn, client, randomBytes(1000), upTo(500), upTo(500))
					})
				}
			}
		}
	}
}

// echoBack writes to conn what it reads from it, in reads of the sizes that next returns, until the stream ends.
func echoBack(conn net.Conn, next func() int) error {
	p := make([]byte, 64<<10)
	for {
		n, err := conn.Read(p[:min(next(), len(p))])
		sockets.Scribble()
		if err == io.EOF {
			return conn.(sockets.CloseWriter).CloseWrite()
		}
		if err != nil {
			return err
		}
		if _, err := conn.Write(p[:n]); err != nil {
			return err
		}
	}
}

// echoes has data go to conn and back, written by messages of these lengths.
func echoes(t testing.TB, conn net.Conn, client *tls.Conn, data []byte, lengths, reads func() int) {
	t.Helper()
	served, sent := make(chan error, 1), make(chan error, 1)
	go func() { served <- echoBack(conn, reads) }()
	go func() {
		for rest := data; len(rest) > 0; {
			n := min(lengths(), len(rest))
			if _, err := client.Write(rest[:n]); err != nil {
				sent <- err
				return
			}
			rest = rest[n:]
		}
		sent <- client.CloseWrite()
	}()
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes came back, or others; %v", len(got), len(data), err)
		_ = conn.Close()
	}
	if sent, served := <-sent, <-served; sent != nil || served != nil {
		t.Errorf("sent: %v; served: %v", sent, served)
	}
}

func randomBytes(n int) []byte {
	p := make([]byte, n)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(p)
	return p
}

// upTo returns sizes between 1 and n, small ones as often as large ones.
func upTo(n int) func() int {
	return func() int { return 1 + rand.IntN(1+rand.IntN(n)) }
}

func just(n int) func() int { return func() int { return n } }

func TestATLSStreamIsWholeHoweverItArrivesAndIsRead(t *testing.T) {
	for kind := range suites {
		for _, shape := range []struct {
			name                   string
			bytes                  int
			pieces, lengths, reads func() int
		}{
			{"bytes", 3000, just(1), upTo(500), just(64 << 10)},
			{"bytes, read by bytes", 2000, just(1), upTo(500), just(1)},
			{"anything", 1 << 20, upTo(40_000), upTo(40_000), upTo(40_000)},
			{"small", 50_000, upTo(100), upTo(300), upTo(200)},
			{"records in one piece", 1 << 20, just(1 << 20), just(16 << 10), just(4096)},
		} {
			t.Run(nameOf(kind)+", "+shape.name, func(t *testing.T) {
				conn, client, below := secured(t, kind)
				below.next = shape.pieces
				echoes(t, conn, client, randomBytes(shape.bytes), shape.lengths, shape.reads)
			})
		}
	}
}

// What comes is a plan: of which kind the records are, and then how long pieces, messages and reads are.
func FuzzATLSStreamInPieces(f *testing.F) {
	f.Add([]byte{0, 1, 1, 1})
	f.Add([]byte{1, 255, 255, 255})
	f.Add([]byte{3, 5, 200, 7, 90, 255, 4})
	f.Add([]byte{4, 17, 0, 255, 2})
	f.Fuzz(func(t *testing.T, plan []byte) {
		if len(plan) < 4 || len(plan) > 100 {
			return
		}
		kind, sizes := int(plan[0])%len(suites), plan[1:]
		every3rd := func(i int) func() int {
			return func() int {
				size := int(sizes[i%len(sizes)])
				i += 3
				return 1 + size*size/4 // 1 to 16,257
			}
		}
		conn, client, below := secured(t, kind)
		below.next = every3rd(0)
		echoes(t, conn, client, randomBytes(5000), every3rd(1), every3rd(2))
	})
}

// drain reads what has arrived into a buffer, until there is nothing.
func drain(t testing.TB, conn net.Conn) (n int) {
	t.Helper()
	for in := new(readbuf.Buffer); ; {
		k, err := sockets.Of(conn).ReadReady(in, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n += k; k == 0 {
			return n
		}
	}
}

// arrives waits until n bytes that were sent have been read, and nothing is left.
func arrives(t testing.TB, conn net.Conn, n int) {
	t.Helper()
	testkit.Eventually(t, "what was sent", func() bool {
		n -= drain(t, conn)
		return n <= 0
	})
	drain(t, conn)
}

func TestATLSConnThatHasReadEverythingHoldsNoInputBufferWhereTheyAreLent(t *testing.T) {
	for kind := range suites {
		t.Run(nameOf(kind), func(t *testing.T) {
			conn, client, below := secured(t, kind)
			drain(t, conn)
			wantHeld(t, "behind the handshake", conn, 0)
			testkit.MustWrite(t, client, []byte("x"))
			testkit.Eventually(t, "one byte", func() bool {
				n, _ := sockets.Of(conn).ReadReady(new(readbuf.Buffer), 0)
				return n > 0
			})
			wantHeld(t, "behind one read", conn, 0)
			for _, size := range []int{1000, 16 << 10, 100_000} {
				testkit.MustWrite(t, client, make([]byte, size))
				arrives(t, conn, size)
				wantHeld(t, fmt.Sprintf("behind %d bytes", size), conn, 0)
			}
			// The first half of a record. The first byte has come by then, which TLS 1.0 has in a record of its own.
			var record []byte
			below.Conn = &capture{below.Conn, &record}
			testkit.MustWrite(t, client, make([]byte, 10_000))
			below.Conn = below.Conn.(*capture).Conn
			testkit.MustWrite(t, below.Conn, record[:5000])
			testkit.Eventually(t, "half a record", func() bool { drain(t, conn); return sockets.InputHeld(conn) > 0 || !sockets.LendsTLSBuffers() })
			wantHeld(t, "with half a record", conn, 6000)
			testkit.MustWrite(t, below.Conn, record[5000:])
			arrives(t, conn, 9_999)
			wantHeld(t, "behind all of it", conn, 0)
		})
	}
}

// A capture keeps what is written to a conn.
type capture struct {
	net.Conn
	written *[]byte
}

func (c *capture) Write(p []byte) (int, error) {
	*c.written = append(*c.written, p...)
	return len(p), nil
}

func wantHeld(t testing.TB, when string, conn net.Conn, atMost int) {
	t.Helper()
	if held := sockets.InputHeld(conn); held > atMost {
		t.Errorf("%s it holds %d bytes, want %d at most", when, held, atMost)
	}
}

func TestATLSConnDoesWithoutLendingWhereTheFieldsDiffer(t *testing.T) {
	sockets.WithoutLending(t)
	conn, client, below := secured(t, 0)
	below.next = upTo(3000)
	testkit.MustWrite(t, client, make([]byte, 1000))
	arrives(t, conn, 1000)
	if sockets.LendsTLSBuffers() {
		t.Error("it says that it lends")
	}
	echoes(t, conn, client, randomBytes(100_000), upTo(20_000), upTo(20_000))
}
