package eventmode

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// A keyUpdater is a client of TLS 1.3 that asks for new keys when it likes, which crypto/tls's does not: it makes what
// it sends itself, from the secret that crypto/tls tells a key log. What comes it reads through crypto/tls.
type keyUpdater struct {
	*tls.Conn
	below  net.Conn
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// secretLog keeps the secret of what a client sends.
type secretLog struct{ secret []byte }

func (l *secretLog) Write(line []byte) (int, error) {
	if fields := strings.Fields(string(line)); len(fields) == 3 && fields[0] == "CLIENT_TRAFFIC_SECRET_0" {
		l.secret, _ = hex.DecodeString(fields[2])
	}
	return len(line), nil
}

func dialKeyUpdater(t *testing.T, addr net.Addr) *keyUpdater {
	t.Helper()
	below, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = below.Close() })
	_ = below.SetDeadline(time.Now().Add(2 * testkit.Patience))
	log := new(secretLog)
	config := testkit.AnyTLS()
	config.KeyLogWriter, config.MinVersion = log, tls.VersionTLS13
	client := tls.Client(below, config)
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if suite := client.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("crypto/tls prefers another suite than AES-GCM on this processor")
	}
	c := &keyUpdater{Conn: client, below: below, secret: log.secret}
	c.setKeys(t)
	return c
}

