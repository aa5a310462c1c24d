package usercode

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
)

// scriptedConn is a conn of which a test has replaced some methods.
type scriptedConn struct {
	net.Conn
	write         func(p []byte) (int, error)
	read          func(p []byte) (int, error)
	close         func() error
	closeWrite    func() error
	writeDeadline func(time.Time) error
}

func (c *scriptedConn) Write(p []byte) (int, error) {
	if c.write != nil {
		return c.write(p)
	}
	return c.Conn.Write(p)
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	if c.read != nil {
		return c.read(p)
	}
	return c.Conn.Read(p)
}

func (c *scriptedConn) Close() error {
	if c.close != nil {
		return c.close()
	}
	return c.Conn.Close()
}

func (c *scriptedConn) CloseWrite() error {
	if c.closeWrite != nil {
		return c.closeWrite()
	}
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

func (c *scriptedConn) SetWriteDeadline(at time.Time) error {
	if c.writeDeadline != nil {
		return c.writeDeadline(at)
	}
	return c.Conn.SetWriteDeadline(at)
}

// scriptedLogger calls f for each line.
type scriptedLogger struct{ f func(slog.Record) }

func (l scriptedLogger) Enabled(context.Context, slog.Level) bool { return true }
func (l scriptedLogger) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l scriptedLogger) WithGroup(string) slog.Handler            { return l }
func (l scriptedLogger) Handle(_ context.Context, r slog.Record) error {
	l.f(r)
	return nil
}

func wantEndWithin(t *testing.T, s *libnet.Session, srv *libnet.Server, bound time.Duration) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(bound):
		t.Errorf("the session has not ended within %v: %v, %+v", bound, s.Err(), s.Stats())
	}
}

// inChild runs the test again in a process of its own, which must not die.
func inChild(t *testing.T, child func(t *testing.T)) {
	if os.Getenv("LIBNET_TEST_CHILD") == t.Name() {
		child(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.timeout=30s")
	cmd.Env = append(os.Environ(), "LIBNET_TEST_CHILD="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil {
		if len(out) > 1500 {
			out = out[:1500]
		}
		t.Errorf("the process died: %v\n%s", err, out)
	}
}
