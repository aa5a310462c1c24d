//go:build unix

package sockets_test

import (
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/testkit"
)

// A userConn is a conn whose descriptor is behind a handle of the user's.
type userConn struct {
	net.Conn
	control func(raw syscall.RawConn, f func(fd uintptr)) error
}

func (c userConn) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.Conn.(syscall.Conn).SyscallConn()
	return userRaw{raw, c.control}, err
}

type userRaw struct {
	syscall.RawConn
	control func(raw syscall.RawConn, f func(fd uintptr)) error
}

func (r userRaw) Control(f func(fd uintptr)) error { return r.control(r.RawConn, f) }

func TestAHandleOfTheUsersIsCalledAndItsResultsAreTaken(t *testing.T) {
	near, far := testkit.ConnectTCP(t)
	conn := userConn{near, func(raw syscall.RawConn, f func(uintptr)) error { return raw.Control(f) }}
	testkit.MustWrite(t, far, []byte("four"))
	raw := sockets.Raw(conn)
	testkit.Eventually(t, "what has arrived", func() bool { return sockets.HasInput(raw) })
	if err := (sockets.Options{PeerTimeout: time.Minute}).Set(conn); err != nil {
		t.Error(err)
	}
	if sockets.Discard(raw) || sockets.HasInput(raw) {
		t.Error("Discard left something, or found an end")
	}
}

// Each function that takes a handle returns soon, on its caller's goroutine, and calls nothing behind that.
func TestAHandleOfTheUsersThatMisbehavesCostsItsResultsOnly(t *testing.T) {
	near, far := testkit.ConnectTCP(t)
	testkit.MustWrite(t, far, []byte("four"))
	release, late := make(chan struct{}), make(chan func(uintptr), 100)
	for name, control := range map[string]func(raw syscall.RawConn, f func(uintptr)) error{
		"panics":             func(syscall.RawConn, func(uintptr)) error { panic("hostile") },
		"ends its goroutine": func(syscall.RawConn, func(uintptr)) error { runtime.Goexit(); return nil },
		"hangs":              func(syscall.RawConn, func(uintptr)) error { <-release; return nil },
		"does not call":      func(syscall.RawConn, func(uintptr)) error { return nil },
		"calls later":        func(_ syscall.RawConn, f func(uintptr)) error { late <- f; return nil },
		"calls twice": func(raw syscall.RawConn, f func(uintptr)) error {
			_ = raw.Control(f)
			return raw.Control(f)
		},
		"calls and hangs": func(raw syscall.RawConn, f func(uintptr)) error {
			_ = raw.Control(f)
			<-release
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn := userConn{near, control}
			raw := sockets.Raw(conn)
			returned := false
			testkit.Within(t, testkit.Patience, "all calls", func() {
				_ = sockets.Options{SendBuffer: 1 << 20, PeerTimeout: time.Minute}.Set(conn)
				_, _, _ = sockets.Unread(raw), sockets.Unsent(raw), sockets.PeerEnded(raw)
				_, _ = sockets.HasInput(raw), sockets.SetUserTimeout(raw, time.Minute)
				_ = sockets.Discard(raw)
				returned = true
			})
			if !returned {
				t.Error("a call has not returned")
			}
		})
	}
	close(release)
	close(late)
	for f := range late {
		f(1 << 20) // no descriptor: it would be seen by the race detector, and by whoever has the call now
	}
}
