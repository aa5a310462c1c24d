package mux_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	libnettest.VerifyMain(m)
}

// logs collect what is logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// num is a body of 8 bytes that knows how to encode itself, and {"N":…} in JSON.
type num struct{ N uint64 }

func (n *num) AppendBinary(b []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(b, n.N), nil
}

func (n *num) UnmarshalBinary(b []byte) error {
	if len(b) != 8 {
		return errors.New("a number has 8 bytes")
	}
	n.N = binary.BigEndian.Uint64(b)
	return nil
}

var (
	double = mux.Number(1) // what handlers of tests do with numbers
	other  = mux.Number(3)
)

// newMux returns one with a compact envelope.
func newMux() *mux.Mux { return mux.New(mux.Binary(mux.BinaryBody)) }

func doubled(_ context.Context, _ *libnet.Session, n *num) (*num, error) { return &num{2 * n.N}, nil }

// protocolOf is that of a mux's sessions.
func protocolOf(m *mux.Mux) libnet.Protocol { return codec.New(codec.Uint32BE, m) }

// session makes one of a conn, which ends with the test.
func session(t testing.TB, p libnet.Protocol, conn net.Conn) *libnet.Session {
	t.Helper()
	d := libnet.Dialer{Protocol: p}
	d.SendQueue = 1 << 14
	d.SendQueueBytes = 1 << 24
	d.Logger = slog.New(slog.DiscardHandler)
	s, err := d.NewSession(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// pair returns the two ends of a connection in memory, both served.
func pair(t testing.TB, a, b *mux.Mux) (toB, toA mux.Peer) {
	t.Helper()
	x, y := libnettest.Pipe()
	sa, sb := session(t, protocolOf(a), x), session(t, protocolOf(b), y)
	return a.Start(sa), b.Start(sb)
}

// raw returns a session that m serves, and its peer, which a test plays by hand with messages of bytes.
func raw(t testing.TB, m *mux.Mux) (s, hand *libnet.Session) {
	t.Helper()
	x, y := libnettest.Pipe()
	hand = session(t, codec.New(codec.Uint32BE, codec.Bytes), y)
	s = session(t, protocolOf(m), x)
	m.Start(s)
	return s, hand
}

// receive returns the next message of a session.
func receive(t testing.TB, s *libnet.Session) []byte {
	t.Helper()
	msg, err := s.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// within is a context that ends a test which hangs.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// wantStats waits until m has counted what it should.
func wantStats(t testing.TB, m *mux.Mux, want mux.Stats) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%+v", want), func() bool { return m.Stats() == want })
}

const patience = 20 * time.Second
