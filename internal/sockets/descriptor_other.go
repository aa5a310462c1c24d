//go:build !unix

package sockets

import (
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
func (*Descriptor) Write([]byte) (n int, err error) { panic("libnet: no descriptors on this system") }
func (*Descriptor) Unblock()                        { panic("libnet: no descriptors on this system") }
func (*Descriptor) Broken() bool                    { panic("libnet: no descriptors on this system") }
func (*Descriptor) CloseWaits() bool                { panic("libnet: no descriptors on this system") }

func HasInput(syscall.RawConn) bool { return false }

func unblock(uintptr) {}
