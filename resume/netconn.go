package resume

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/libnet-go/libnet"
)

// NetConn returns the session as a connection, for what is made for those: a libnet.Session over it has groups, package
// mux, package monitor, rates and timeouts, and goes on over any number of connections. Its protocol's framing must be
// codec.Uint32BE: each of its messages is one of this session's, without that length, and as it is, whatever
// Config.Marshaler.
//
//	&resume.Server{Handler: func(s *resume.Session) { server.ServeConn(s.NetConn(), m) }} // one end; m is a mux.Mux
//	dialer.NewSession(client.Start(over).NetConn())                                        // the other
//
// What Read has returned is taken, and acknowledged, when Read is called for more: so the libnet.Session's handler has
// returned from it. Write waits while as much is unacknowledged as Config allows, and fails at its deadline, as which
// the libnet.Session has its WriteTimeout: set that longer than clients may be away with as much. CloseWrite is
// [Session.Shutdown] in the background, and Close is [Session.Close]. Read's last error is io.EOF where the peer ended
// the session, or both have; else the session's.
//
// Nobody else may Receive on the session, and it must have no handler for messages. Each call returns another
// connection: make one.
func (s *Session) NetConn() net.Conn { return &netConn{s: s, writing: make(chan struct{}, 1)} }

type netConn struct {
	s *Session

	writing chan struct{} // one element, put in by the Write whose turn it is, who has out
	out     []byte        // the beginning of a frame

	// Guarded by Session.mu.
	in                    []byte // what Read has not returned of a message, with its length
	lent                  bool   // Read has begun to return a message that is not counted as taken
	size                  int    // of that
	kind                  byte
	readUntil, writeUntil time.Time
	readTimer             *time.Timer // wakes who reads at readUntil; nil until there was such a time
	halfClosed            bool        // what is read from then on, nobody handles
	local, remote         net.Addr    // of the last connection that was asked
}

const lengthSize = 4

