package ws

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/lock"
)

// A conn is a WebSocket as a session sees it: a net.Conn on which one message is one frame of protocol. All
// methods may be called by any goroutine; calls of Read take turns, and calls of Write.
//
// A deadline that ends a Read leaves the conn whole. One that ends a Write, as any error of Write, ends
// the conn's output, as with crypto/tls.
type conn struct {
	// Immutable after newConn.
	link      *link
	protocols *protocols
	request   *http.Request // nil on the client's side
	agreement agreement

	session atomic.Pointer[libnet.Session] // nil until it is made; tells why the conn is closed
	wrapped atomic.Bool                    // WrapProtocol was called: a session is being made
	limit   atomic.Int64                   // the longest message; set when the session's codec is made
	rate    atomic.Pointer[frameRate]      // nil without a limit; set with it
	taken   atomic.Uint64                  // bytes of the frames that the session has cut from what Read returned
	took    chan struct{}                  // one element; sent when taken grows, received by the receive loop

	beginOnce sync.Once     // starts the receive loop
	reader    *bufio.Reader // the receive loop's; nil once that has begun

	reading      chan struct{} // one element, put in by the Read whose turn it is
	readDeadline deadline
	in           inbox

	writeMu lock.Mutex[writerLock]
	// writeMu guards the following.
	out splitter
}

var _ libnet.MessageConn = (*conn)(nil)

// newConn makes a conn of an upgraded connection. Without a reader it makes one.
func newConn(l *link, reader *bufio.Reader, protocols *protocols, agreed agreement) *conn {
	if reader == nil {
		reader = bufio.NewReader(nil)
	}
	c := &conn{link: l, protocols: protocols, agreement: agreed, reader: reader}
	c.out = splitter{link: l, opcode: protocols.opcode()}
	c.reading, c.took = make(chan struct{}, 1), make(chan struct{}, 1)
	c.in.init()
	return c
}

// WrapProtocol implements libnet.MessageConn.
func (c *conn) WrapProtocol(p libnet.Protocol) libnet.Protocol {
	c.wrapped.Store(true)
	return c.protocols.wrap(p)
}

// SetSession is called by libnet when the session is made, before anything else can end it.
func (c *conn) SetSession(s *libnet.Session, _ inside.Call) { c.session.Store(s) }

// LastInput is when something last came from the peer, pings and parts of messages included: now, while a
// message waits to be read. The zero time is before anything has come.
func (c *conn) LastInput(inside.Call) time.Time {
	if c.in.waits() || c.rate.Load().keepsWaiting() {
		return time.Now()
	}
	return c.link.inputAt()
}

// DropUnread is for a session that has ended.
func (c *conn) DropUnread(inside.Call) int { return c.in.drop() }

// NetConn is the socket below: the session sets its options. It also makes the session write at most
// 16 KiB at a time, as to TLS, so that WriteTimeout bounds that much and not a whole batch.
//
// A server that takes no session asks for it, too, and only to close it: before the protocol is wrapped. The handler
// does that, once it has told the peer why.
func (c *conn) NetConn() net.Conn {
	if !c.link.client && !c.wrapped.Load() {
		return unclosed{c.link.conn}
	}
	return c.link.socket()
}

type unclosed struct{ net.Conn }

func (unclosed) Close() error { return nil }

// ConnectionState is for Session.TLS; the zero value without TLS.
func (c *conn) ConnectionState() tls.ConnectionState {
	if t, ok := c.link.conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		return t.ConnectionState()
	}
	return tls.ConnectionState{}
}

func (c *conn) LocalAddr() net.Addr  { return c.link.conn.LocalAddr() }
func (c *conn) RemoteAddr() net.Addr { return c.link.conn.RemoteAddr() }

// Read reads frames that the receive loop has left. Once the input has ended, no deadline keeps what is left from being
// read: libnet lets one pass to find out what has arrived.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.begin()
	passed := c.readDeadline.wait()
	if !c.takeTurn(passed) {
		return 0, c.readTooLate()
	}
	defer func() { <-c.reading }()
	for {
		if isClosed(passed) && !c.in.hasEnded() { // in this order: an end may come before what sets a deadline because of it
			return 0, opError("read", os.ErrDeadlineExceeded)
		}
		if n, err := c.in.take(p); n > 0 || err != nil {
			return n, err
		}
		select {
		case <-c.in.filled:
		case <-passed:
		case <-c.in.closed:
		}
	}
}

func (c *conn) takeTurn(passed <-chan struct{}) bool {
	select {
	case c.reading <- struct{}{}:
		return true
	default:
	}
	select {
	case c.reading <- struct{}{}:
		return true
	case <-passed:
	case <-c.in.closed:
	}
	return false
}

// readTooLate is for a Read whose turn did not come.
func (c *conn) readTooLate() error {
	if isClosed(c.in.closed) {
		return c.in.ended()
	}
	return opError("read", os.ErrDeadlineExceeded)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Write sends the messages whose frames end in p, and keeps what comes behind the last for the next Write.
func (c *conn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.out.split(p)
	err := c.link.flush()
	if err == nil && c.out.dropped {
		err = c.finished()
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// finished is what Write answers behind the close frame: if the peer's was first, the end that Read answers behind the
// last message. The receive loop is about to tell, once it has written the answer.
func (c *conn) finished() error {
	bound := time.NewTimer(answerTimeout)
	defer bound.Stop()
	select {
	case <-c.in.over:
		return c.in.ended()
	case <-c.in.closed:
		return opError("write", net.ErrClosed)
	case <-bound.C:
		return opError("write", syscall.EPIPE)
	}
}

// CloseWrite sends the close frame. The peer answers with its own, which Read returns as io.EOF.
func (c *conn) CloseWrite() error {
	c.rate.Load().lift()
	c.link.finish(c.sessionCloseFrame())
	c.link.flushAnswers()
	return nil
}

// Close closes the connection without waiting for the peer. It sends a close frame if there is room for it.
func (c *conn) Close() (err error) {
	if !c.in.close(opError("read", net.ErrClosed)) {
		return opError("close", net.ErrClosed)
	}
	var frame []byte
	defer func() { err = c.link.close(frame) }() // also when the reason's own methods end the goroutine
	frame = c.sessionCloseFrame()
	return nil
}

// Refuse closes a conn of which no session was made, and tells the peer why.
func (c *conn) Refuse(reason error, _ inside.Call) {
	if c.in.close(opError("read", net.ErrClosed)) {
		_ = c.link.close(c.closeFrame(reason))
	}
}

// sessionCloseFrame tells the peer why the session ends, unless it has been told.
func (c *conn) sessionCloseFrame() []byte {
	if c.link.isFinished() {
		return nil
	}
	var reason error
	if s := c.session.Load(); s != nil {
		reason = s.Err()
	}
	return c.closeFrame(reason)
}

func (c *conn) closeFrame(reason error) []byte { return boundedCloseFrame(reason, c.link.client) }

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline applies to a Read that is waiting, too.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.readDeadline.set(t)
	return nil
}

// SetWriteDeadline applies to a Write that is waiting, too.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.link.SetWriteDeadline(t) }

// opError asks the connection for no addresses: it may be one of the user's.
func opError(op string, err error) error { return &net.OpError{Op: op, Net: "websocket", Err: err} }
