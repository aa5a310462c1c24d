//go:build !linux

package libnet

import "net"

// Elsewhere than on Linux every session of ServeMessages has a goroutine.
type eventLoop struct{ server *Server }

func newEventLoop(srv *Server, _ MessageHandler) (*eventLoop, error) { return &eventLoop{srv}, nil }

func (loop *eventLoop) prepare(conn net.Conn) net.Conn { return loop.server.secure(conn) }

func (*eventLoop) add(*Session) bool { return false }

func (*eventLoop) close() {}
