//go:build unix

package sockets

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

// A Secured is a TLS server's conn that can be read and written without waiting, through its [Descriptor]. Its own Read
// and Write wait, as those of any conn do, and may be mixed with those of the descriptor.
//
// One caller does the handshake, by [Descriptor.Handshake]; all others wait for that, or do nothing before. After
// [SecureWaiting] it is the first of those who would wait.
type Secured struct {
	// Immutable after Secure.
	tls   *tls.Conn
	below net.Conn
	sock  Descriptor

	wire wire // what is below tls

	err error // why the handshake failed; immutable once that is over, as asksRand

	reading lock.Mutex[decryptLock]
	// reading guards the following.
	failed error // what a read found behind what it brought

	left     atomic.Bool // a read left something decrypted behind, which the kernel does not know of
	attached bool        // below stays so behind the handshake, until LetGo: an HTTP server waits in it next; immutable after Secure
	asksRand bool        // each record that is written asks the config's Rand
}

// decryptLock is the class of the lock in docs/locks.md.
type decryptLock struct{}

var _ net.Conn = (*Secured)(nil)

// Secure returns a TLS server's conn over a TCP or Unix conn, which it takes over from package net when the handshake
// is over. Over any other it is that of crypto/tls.
func Secure(conn net.Conn, config *tls.Config, listenAddr func() net.Addr, slots Slots) net.Conn {
	return secured(Attach(conn, listenAddr), config, &handshake{slots: slots})
}

// SecureWaiting is Secure for a goroutine that waits in it. The conn stays package net's, and who first uses it does
// the handshake.
func SecureWaiting(conn net.Conn, config *tls.Config, slots Slots) net.Conn {
	return secured(conn, config, &handshake{slots: slots, byUse: true})
}

func secured(below net.Conn, config *tls.Config, first *handshake) net.Conn {
	d := Of(below)
	if d == nil {
		return tls.Server(below, config)
	}
	c := &Secured{below: below, wire: wire{below: below, raw: d.raw}}
	first.over = make(chan struct{})
	c.wire.handshake.Store(first)
	c.tls = tls.Server(&c.wire, config)
	c.sock = Descriptor{d.raw, c}
	return c
}

// isReady reports whether the handshake is over, and why it failed.
func (c *Secured) isReady() (ready bool, err error) {
	if c.wire.handshake.Load() != nil {
		return false, nil
	}
	return true, c.err
}

// Handshake waits for the handshake's end and returns what became of it.
func (c *Secured) Handshake() error {
	if s := c.wire.handshake.Load(); s != nil {
		if s.byUse {
			return c.doHandshake()
		}
		<-s.over
	}
	return c.err
}

// ConnectionState is that of crypto/tls.
func (c *Secured) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// NetConn returns what c runs on.
func (c *Secured) NetConn() net.Conn { return c.below }

func (c *Secured) LocalAddr() net.Addr  { return c.below.LocalAddr() }
func (c *Secured) RemoteAddr() net.Addr { return c.below.RemoteAddr() }

// Deadlines bound the waiting. They do not reach crypto/tls, which could not go on after one.

func (c *Secured) SetDeadline(t time.Time) error      { return c.below.SetDeadline(t) }
func (c *Secured) SetReadDeadline(t time.Time) error  { return c.below.SetReadDeadline(t) }
func (c *Secured) SetWriteDeadline(t time.Time) error { return c.below.SetWriteDeadline(t) }

// read decrypts into p what has arrived. At n == 0 without an error there is nothing, and an event tells of what comes
// then. With held only what has been read from the kernel is decrypted. The handshake has succeeded.
func (c *Secured) read(fd int, p []byte, held bool) (n int, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if err := c.failed; err != nil {
		return 0, err
	}
	c.wire.startReading(fd, held)
	lent := lendBuffer(c.tls)
	n, err = c.decrypt(p)
	takeBuffer(c.tls, lent)
	if answered := c.wire.sendAnswers(fd); err == nil {
		err = answered
	}
	c.left.Store(n > 0 && (n == len(p) || err != nil))
	if n > 0 {
		c.failed, err = err, nil
	}
	return n, err
}

