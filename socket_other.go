//go:build !unix

package libnet

import (
	"net"

	"github.com/libnet-go/libnet/internal/readbuf"
)

// Elsewhere a session uses its conn's own Read and Write, and a goroutine while its queue is not
// empty.
type socket struct{}

func newSocket(net.Conn) *socket { return nil }
func (*socket) read(*readbuf.Buffer, readbuf.ReadSize) (int, error) {
	panic("libnet: no socket on this system")
}
func (*socket) readReady(*readbuf.Buffer, readbuf.ReadSize) (int, error) {
	panic("libnet: no socket on this system")
}
func (*socket) write([]byte) (n int, err error) { panic("libnet: no socket on this system") }
func (*socket) unblock()                        { panic("libnet: no socket on this system") }
func (*socket) broken() bool                    { panic("libnet: no socket on this system") }

func hasInput(net.Conn) bool { return false }

func unblock(uintptr) {}
