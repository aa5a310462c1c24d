//go:build !unix

package libnet

import "net"

// Elsewhere a session uses its conn's own Read and Write, and a goroutine while its queue is not
// empty.
type socket struct{}

func newSocket(net.Conn) *socket                      { return nil }
func (*socket) read(*input, uint16) (int, error)      { panic("libnet: no socket on this system") }
func (*socket) readReady(*input, uint16) (int, error) { panic("libnet: no socket on this system") }
func (*socket) write([]byte) (n int, err error)       { panic("libnet: no socket on this system") }
func (*socket) unblock()                              { panic("libnet: no socket on this system") }
func (*socket) broken() bool                          { panic("libnet: no socket on this system") }

func hasInput(net.Conn) bool { return false }

func unblock(uintptr) {}