// decrypt has crypto/tls read until p is full or the kernel has nothing. A read that brings a part of a record and less
// than it asked for may end at urgent data: where it comes to nothing else the kernel is asked again.
func (c *Secured) decrypt(p []byte) (n int, err error) {
	in := &c.wire.in
	for n < len(p) {
		k, err := c.tls.Read(p[n:])
		n += k
		in.took()
		switch {
		case err == errNothing:
			in.whole = 0
			if n > 0 || !c.wire.readsOn() {
				return n, nil
			}
		case err != nil:
			return n, err
		case c.wire.dry && in.none() && n < len(p):
			return n, nil
		}
	}
	in.whole = manyRecords // and perhaps a part of one that is decrypted
	return n, nil
}

// recordSize is the largest payload of a TLS record (RFC 8446, 5.1).
const recordSize = 16 << 10

// write encrypts p and writes what the kernel takes at once, a record at a time. What is encrypted and not taken is
// kept for the next write, whose p begins with what this one has not reported as written. The handshake has succeeded.
func (c *Secured) write(fd int, p []byte) (n int, err error) {
	for {
		taken, full, err := c.wire.send(fd)
		n = min(n+taken, len(p))
		if err != nil || full || n == len(p) {
			return n, err
		}
		k := min(len(p)-n, recordSize)
		if _, err := c.tls.Write(p[n : n+k]); err != nil {
			return n, err
		}
		c.wire.standsFor(k)
	}
}

// Read waits until there is something to read.
func (c *Secured) Read(p []byte) (n int, err error) {
	if err := c.Handshake(); err != nil || len(p) == 0 {
		return 0, err
	}
	rawErr := c.sock.raw.Read(func(fd uintptr) bool {
		n, err = c.read(int(fd), p, false)
		return n > 0 || err != nil
	})
	if err == nil {
		err = rawErr
	}
	return n, err
}

// Write waits until the kernel has taken p. After an error of a deadline p[n:] is what may be written next.
func (c *Secured) Write(p []byte) (n int, err error) {
	if err := c.Handshake(); err != nil || len(p) == 0 {
		return 0, err
	}
	rawErr := c.sock.raw.Write(func(fd uintptr) bool {
		var k int
		k, err = c.write(int(fd), p[n:])
		n += k
		return n == len(p) || err != nil
	})
	if err == nil {
		err = rawErr
	}
	return n, err
}

// closeNotifyWait is how long a close_notify may wait for its peer. It is that of crypto/tls.
const closeNotifyWait = 5 * time.Second

var errNotReady = errors.New("libnet: CloseWrite before the end of the TLS handshake")

// CloseWrite sends close_notify behind what was written, waiting for room. What is below stays open.
func (c *Secured) CloseWrite() error {
	full, err := c.closeNotify()
	if full && err == nil {
		_ = c.below.SetWriteDeadline(time.Now().Add(closeNotifyWait))
		err = c.flush()
	}
	return err
}

// closeNotify is CloseWrite that does not wait, also not for one that does; full says that there was no room.
func (c *Secured) closeNotify() (full bool, err error) {
	if ready, err := c.isReady(); !ready || err != nil {
		return false, errNotReady
	}
	if err := c.tls.CloseWrite(); err != nil {
		return false, err
	}
	rawErr := c.sock.raw.Control(func(fd uintptr) { _, full, err = c.wire.send(int(fd)) })
	if err == nil {
		err = rawErr
	}
	return full, err
}

// flush writes what is kept, waiting for room.
func (c *Secured) flush() (err error) {
	rawErr := c.sock.raw.Write(func(fd uintptr) bool {
		var full bool
		_, full, err = c.wire.send(int(fd))
		return !full || err != nil
	})
	if err == nil {
		err = rawErr
	}
	return err
}

// Close closes the connection and does not wait. It sends close_notify if the peer has taken all that was encrypted
// before and there is room: else the peer is to see that the stream was cut off.
func (c *Secured) Close() error {
	if ready, err := c.isReady(); !ready || err != nil {
		return c.below.Close()
	}
	return c.tls.Close()
}