// expand is HKDF-Expand-Label of RFC 8446, 7.1.
func expand(t *testing.T, secret []byte, label string, n int) []byte {
	t.Helper()
	info := string([]byte{byte(n >> 8), byte(n), byte(len("tls13 ") + len(label))}) + "tls13 " + label + "\x00"
	key, err := hkdf.Expand(sha256.New, secret, info, n)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (c *keyUpdater) setKeys(t *testing.T) {
	t.Helper()
	block, err := aes.NewCipher(expand(t, c.secret, "key", 16))
	if err == nil {
		c.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.iv, c.seq = expand(t, c.secret, "iv", 12), 0
}

const (
	handshakeKind, dataKind = 22, 23
	keyUpdateMessage        = 24
)

// record is one of RFC 8446, 5.2.
func (c *keyUpdater) record(kind byte, content []byte) []byte {
	inner := append(bytes.Clone(content), kind)
	n := len(inner) + c.aead.Overhead()
	header := []byte{dataKind, 3, 3, byte(n >> 8), byte(n)}
	nonce := bytes.Clone(c.iv)
	for i := range 8 {
		nonce[4+i] ^= byte(c.seq >> (56 - 8*i))
	}
	c.seq++
	return c.aead.Seal(header, nonce, inner, bytes.Clone(header))
}

// keyUpdate is a record that changes the keys, and may ask for an answer.
func (c *keyUpdater) keyUpdate(t *testing.T, asks bool) []byte {
	t.Helper()
	message := []byte{keyUpdateMessage, 0, 0, 1, 0}
	if asks {
		message[4] = 1
	}
	record := c.record(handshakeKind, message)
	c.secret = expand(t, c.secret, "traffic upd", sha256.Size)
	c.setKeys(t)
	return record
}

func (c *keyUpdater) frame(msg string) []byte { return c.record(dataKind, testkit.Frame(msg)) }

// secureModes are the ways to serve TLS through a descriptor.
var secureModes = []testkit.Mode{testkit.LoopTLS, testkit.Modes[6]}

func TestMessagesAreWholeAmongKeyUpdatesBothWays(t *testing.T) {
	testkit.OverModes(t, secureModes, func(t *testing.T, mode testkit.Mode) {
		const (
			messages = 300
			atATime  = 10 // crypto/tls's client ends for 17 answers on end
		)
		r := mode.Start(t, func(srv *libnet.Server) { srv.SendQueue = 4 * messages }, testkit.EchoMessage)
		c := dialKeyUpdater(t, r.Listener().Addr())
		s := testkit.Await(t, testkit.Patience, "the session", r.Sessions)
		sent := make(chan struct{})
		go func() { // whoever sends encrypts beside the answers
			defer close(sent)
			for range messages {
				_ = s.Send([]byte("pushed"))
			}
		}()
		window := make(chan struct{}, atATime)
		go func() {
			for i := range messages {
				window <- struct{}{}
				out := c.frame(fmt.Sprint("message ", i))
				if i%3 > 0 {
					out = append(out, c.keyUpdate(t, i%3 == 1)...)
				}
				_, _ = c.below.Write(out)
			}
		}()
		for pushed, next := 0, 0; pushed+next < 2*messages; {
			msg, err := testkit.ReadFrame(c)
			switch {
			case err != nil:
				t.Fatalf("after %d and %d messages: %v; the session: %v", pushed, next, err, s.Err())
			case string(msg) == "pushed":
				pushed++
			case string(msg) == fmt.Sprint("message ", next):
				next++
				<-window
			default:
				t.Fatalf("got %q behind message %d", msg, next)
			}
		}
		<-sent
	})
}

// What a peer asks for and does not read is kept for it up to a bound, and its session ends.
func TestAPeerThatAsksForKeysAndNeverReadsEndsItsSessionOnly(t *testing.T) {
	testkit.OverModes(t, secureModes, func(t *testing.T, mode testkit.Mode) {
		r := mode.Start(t, func(srv *libnet.Server) { srv.SendBuffer = 4 << 10 }, func(s *libnet.Session, msg []byte) {
			if string(msg) == "x" {
				_ = s.Send(msg)
			}
		})
		other := r.Dial()
		testkit.Ask(t, other, "x")
		testkit.Await(t, testkit.Patience, "the other session", r.Sessions)
		c := dialKeyUpdater(t, r.Listener().Addr())
		_ = c.below.(*net.TCPConn).SetReadBuffer(4 << 10)
		s := testkit.Await(t, testkit.Patience, "the session", r.Sessions)
		asked := 0
		for !s.IsClosed() && asked < 1<<20 {
			var burst []byte
			for range 10 {
				for range 10 {
					burst = append(burst, c.keyUpdate(t, true)...)
				}
				burst = append(burst, c.frame("and goes on")...) // else crypto/tls takes it for a flood
			}
			asked += 100
			if _, err := c.below.Write(burst); err != nil {
				break
			}
		}
		testkit.Await(t, testkit.Patience, "the session's end", s.Done())
		if text := fmt.Sprint(s.Err()); !strings.Contains(text, "does not read") {
			t.Errorf("after %d key updates it ended with %q", asked, text)
		}
		testkit.Ask(t, other, "x")
	})
}

func TestAFloodOfKeyUpdatesEndsItsSessionOnly(t *testing.T) {
	testkit.OverModes(t, secureModes, func(t *testing.T, mode testkit.Mode) {
		r := mode.Start(t, nil, testkit.EchoMessage)
		other := r.Dial()
		testkit.Ask(t, other, "x")
		testkit.Await(t, testkit.Patience, "the other session", r.Sessions)
		c := dialKeyUpdater(t, r.Listener().Addr())
		s := testkit.Await(t, testkit.Patience, "the session", r.Sessions)
		var flood []byte
		for range 17 { // one more than crypto/tls takes without anything else
			flood = append(flood, c.keyUpdate(t, false)...)
		}
		testkit.MustWrite(t, c.below, flood)
		testkit.Await(t, testkit.Patience, "the session's end", s.Done())
		if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "unexpected message") {
			t.Errorf("the peer is not told: %v", err)
		}
		testkit.Ask(t, other, "x")
	})
}

// A client may ask for another handshake on a connection of TLS 1.2. It gets none.
func TestARenegotiationIsRefusedAndEndsItsSessionOnly(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip(err)
	}
	testkit.OverModes(t, secureModes, func(t *testing.T, mode testkit.Mode) {
		r := mode.Start(t, nil, testkit.EchoMessage)
		other := r.Dial()
		testkit.Ask(t, other, "x")
		testkit.Await(t, testkit.Patience, "the other session", r.Sessions)
		cmd := exec.CommandContext(testkit.TimeoutContext(t, 2*testkit.Patience), openssl, "s_client", "-brief", "-tls1_2", "-connect", r.Listener().Addr().String())
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Wait() }()
		defer in.Close()
		s := testkit.Await(t, testkit.Patience, "the session", r.Sessions)
		testkit.MustWrite(t, in, testkit.Frame("before"))
		if msg, err := testkit.ReadFrame(out); err != nil || string(msg) != "before" {
			t.Fatalf("%q, %v", msg, err)
		}
		testkit.MustWrite(t, in, []byte("R\n"))
		testkit.Await(t, testkit.Patience, "the session's end", s.Done())
		if stats := s.Stats(); stats.MessagesIn != 1 || stats.MessagesOut != 1 {
			t.Errorf("%+v", stats)
		}
		testkit.Ask(t, other, "x")
	})
}
