package libnet

import (
	"net"
	"syscall"
	"time"
)

// rawConn returns the descriptor's handle of conn or of what a TLS conn runs on; nil if there is none.
func rawConn(conn net.Conn) syscall.RawConn {
	sc, ok := transport(conn).(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// transport is the conn below TLS, or conn itself.
func transport(conn net.Conn) net.Conn {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return conn
}

// setSocketOptions bounds what a silent peer can cost: how long it stays unnoticed and how much of
// the kernel's memory it can pin.
func setSocketOptions(conn net.Conn, c *Config) error {
	conn = transport(conn)
	if size := c.sendBuffer(); size > 0 {
		if b, ok := conn.(interface{ SetWriteBuffer(int) error }); ok {
			if err := b.SetWriteBuffer(size); err != nil {
				return err
			}
		}
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	timeout := c.peerTimeout()
	if timeout == 0 {
		return nil
	}
	// A third of the time before the first probe and a third between probes: with two probes
	// unanswered the whole of it has passed.
	third := max(timeout/3, time.Second).Truncate(time.Second)
	err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: third, Interval: third, Count: 2})
	if err != nil {
		return err
	}
	return setUserTimeout(tcp, timeout)
}
