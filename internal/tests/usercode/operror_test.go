package usercode

import (
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// An ownAddr is an address of the user's, which a net.OpError asks for its text.
type ownAddr struct{ hangs bool }

func (a *ownAddr) Network() string { return "own" }
func (a *ownAddr) String() string {
	if a.hangs {
		time.Sleep(1500 * time.Millisecond)
	}
	return "somewhere"
}

// circle is an error that wraps itself.
var circle = func() error {
	inner := &os.SyscallError{Syscall: "read"}
	inner.Err = &net.OpError{Op: "read", Net: "own", Err: inner}
	return inner
}()

// strangeErrors are of the standard library's types, and yet their text is the user's matter, or there is none.
var strangeErrors = map[string]error{
	"one that wraps itself":           circle,
	"an address that is nil":          nilAddr,
	"an address that hangs":           &net.OpError{Op: "read", Net: "own", Source: &ownAddr{true}, Err: syscall.EMFILE},
	"one that is not the outermost's": &net.OpError{Op: "read", Err: nilAddr},
	"without an error":                &net.OpError{Op: "read", Net: "own"},
	"a system call without an error":  &os.SyscallError{Syscall: "read"},
}

var nilAddr = &net.OpError{Op: "read", Net: "own", Addr: (*ownAddr)(nil), Err: syscall.EMFILE}

func TestAnErrorOfPackageNetWithAnAddressOfTheUsersHarmsItsSessionOnly(t *testing.T) {
	for name, strange := range strangeErrors {
		t.Run(name, func(t *testing.T) {
			srv := testkit.NewServer(t, testkit.Frames, 8)
			srv.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
			near, _ := testkit.ConnectPipe(t)
			s := testkit.Adopt(t, srv, &scriptedConn{Conn: near, read: func([]byte) (int, error) { return 0, strange }})
			_, err := s.Receive()
			if err != strange {
				t.Errorf("Receive: %T", err)
			}
			testkit.Eventually(t, "the session to be counted out", func() bool { return srv.Stats().Open == 0 })
			if stats := srv.Stats(); stats.Panics != 0 || stats.Closed["error"] != 1 {
				t.Errorf("%d panics, closed: %v", stats.Panics, stats.Closed)
			}
		})
	}
}

func TestAListenersErrorWithAnAddressOfTheUsersIsWaitedOut(t *testing.T) {
	listener := libnettest.NewListener()
	srv := libnet.NewServer(listener, testkit.Frames, 8)
	var log strings.Builder
	srv.Logger = slog.New(slog.NewTextHandler(&log, nil))
	for _, name := range []string{"an address that is nil", "one that is not the outermost's"} {
		listener.Push(nil, strangeErrors[name])
	}
	listener.Push(nil, os.ErrInvalid)
	if err := srv.Serve(libnet.HandlerFunc(func(*libnet.Session) {})); err == nil {
		t.Error("Serve goes on")
	}
	srv.Stop()
	if n := srv.Stats().AcceptErrors; n != 2 || !strings.Contains(log.String(), "accept failed") {
		t.Errorf("%d errors were waited out; the log: %s", n, &log)
	}
}
