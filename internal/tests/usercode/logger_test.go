package usercode

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// hangingLog is a Log one of whose methods, and with it all that call it then, does not return before it is released.
type hangingLog struct {
	testkit.Log
	in       string
	hangs    atomic.Bool
	inside   atomic.Int32
	released chan struct{}
}

func newHangingLog(in string) *hangingLog {
	l := &hangingLog{in: in, released: make(chan struct{})}
	l.hangs.Store(true)
	return l
}

func (l *hangingLog) wait(in string) {
	if l.in == in && l.hangs.Load() {
		l.inside.Add(1)
		<-l.released
	}
}

func (l *hangingLog) Enabled(ctx context.Context, level slog.Level) bool {
	l.wait("Enabled")
	return l.Log.Enabled(ctx, level)
}

func (l *hangingLog) Handle(ctx context.Context, r slog.Record) error {
	l.wait("Handle")
	return l.Log.Handle(ctx, r)
}

func (l *hangingLog) release() {
	l.hangs.Store(false)
	close(l.released)
	synctest.Wait()
}

// shortListener has no descriptor left at first, as often as it is told.
type shortListener struct {
	net.Listener
	short atomic.Int32
}

func (l *shortListener) Accept() (net.Conn, error) {
	if l.short.Add(-1) >= 0 {
		return nil, syscall.EMFILE
	}
	return l.Listener.Accept()
}

// mostCalls is how many calls of a logger may be at work.
const mostCalls = 64

// A logger that does not return keeps nobody: neither who accepts, nor who ends a session.
func TestALoggerThatDoesNotReturnCostsItsLinesOnly(t *testing.T) {
	for _, in := range []string{"Enabled", "Handle"} {
		t.Run(in, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { testHangingLogger(t, in) }) })
	}
}

func testHangingLogger(t *testing.T, in string) {
	log := newHangingLog(in)
	pipes := libnettest.NewListener()
	l := &shortListener{Listener: pipes}
	l.short.Store(1)
	srv := libnet.NewServer(l, testkit.Frames, 8)
	defer srv.Stop()
	srv.Logger = slog.New(log)
	go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		_, _ = s.Receive()
		_ = s.CloseWithError(errors.New("to be logged"))
	}))
	const sessions = 1000
	begun := time.Now()
	endMany(t, srv, pipes, sessions)
	if took := time.Since(begun); took > time.Second {
		t.Errorf("%d sessions were accepted and had ended after %v", sessions, took)
	}
	if n := log.inside.Load(); n == 0 || n > mostCalls {
		t.Errorf("%d calls of the logger at work, want 1 to %d", n, mostCalls)
	}
	log.release()
	time.Sleep(time.Second) // the lines of this one may have been written
	before := log.Len()
	endMany(t, srv, pipes, 1)
	if lines := log.Since(before); len(lines) != 1 || !strings.Contains(lines[0], "lines_left_out=") {
		t.Errorf("the next line does not say how many were left out: %q", lines)
	}
}

// endMany has n sessions begin, and end for a reason that is logged.
func endMany(t *testing.T, srv *libnet.Server, l *libnettest.Listener, n int) {
	t.Helper()
	before := srv.Stats().Accepted
	for range n {
		conn, err := l.Dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		testkit.MustWrite(t, conn, testkit.Frame("end"))
	}
	for stats := srv.Stats(); stats.Open > 0 || stats.Accepted < before+uint64(n); stats = srv.Stats() {
		time.Sleep(time.Millisecond)
	}
}

// panickingProtocol's codecs panic when they send.
var panickingProtocol = libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
	return &testkit.FuncCodec{OnSend: func(any) error { panic("cannot send") }, OnReceive: func() ([]byte, error) { return nil, io.EOF }}
})

// Dialled sessions share what limits their lines, and have loggers of their own.
func TestALoggerThatDoesNotReturnSilencesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging, other := newHangingLog("Handle"), new(testkit.Log)
		for i, handler := range []slog.Handler{hanging, other} {
			near, far := libnettest.Pipe()
			defer far.Close()
			d := libnet.Dialer{Protocol: panickingProtocol}
			d.Logger = slog.New(handler)
			s, err := d.NewSession(near)
			if err != nil {
				t.Fatal(i, err)
			}
			if err := s.Send("x"); !errors.Is(err, libnet.ErrPanic) {
				t.Fatal(i, err)
			}
			time.Sleep(time.Second)
		}
		if lines := other.With("cannot send"); len(lines) != 1 {
			t.Errorf("the other logger has %q", lines)
		}
		hanging.release()
		if lines := hanging.With("cannot send"); len(lines) != 1 {
			t.Errorf("the line that was late: %q", lines)
		}
	})
}
