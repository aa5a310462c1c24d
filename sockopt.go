package libnet

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"net"
	"reflect"
	"syscall"
	"time"
)

// errNotAStream is what a session over a network of messages ends with before it begins: a read that asks for less
// than a message would lose the rest of it.
var errNotAStream = errors.New("libnet: a session needs a stream, as tcp and unix are; this network keeps messages apart")

// transport is the conn below conn, by its own word, or conn itself.
func transport(conn net.Conn) (below net.Conn) {
	defer func() {
		if recover() != nil || below == nil {
			below = conn
		}
	}()
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return conn
}

// maxWrapped bounds how many conns may lie in one another: one may say that it wraps itself.
const maxWrapped = 16

// layers yields conn, what it wraps, what that wraps, and so on.
func layers(conn net.Conn) iter.Seq[net.Conn] {
	return func(yield func(net.Conn) bool) {
		for range maxWrapped {
			if conn == nil || !yield(conn) {
				return
			}
			conn = wrapped(conn)
		}
	}
}

// rawConn returns the handle of the outermost descriptor in conn; nil if there is none, or if a method of conn panics.
func rawConn(conn net.Conn) (raw syscall.RawConn) {
	defer func() {
		if recover() != nil {
			raw = nil
		}
	}()
	for c := range layers(conn) {
		if sc, ok := c.(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				return raw
			}
		}
	}
	return nil
}

// wrapped returns the conn that conn wraps, nil if it does not say: NetConn says so, and an embedded field does.
func wrapped(conn net.Conn) net.Conn {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	v := reflect.Indirect(reflect.ValueOf(conn))
	if v.Kind() != reflect.Struct {
		return nil
	}
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Anonymous && f.IsExported() {
			if inner, ok := v.Field(i).Interface().(net.Conn); ok {
				return inner
			}
		}
	}
	return nil
}

// setSocketOptions bounds what a silent peer can cost: how long it stays unnoticed and how much of the kernel's memory
// it can pin. It also takes back what made a socket blocking, since the waiting of package net and all deadlines rest
// on that. What the kernel refuses is logged and is no error. A conn that is no stream is one, and so is what a conn's own
// SetWriteBuffer answers.
func setSocketOptions(conn net.Conn, c *Config) error {
	if err := askSendBuffer(conn, c.sendBuffer()); err != nil {
		return err
	}
	err := trySocketOptions(conn, c)
	if err == errNotAStream {
		return err
	}
	if err != nil {
		logRefusedOption(c, err)
	}
	return nil
}

// askSendBuffer has a conn that is not one of package net bound its send buffer itself, if it can.
func askSendBuffer(conn net.Conn, size int) (err error) {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return nil
	}
	b, ok := conn.(interface{ SetWriteBuffer(int) error })
	if !ok || size == 0 {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w in a connection: %s", ErrPanic, describe(r))
		}
	}()
	return b.SetWriteBuffer(size)
}

// trySocketOptions calls methods of the user's conn, which may panic.
func trySocketOptions(conn net.Conn, c *Config) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w in a connection: %s", ErrPanic, describe(r))
		}
	}()
	return setOptions(conn, c)
}

// optionLines limits the lines about refused options, of all servers and dialers.
var optionLines lineLimit

func logRefusedOption(c *Config, err error) {
	dialLog.write(&optionLines, c.logger(), slog.LevelWarn, "libnet: socket option refused", slog.String("error", errorText(err)))
}

// What the kernel takes at most. Beyond, it would refuse the option.
const (
	maxKeepAlive   = 32767 * time.Second // MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL of Linux
	maxUserTimeout = math.MaxInt32 * time.Millisecond
	maxSendBuffer  = math.MaxInt32
)

// keepAlive returns how long a silent connection waits for its first probe, and how long for each answer: a third of
// timeout, so that with two probes unanswered the whole of it has passed.
func keepAlive(timeout time.Duration) time.Duration {
	return min(max(timeout/3, time.Second), maxKeepAlive).Truncate(time.Second)
}

// keepAliveProbes is how many probes a peer leaves unanswered before it counts as gone.
const keepAliveProbes = 2
