package libnet_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
)

// The tests called Test<letter><number>… are rows of docs/faults.md.
// The letter is the kind: A what comes over the wire, B what a peer does, C the machine, D races,
// E shutdown, F misuse, G attacks.

var faultFull = flag.Bool("full", false, "run the fault tests at their full size instead of CI's")

// faultSize is how much of something a test takes.
func faultSize(ci, full int) int {
	if *faultFull {
		return full
	}
	return ci
}

// faultFrames is these tests' protocol: 4 bytes of length, then a payload of at most 64 KiB.
var faultFrames = codec.New(codec.Uint32BE, codec.Bytes).MaxMessage(faultMax)

const (
	faultMax    = 64 << 10
	faultHeader = 4

	// faultSoon is how long tests on real sockets wait for what takes milliseconds when the machine
	// has nothing else to do. Nothing is asserted to take so long.
	faultSoon = 20 * time.Second
)

func faultFrame(payload string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

// faultReadFrame is the reference decoder: what libnet should make of a stream, in a few lines.
func faultReadFrame(r io.Reader) ([]byte, error) {
	var header [faultHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err // io.EOF before the first byte, io.ErrUnexpectedEOF after it
	}
	n := binary.BigEndian.Uint32(header[:])
	if n > faultMax {
		return nil, libnet.ErrFrameTooLarge
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return payload, nil
}

// A faultRig is a server that runs a handler, and the means to reach it.
type faultRig struct {
	*libnet.Server
	tb       testing.TB
	pipes    *libnettest.Listener // nil on a real network
	faults   *libnettest.Faults   // of the server's ends of pipes; nil: none
	sessions chan *libnet.Session // each session, before its handler runs
	logs     *faultLog
	serveErr chan error
	network  string
}

// faultServe starts a server on "pipe" (at home in synctest bubbles), "tcp" or "tls". When the test ends
// it stops the server and checks that the books balance: no session is open and each that was made has
// been closed for one reason.
func faultServe(tb testing.TB, network string, configure func(*libnet.Server), h libnet.HandlerFunc) *faultRig {
	tb.Helper()
	r := &faultRig{tb: tb, network: network, logs: &faultLog{}, sessions: make(chan *libnet.Session, 1<<14), serveErr: make(chan error, 1)}
	var listener net.Listener
	if network == "pipe" {
		r.pipes = libnettest.NewListener()
		listener = r.pipes
	} else {
		var err error
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			tb.Fatal(err)
		}
	}
	r.Server = libnet.NewServer(listener, faultFrames, 0)
	r.Logger = slog.New(r.logs)
	if network == "tls" {
		r.TLSConfig = faultServerTLS(tb)
	}
	if configure != nil {
		configure(r.Server)
	}
	r.start(h)
	return r
}

func (r *faultRig) start(h libnet.HandlerFunc) {
	go func() {
		r.serveErr <- r.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
			select {
			case r.sessions <- s:
			default: // nobody asks for so many
			}
			h(s)
		}))
	}()
	r.tb.Cleanup(func() {
		r.Stop()
		if err := <-r.serveErr; !errors.Is(err, libnet.ErrServerClosed) {
			r.tb.Errorf("Serve returned %v, want ErrServerClosed", err)
		}
		r.checkBooks()
	})
}

func (r *faultRig) checkBooks() {
	r.tb.Helper()
	stats := r.Stats()
	var closed uint64
	for _, n := range stats.Closed {
		closed += n
	}
	if stats.Open != 0 || closed != stats.Accepted || r.Manager().Len() != 0 {
		r.tb.Errorf("after Stop: %d open, %d in the manager; %d accepted, %d closed for a reason: %v",
			stats.Open, r.Manager().Len(), stats.Accepted, closed, stats.Closed)
	}
}

// dial returns a client's connection, which the test's end closes.
func (r *faultRig) dial() net.Conn {
	r.tb.Helper()
	var conn net.Conn
	var err error
	switch r.network {
	case "pipe":
		conn, err = r.dialPipe()
	case "tcp":
		conn, err = net.Dial("tcp", r.Listener().Addr().String())
	case "tls":
		if conn, err = net.Dial("tcp", r.Listener().Addr().String()); err == nil {
			conn = tls.Client(conn, faultClientTLS) // the first use is the handshake, as on the other side
		}
	}
	if err != nil {
		r.tb.Fatal(err)
	}
	r.tb.Cleanup(func() { conn.Close() })
	return conn
}

