package libnettest

import (
	"errors"
	"net"
	"os"
	"time"
)

// A FaultConn is a conn whose calls fail as a [Faults] says. It hides what else the conn it wraps can
// do, such as SyscallConn or ReadFrom, so that every byte goes through a Read or Write that can fail.
// Its methods may be called by any goroutine.
type FaultConn struct {
	conn   net.Conn // immutable
	faults *Faults  // immutable

	signal // its mutex guards the following

	closed                      bool
	readDeadline, writeDeadline deadline // of calls that a fault blocks; conn has its own
}

// Read reads, or does what its fault says.
func (c *FaultConn) Read(p []byte) (int, error) {
	return c.move(OpRead, p, c.conn.Read, &c.readDeadline)
}

// Write writes, or does what its fault says.
func (c *FaultConn) Write(p []byte) (int, error) {
	return c.move(OpWrite, p, c.conn.Write, &c.writeDeadline)
}

func (c *FaultConn) move(op Op, p []byte, work func([]byte) (int, error), d *deadline) (n int, err error) {
	fault, fails := c.faults.next(op)
	if !fails {
		return work(p)
	}
	if fault.N > 0 {
		if n, err = work(p[:min(fault.N, len(p))]); err != nil {
			return n, err
		}
	}
	switch {
	case fault.Panic != nil:
		panic(fault.Panic)
	case fault.Block:
		return n, &net.OpError{Op: op.String(), Net: "fault", Addr: c.RemoteAddr(), Err: c.block(d)}
	}
	return n, fault.Err
}

func (c *FaultConn) block(d *deadline) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return net.ErrClosed
		case d.expired:
			return os.ErrDeadlineExceeded
		}
		c.waitLocked()
	}
}

// Close closes the conn and ends calls that a fault blocks. It may then return a fault's error.
func (c *FaultConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.readDeadline.stopLocked()
	c.writeDeadline.stopLocked()
	c.notifyLocked()
	c.mu.Unlock()
	return c.after(OpClose, c.conn.Close())
}

// CloseWrite is the half-close of the conn, or [errors.ErrUnsupported] where that has none.
func (c *FaultConn) CloseWrite() error {
	err := errors.ErrUnsupported
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		err = half.CloseWrite()
	}
	return c.after(OpCloseWrite, err)
}

// after is for calls that do their work all the same.
func (c *FaultConn) after(op Op, err error) error {
	fault, fails := c.faults.next(op)
	if !fails {
		return err
	}
	if fault.Panic != nil {
		panic(fault.Panic)
	}
	return fault.Err
}

// SetDeadline sets both deadlines, or returns a fault's error.
func (c *FaultConn) SetDeadline(t time.Time) error {
	return c.setDeadlines(t, c.conn.SetDeadline, &c.readDeadline, &c.writeDeadline)
}

// SetReadDeadline sets the deadline of Read, or returns a fault's error.
func (c *FaultConn) SetReadDeadline(t time.Time) error {
	return c.setDeadlines(t, c.conn.SetReadDeadline, &c.readDeadline)
}

// SetWriteDeadline sets the deadline of Write, or returns a fault's error.
func (c *FaultConn) SetWriteDeadline(t time.Time) error {
	return c.setDeadlines(t, c.conn.SetWriteDeadline, &c.writeDeadline)
}

func (c *FaultConn) setDeadlines(t time.Time, work func(time.Time) error, deadlines ...*deadline) error {
	if fault, fails := c.faults.next(OpSetDeadline); fails {
		if fault.Panic != nil {
			panic(fault.Panic)
		}
		return fault.Err
	}
	c.mu.Lock()
	if !c.closed {
		for _, d := range deadlines {
			d.setLocked(&c.signal, t)
		}
	}
	c.mu.Unlock()
	return work(t)
}

// LocalAddr is the conn's.
func (c *FaultConn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr is the conn's.
func (c *FaultConn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }
