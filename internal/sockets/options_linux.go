package sockets

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h, which package syscall lacks: how long, in
// milliseconds, sent data may stay unacknowledged (tcp(7)).
const tcpUserTimeout = 18

func (o Options) set(conn net.Conn) error {
	raw := Raw(conn)
	if raw == nil {
		return nil
	}
	_, isTCP := conn.(*net.TCPConn)
	if IsDetached(conn) {
		isTCP = true
	}
	var err error
	controlErr := raw.Control(func(fd uintptr) { err = o.setDescriptor(int(fd), isTCP) })
	if controlErr != nil {
		return controlErr
	}
	return err
}

// setDescriptor sets what can be set and returns what cannot.
func (o Options) setDescriptor(fd int, isTCP bool) error {
	if !isTCP {
		if kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE); err == nil && kind != syscall.SOCK_STREAM {
			return ErrNotAStream
		}
		domain, _ := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_DOMAIN)
		isTCP = domain == syscall.AF_INET || domain == syscall.AF_INET6
	}
	unblock(uintptr(fd))
	var err error
	if size := o.SendBuffer; size > 0 {
		err = errors.Join(err, setOption(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, min(size, maxBuffer)))
	}
	if size := o.ReceiveBuffer; size > 0 {
		err = errors.Join(err, setOption(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, min(size, maxBuffer)))
	}
	if timeout := o.PeerTimeout; timeout > 0 && isTCP {
		err = errors.Join(err, setKeepAlive(fd, timeout),
			setOption(fd, syscall.IPPROTO_TCP, tcpUserTimeout, int(min(timeout, maxUserTimeout).Milliseconds())))
	}
	return err
}

func setKeepAlive(fd int, timeout time.Duration) error {
	third := int(keepAlive(timeout).Seconds())
	return errors.Join(
		setOption(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1),
		setOption(fd, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, third),
		setOption(fd, syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, third),
		setOption(fd, syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, keepAliveProbes))
}

func setOption(fd, level, option, value int) error {
	return os.NewSyscallError("setsockopt", syscall.SetsockoptInt(fd, level, option, value))
}