func (r *faultRig) dialPipe() (net.Conn, error) {
	if r.faults == nil {
		return r.pipes.Dial()
	}
	client, server := libnettest.Pipe()
	r.pipes.Push(r.faults.Wrap(server), nil)
	return client, nil
}

// open dials and returns both ends.
func (r *faultRig) open() (net.Conn, *libnet.Session) {
	r.tb.Helper()
	conn := r.dial()
	return conn, <-r.sessions
}

// wantClosed waits for the session's end and checks its reason wherever it is told.
func (r *faultRig) wantClosed(s *libnet.Session, reason error) {
	r.tb.Helper()
	faultWait(r.tb, s.Done(), "the session's end")
	if !errors.Is(s.Err(), reason) {
		r.tb.Errorf("the session ended with %v, want %v", s.Err(), reason)
	}
	name := libnet.CloseReason(reason)
	faultEventually(r.tb, "the books to name the reason "+name, func() bool { return r.Stats().Closed[name] > 0 })
}

func faultEcho(s *libnet.Session) {
	for {
		msg, err := s.Receive()
		if err != nil {
			return
		}
		if err := s.Send(msg); err != nil && err != libnet.ErrSessionBlocked {
			return
		}
	}
}

// faultReceive receives until the session ends.
func faultReceive(s *libnet.Session) {
	for {
		if _, err := s.Receive(); err != nil {
			return
		}
	}
}

// faultHold keeps a session without ever receiving.
func faultHold(s *libnet.Session) { <-s.Done() }

func faultWrite(tb testing.TB, conn net.Conn, p []byte) {
	tb.Helper()
	if _, err := conn.Write(p); err != nil {
		tb.Fatalf("write: %v", err)
	}
}

// faultAsk sends a message and wants it back.
func faultAsk(tb testing.TB, conn net.Conn, payload string) {
	tb.Helper()
	faultWrite(tb, conn, faultFrame(payload))
	answer, err := faultReadFrame(conn)
	if err != nil || string(answer) != payload {
		tb.Fatalf("asked %q, got %.64q, %v", payload, answer, err)
	}
}

// faultWantEnd reads until the peer's end, which must be an orderly one or, where the session was cut
// off, a reset; it returns what came before it.
func faultWantEnd(tb testing.TB, conn net.Conn) []byte {
	tb.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(faultSoon))
	all, err := io.ReadAll(conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		tb.Errorf("the peer has not closed after %v", faultSoon)
	}
	return all
}

func faultWait(tb testing.TB, c <-chan struct{}, what string) {
	tb.Helper()
	timer := time.NewTimer(faultSoon)
	defer timer.Stop()
	select {
	case <-c:
	case <-timer.C:
		tb.Fatalf("waited %v for %s", faultSoon, what)
	}
}

// faultEventually is for states that no channel announces.
func faultEventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(faultSoon); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited %v for %s", faultSoon, what)
		}
	}
}

// A faultLog is a slog.Handler that keeps the lines.
type faultLog struct {
	mu    sync.Mutex // guards the following
	lines []string
	bytes int
}

func (l *faultLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l *faultLog) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *faultLog) WithGroup(string) slog.Handler                    { return l }

func (l *faultLog) Handle(ctx context.Context, record slog.Record) error {
	var text strings.Builder
	if err := slog.NewTextHandler(&text, nil).Handle(ctx, record); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, text.String())
	l.bytes += text.Len()
	return nil
}

// with returns the lines that contain text.
func (l *faultLog) with(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

func faultDialTCP(address string) (net.Conn, error) {
	return net.DialTimeout("tcp", address, faultSoon)
}

// faultReadMemory collects twice before it reads: pools give their storage up at the second collection.
func faultReadMemory(stats *runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(stats)
}

func (l *faultLog) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

func (l *faultLog) since(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines[n:])
}
