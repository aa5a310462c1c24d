package libnet_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
)

// patience is how long a test waits for what must come; a test that passes does not wait that long.
const patience = 10 * time.Second

// frames is the protocol of most tests: 4 bytes of length, then the message.
var frames = codec.New(codec.Uint32BE, codec.Bytes)

// quiet is for servers whose log is not what the test is about.
var quiet = slog.New(slog.DiscardHandler)

// twoWrites is a codec as users write them: it knows nothing of libnet but the Codec interface, writes
// header and body separately, and reads them so.
type twoWrites struct{ rw io.ReadWriter }

var plain = libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return &twoWrites{rw} })

func (c *twoWrites) Receive() ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(c.rw, header[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(header[:])
	if n > 1<<20 {
		return nil, libnet.ErrFrameTooLarge
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.rw, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body, nil
}

func (c *twoWrites) Send(msg any) error {
	body, ok := msg.([]byte)
	if !ok {
		return fmt.Errorf("%w: %T is not bytes", libnet.ErrEncode, msg)
	}
	if _, err := c.rw.Write(binary.BigEndian.AppendUint32(nil, uint32(len(body)))); err != nil {
		return err
	}
	_, err := c.rw.Write(body)
	return err
}

func (c *twoWrites) Close() error {
	if closer, ok := c.rw.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// funcCodec is a codec made of the functions that a test gives it; what it does not give answers that
// the stream is at its end, or nothing.
type funcCodec struct {
	receive func() ([]byte, error)
	send    func(msg any) error
	close   func() error
}

func (c *funcCodec) Receive() ([]byte, error) {
	if c.receive == nil {
		return nil, io.EOF
	}
	return c.receive()
}

func (c *funcCodec) Send(msg any) error {
	if c.send == nil {
		return nil
	}
	return c.send(msg)
}

func (c *funcCodec) Close() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}

// newServer returns a server that is given conns rather than accepting them, and is stopped with the test.
func newServer(t testing.TB, p libnet.Protocol, queue int) *libnet.Server {
	t.Helper()
	srv := libnet.NewServer(libnettest.NewListener(), p, queue)
	srv.Logger = quiet
	srv.Linger = time.Second
	t.Cleanup(srv.Stop)
	return srv
}

// adopt makes a session of conn.
func adopt(t testing.TB, srv *libnet.Server, conn net.Conn) *libnet.Session {
	t.Helper()
	s, err := srv.NewSession(conn)
	if err != nil {
		t.Fatalf("NewSession: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// sessionPair returns sessions on both ends of a connection, of one protocol and queue size.
func sessionPair(t testing.TB, connect connector, p libnet.Protocol, queue int) (a, b *libnet.Session) {
	t.Helper()
	near, far := connect(t)
	return adopt(t, newServer(t, p, queue), near), adopt(t, newServer(t, p, queue), far)
}

// message is numbered and has a body that tells if bytes of two messages were mixed.
func message(sender, number, size int) []byte {
	msg := make([]byte, 8, 8+size)
	binary.BigEndian.PutUint32(msg, uint32(sender))
	binary.BigEndian.PutUint32(msg[4:], uint32(number))
	for i := range size {
		msg = append(msg, byte(sender*31+number+i))
	}
	return msg
}

// parseMessage fails the test for what message did not make.
func parseMessage(t testing.TB, msg []byte) (sender, number int) {
	t.Helper()
	if len(msg) < 8 {
		t.Fatalf("received %d bytes that nobody sent: %q", len(msg), msg)
	}
	sender = int(binary.BigEndian.Uint32(msg))
	number = int(binary.BigEndian.Uint32(msg[4:]))
	for i, b := range msg[8:] {
		if b != byte(sender*31+number+i) {
			t.Fatalf("message %d of sender %d is torn at byte %d of %d", number, sender, i, len(msg)-8)
		}
	}
	return sender, number
}

// within runs f and fails the test when that takes longer than d.
func within(t testing.TB, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	await(t, d, what, done)
}

// await waits for a channel to be closed, or for a value.
func await[T any](t testing.TB, d time.Duration, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(d):
		t.Fatalf("%s: not within %v", what, d)
		panic("unreachable")
	}
}

// eventually polls a condition that nothing announces.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s = %v; want %v", what, got, want)
	}
}

func mustSend(t testing.TB, s *libnet.Session, msg any) {
	t.Helper()
	if err := s.Send(msg); err != nil {
		t.Fatalf("Send: %v", err)
	}
}

func mustReceive(t testing.TB, s *libnet.Session, want string) {
	t.Helper()
	got, err := s.Receive()
	if err != nil || string(got) != want {
		t.Fatalf("Receive = %.64q, %v; want %.64q", got, err, want)
	}
}

func mustWrite(t testing.TB, w io.Writer, p []byte) {
	t.Helper()
	if _, err := w.Write(p); err != nil {
		t.Fatalf("Write: %v", err)
	}
}

// frame is msg as the protocol frames puts it on the wire.
func frame(msg string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(msg))), msg...)
}

func timeoutContext(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func echoReceived(s *libnet.Session) {
	for {
		msg, err := s.Receive()
		if err != nil || s.Send(&msg) != nil {
			return
		}
	}
}
