//go:build !unix

package sockets

import (
	"crypto/tls"
	"net"
	"syscall"

	"github.com/libnet-go/libnet/internal/readbuf"
)

// Elsewhere a session uses its conn's own Read and Write, and a goroutine while its queue is not
// empty.
type Descriptor struct{}

func Of(net.Conn) *Descriptor            { return nil }
func (*Descriptor) Raw() syscall.RawConn { panic("libnet: no descriptors on this system") }
func (*Descriptor) Read(*readbuf.Buffer, readbuf.ReadSize) (int, error) {
	panic("libnet: no descriptors on this system")
}
func (*Descriptor) ReadReady(*readbuf.Buffer, readbuf.ReadSize) (int, error) {
	panic("libnet: no descriptors on this system")
}
func (*Descriptor) Write([]byte) (n int, err error)   { panic("libnet: no descriptors on this system") }
func (*Descriptor) Unblock()                          { panic("libnet: no descriptors on this system") }
func (*Descriptor) CloseWaits() bool                  { panic("libnet: no descriptors on this system") }
func (*Descriptor) Layered() bool                     { panic("libnet: no descriptors on this system") }
func (*Descriptor) CloseNotify() error                { panic("libnet: no descriptors on this system") }
func (*Descriptor) Handshake() error                  { panic("libnet: no descriptors on this system") }
func (*Descriptor) PendingHandshake() <-chan struct{} { panic("libnet: no descriptors on this system") }
func (*Descriptor) AwaitsUse() bool                   { panic("libnet: no descriptors on this system") }
func (*Descriptor) ReadHeld(*readbuf.Buffer, readbuf.ReadSize) (int, error) {
	panic("libnet: no descriptors on this system")
}
func (*Descriptor) WriteMayWait() bool { panic("libnet: no descriptors on this system") }
func (*Descriptor) HoldsInput() bool   { panic("libnet: no descriptors on this system") }

func HasInput(syscall.RawConn) bool { return false }

// Broken is false: a read tells of a reset, whatever a write has told.
func Broken(syscall.RawConn) bool { return false }

func unblock(uintptr) {}

// Slots bound handshakes elsewhere.
type Slots chan struct{}

func NewSlots(n int) Slots { return make(Slots, n) }

// Secure returns the conn of crypto/tls.
func Secure(conn net.Conn, config *tls.Config, _ func() net.Addr, _ Slots) net.Conn {
	return tls.Server(conn, config)
}

// SecureWaiting returns the conn of crypto/tls.
func SecureWaiting(conn net.Conn, config *tls.Config, _ Slots) net.Conn {
	return tls.Server(conn, config)
}