func (c *netConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s := c.s
	s.mu.Lock()
	if l, a := c.tookLastLocked(); a != nil {
		s.mu.Unlock()
		s.sendAck(l, a)
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if err := c.fillLocked(); err != nil {
		return 0, err
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

// tookLastLocked counts the message as taken whose last byte Read has returned.
func (c *netConn) tookLastLocked() (*link, *ack) {
	s := c.s
	if !c.lent || len(c.in) > 0 {
		return nil, nil
	}
	c.lent = false
	if c.halfClosed || s.phase >= ended { // nobody has handled it, or the peer was told without it
		return nil, nil
	}
	s.untaken--
	s.rare.takenBytes += int32(c.size)
	return s.dueLocked(s.rare.takenBytes >= s.ackEveryLocked().bytes, c.kind&flagAtOnce != 0)
}

// fillLocked waits for a message.
func (c *netConn) fillLocked() error {
	s := c.s
	r := s.rareLocked()
	for len(c.in) == 0 {
		switch {
		case s.phase >= ended:
			return c.endLocked()
		case isPast(c.readUntil):
			return c.opError("read", os.ErrDeadlineExceeded)
		case r.inbox.count() > 0:
			kind, msg := r.inbox.pop()
			c.kind, c.size, c.lent = kind, len(msg), true
			c.in = append(binary.BigEndian.AppendUint32(make([]byte, 0, lengthSize+len(msg)), uint32(len(msg))), msg...)
		default:
			r.arrived.Wait()
		}
	}
	return nil
}

// endLocked is what Read answers in the end.
func (c *netConn) endLocked() error {
	err := c.s.errLocked()
	switch {
	case is(err, io.EOF), is(err, libnet.ErrSessionClosed) && c.halfClosed:
		return io.EOF
	case is(err, libnet.ErrSessionClosed):
		return c.opError("read", net.ErrClosed)
	}
	return err
}

func (c *netConn) Write(p []byte) (n int, err error) {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	if err := c.mayWrite(0); err != nil {
		return 0, err
	}
	for rest := p; len(rest) > 0; {
		began := len(c.out)
		frame, used, err := c.cut(rest)
		if err == nil && frame != nil {
			err = c.send(frame[lengthSize:])
		}
		if err != nil {
			c.out = c.out[:began] // who tries again begins with what was not written
			return n, err
		}
		if frame != nil {
			c.out = c.out[:0]
		}
		n += used
		rest = rest[used:]
	}
	return n, nil
}

// mayWrite reports why nothing can be written of a message as long, though there were room. It is asked before there is
// a whole one.
func (c *netConn) mayWrite(length int64) error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if isPast(c.writeUntil) {
		return c.opError("write", os.ErrDeadlineExceeded)
	}
	if err := s.mayAcceptLocked(int(min(length, noBound))); err != libnet.ErrSessionBlocked {
		return err
	}
	return nil
}

// cut returns the frame that ends in p, and how much of p it has; nil where it does not end there: the rest comes with
// later calls.
func (c *netConn) cut(p []byte) (frame []byte, used int, err error) {
	if n := frameSize(p); len(c.out) == 0 && int64(len(p)) >= max(n, lengthSize) {
		return p[:n], int(n), nil
	}
	for used < len(p) {
		n := int(min(frameSize(c.out)-int64(len(c.out)), int64(len(p)-used)))
		c.out = append(c.out, p[used:used+n]...)
		used += n
		if len(c.out) >= lengthSize && int64(len(c.out)) == frameSize(c.out) {
			return c.out, used, nil
		}
	}
	return nil, used, c.mayWrite(frameSize(c.out) - lengthSize) // one that is too long is not waited for
}

// frameSize is that of the frame that begins with b, as far as b tells.
func frameSize(b []byte) int64 {
	if len(b) < lengthSize {
		return lengthSize
	}
	return lengthSize + int64(binary.BigEndian.Uint32(b))
}

// send is Session.SendContext of bytes, until the deadline.
func (c *netConn) send(msg []byte) error {
	s := c.s
	for {
		_, err := s.accept(kindMessage, msg, nil)
		if err != libnet.ErrSessionBlocked {
			return err
		}
		s.mu.Lock()
		changed, until := s.changeLocked(), c.writeUntil
		s.mu.Unlock()
		if _, err = s.accept(kindMessage, msg, nil); err != libnet.ErrSessionBlocked {
			return err
		}
		if isPast(until) {
			return c.opError("write", os.ErrDeadlineExceeded)
		}
		await(changed, until)
	}
}

func await(changed <-chan struct{}, until time.Time) {
	if until.IsZero() {
		<-changed
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
}

func isPast(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (c *netConn) CloseWrite() error {
	c.s.mu.Lock()
	c.halfClosed = true
	c.s.rareLocked().takesNoMore = true
	c.s.mu.Unlock()
	c.s.drain()
	return nil
}

func (c *netConn) Close() error {
	_ = c.s.Close() // one that has ended has told why
	return c.SetReadDeadline(time.Time{})
}

func (c *netConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *netConn) SetReadDeadline(t time.Time) error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	c.readUntil = t
	s.rareLocked().arrived.Broadcast()
	switch left := time.Until(t); {
	case c.readTimer != nil && (t.IsZero() || left <= 0):
		c.readTimer.Stop()
	case t.IsZero() || left <= 0:
	case c.readTimer == nil:
		c.readTimer = time.AfterFunc(left, c.wakeReaders)
	default:
		c.readTimer.Reset(left) // who was woken by what it was set to before waits on
	}
	return nil
}

func (c *netConn) wakeReaders() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.rareLocked().arrived.Broadcast()
}

func (c *netConn) SetWriteDeadline(t time.Time) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.writeUntil = t
	c.s.changedLocked() // who waits looks again
	return nil
}

func (c *netConn) LocalAddr() net.Addr {
	c.askConn()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return orUnknown(c.s, c.local)
}

// RemoteAddr is the connection's, or that of the last one.
func (c *netConn) RemoteAddr() net.Addr {
	c.askConn()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return orUnknown(c.s, c.remote)
}

func (c *netConn) askConn() {
	conn := c.s.Conn()
	if conn == nil {
		return
	}
	local, remote := conn.LocalAddr(), conn.RemoteAddr() // a net.Conn may be the user's
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.local, c.remote = local, remote
}

// An address is that of a session that has had no connection yet.
type address uint64

func (address) Network() string  { return "resume" }
func (a address) String() string { return fmt.Sprintf("session %d", uint64(a)) }

func orUnknown(s *Session, a net.Addr) net.Addr {
	if a == nil {
		return address(s.id)
	}
	return a
}

func (c *netConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "resume", Err: err}
}
