//go:build schedules

package schedules

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

// A conn is a connection in memory whose calls are yield points. What is written to it stays in wire.
type conn struct {
	mu sync.Mutex
	// mu guards the following.
	in, out direction
	wire    []byte
	room    int // how many bytes more it takes before the peer reads
	unread  []byte
	closed  bool

	writers int           // calls of Write that are at work
	mixed   bool          // there were two at a time
	writing time.Time     // when the last Write began
	longest time.Duration // that a Write took
}

// A direction is what its calls wait for.
type direction struct {
	changed  chan struct{} // closed at each change
	ended    bool
	deadline time.Time
}

func newConn(room int) *conn {
	return &conn{room: room, in: direction{changed: make(chan struct{})}, out: direction{changed: make(chan struct{})}}
}

func yield(call string) {
	if lock.Yield != nil {
		lock.Yield(call, "", always)
	}
}

// changedLocked wakes all who wait in a call.
func (d *direction) changedLocked() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// waitLocked releases mu until something changes in a direction or its deadline has passed.
func (c *conn) waitLocked(d *direction, call string) {
	changed, deadline := d.changed, d.deadline
	c.mu.Unlock()
	defer c.mu.Lock()
	defer yield(call)
	if deadline.IsZero() {
		<-changed
		return
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
}

func passed(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

func (c *conn) Write(p []byte) (n int, err error) {
	yield("conn: write")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = time.Now()
	c.writers++
	c.mixed = c.mixed || c.writers > 1
	defer func() {
		c.longest = max(c.longest, time.Since(c.writing))
		c.writers--
	}()
	for {
		switch {
		case c.closed || c.out.ended:
			return n, net.ErrClosed
		case passed(c.out.deadline):
			return n, os.ErrDeadlineExceeded
		}
		some := min(c.room, len(p)-n)
		c.wire = append(c.wire, p[n:n+some]...)
		c.room -= some
		if n += some; n == len(p) {
			return n, nil
		}
		c.waitLocked(&c.out, "conn: write goes on")
	}
}

func (c *conn) Read(p []byte) (int, error) {
	yield("conn: read")
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case len(c.unread) > 0:
			n := copy(p, c.unread)
			c.unread = c.unread[n:]
			return n, nil
		case c.in.ended:
			return 0, io.EOF
		case passed(c.in.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		c.waitLocked(&c.in, "conn: read goes on")
	}
}

func (c *conn) Close() error {
	yield("conn: close")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	c.in.changedLocked()
	c.out.changedLocked()
	return nil
}

func (c *conn) CloseWrite() error {
	yield("conn: close-write")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.out.ended = true
	c.out.changedLocked()
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	yield("conn: read-deadline")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.deadline = t
	c.in.changedLocked()
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		yield("conn: no-write-deadline")
	} else {
		yield("conn: write-deadline")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.deadline = t
	c.out.changedLocked()
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) LocalAddr() net.Addr  { return addr("here") }
func (c *conn) RemoteAddr() net.Addr { return addr("there") }

type addr string

func (a addr) Network() string { return "memory" }
func (a addr) String() string  { return string(a) }

// What the peer does, and what a test asks.

func (c *conn) peerReads(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room += n
	c.out.changedLocked()
}

func (c *conn) peerSends(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unread = append(c.unread, p...)
	c.in.changedLocked()
}

func (c *conn) peerEnds() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.ended = true
	c.in.changedLocked()
}

func (c *conn) written() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wire
}

// longestWrite is how long a Write waited at most, or does.
func (c *conn) longestWrite() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writers > 0 {
		return max(c.longest, time.Since(c.writing))
	}
	return c.longest
}

func (c *conn) blocked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writers > 0
}

func (c *conn) wasMixed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mixed
}
