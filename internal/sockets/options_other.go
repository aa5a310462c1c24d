//go:build !linux

package sockets

import (
	"errors"
	"net"
)

// set asks the outermost layer of conn that has a method for each. Only Linux has TCP_USER_TIMEOUT; elsewhere
// keepalive alone finds a vanished peer.
func (o Options) set(conn net.Conn) error {
	if !isStream(conn) {
		return ErrNotAStream
	}
	var err error
	if raw := Raw(conn); raw != nil {
		err = raw.Control(unblock)
	}
	if size := o.SendBuffer; size > 0 {
		err = errors.Join(err, setSendBuffer(conn, min(size, maxBuffer)))
	}
	if size := o.ReceiveBuffer; size > 0 {
		err = errors.Join(err, setReceiveBuffer(conn, min(size, maxBuffer)))
	}
	if timeout := o.PeerTimeout; timeout > 0 {
		third := keepAlive(timeout)
		err = errors.Join(err, setKeepAlive(conn, net.KeepAliveConfig{Enable: true, Idle: third, Interval: third, Count: keepAliveProbes}))
	}
	return err
}

func isStream(conn net.Conn) bool {
	for c := range layers(conn) {
		switch c := c.(type) {
		case *net.UDPConn, *net.IPConn:
			return false
		case *net.UnixConn:
			return c.LocalAddr().Network() == "unix"
		}
	}
	return true
}

func setSendBuffer(conn net.Conn, size int) error {
	for c := range layers(conn) {
		if b, ok := c.(interface{ SetWriteBuffer(int) error }); ok {
			return b.SetWriteBuffer(size)
		}
	}
	return nil
}

func setReceiveBuffer(conn net.Conn, size int) error {
	for c := range layers(conn) {
		if b, ok := c.(interface{ SetReadBuffer(int) error }); ok {
			return b.SetReadBuffer(size)
		}
	}
	return nil
}

func setKeepAlive(conn net.Conn, k net.KeepAliveConfig) error {
	for c := range layers(conn) {
		if tcp, ok := c.(interface {
			SetKeepAliveConfig(net.KeepAliveConfig) error
		}); ok {
			return tcp.SetKeepAliveConfig(k)
		}
	}
	return nil
}
