package ws

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
)

// A conn is a WebSocket as a session sees it: a net.Conn on which one message is one frame of protocol. All
// methods may be called by any goroutine; calls of Read take turns, and calls of Write.
//
// A deadline that ends a Read leaves the conn whole. One that ends a Write, as any error of Write, ends
// the conn's output, as with crypto/tls.
type conn struct {
	// Immutable after newConn.
	ws        *websocket.Conn
	link      *link
	client    bool
	protocols *protocols

	session   atomic.Pointer[libnet.Session] // nil until it is made; tells why the conn is closed
	inner     *protocol                      // set by WrapProtocol, before any Read or Write
	startOnce sync.Once                      // starts the receive loop

	reading      chan struct{} // one element, put in by the Read whose turn it is
	readDeadline deadline
	in           inbox

	writeMu sync.Mutex
	// writeMu guards the following.
	out splitter
}

var _ libnet.MessageConn = (*conn)(nil)

func newConn(ws *websocket.Conn, l *link, client bool, protocols *protocols) *conn {
	c := &conn{ws: ws, link: l, client: client, protocols: protocols}
	c.out = splitter{ws: ws, typ: protocols.messageType()}
	c.reading = make(chan struct{}, 1)
	c.in.init()
	return c
}

// WrapProtocol implements libnet.MessageConn.
func (c *conn) WrapProtocol(p libnet.Protocol) libnet.Protocol {
	c.inner = c.protocols.wrap(p)
	return c.inner
}

// NetConn is the socket below: the session sets its options. It also makes the session write at most
// 16 KiB at a time, as to TLS, so that WriteTimeout bounds that much and not a whole batch.
func (c *conn) NetConn() net.Conn { return c.link.socket() }

// ConnectionState is for Session.TLS; the zero value without TLS.
func (c *conn) ConnectionState() tls.ConnectionState {
	if t, ok := c.link.Conn.(*tls.Conn); ok {
		return t.ConnectionState()
	}
	return tls.ConnectionState{}
}

func (c *conn) LocalAddr() net.Addr  { return c.link.LocalAddr() }
func (c *conn) RemoteAddr() net.Addr { return c.link.RemoteAddr() }

// Read reads frames that the receive loop has left. The loop begins with the first Read.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.startOnce.Do(c.startReceiving)
	passed := c.readDeadline.wait()
	select {
	case c.reading <- struct{}{}:
		defer func() { <-c.reading }()
	case <-passed:
	case <-c.in.closed:
	}
	for {
		select {
		case <-passed:
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		default:
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

// Write sends the messages whose frames end in p, and keeps what comes behind the last for the next Write.
func (c *conn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	err := c.out.split(p)
	if flushed := c.link.flush(); flushed != nil {
		err = flushed
	} else if err == nil && c.link.isFinished() {
		err = net.ErrClosed // p may have come behind the close frame, where the link drops it
	}
	if err != nil {
		return 0, c.writeError(err)
	}
	return len(p), nil
}

// writeError is what Write answers when the output has failed with err. After the close frame of a peer that
// is io.EOF, and not before Read has answered that, too: an error of Write ends the session, and what
// the peer sent before its close frame is still to be received.
func (c *conn) writeError(err error) error {
	if !errors.Is(err, net.ErrClosed) {
		return err
	}
	bound := time.NewTimer(answerTimeout)
	defer bound.Stop()
	select {
	case <-c.in.drained:
		return c.in.ended()
	case <-c.in.closed:
	case <-bound.C:
	}
	return err
}

// CloseWrite sends the close frame. The peer answers with its own, which Read returns as io.EOF.
func (c *conn) CloseWrite() error {
	c.link.finish(c.closeFrame())
	c.link.flushAnswers()
	return nil
}

// Close closes the connection without waiting for the peer. It sends a close frame if there is room for it.
func (c *conn) Close() error {
	closed := c.opError("read", net.ErrClosed)
	if !c.in.close(closed) {
		return c.opError("close", net.ErrClosed)
	}
	err := c.link.close(c.closeFrame())
	_ = c.ws.CloseNow() // frees what the library holds: the connection is closed already
	return err
}

// closeFrame tells the peer why the session ends.
func (c *conn) closeFrame() []byte {
	e := websocket.CloseError{Code: websocket.StatusPolicyViolation} // refused before its handler ran
	if s := c.session.Load(); s != nil {
		e = closeError(s.Err())
	}
	return appendCloseFrame(nil, e, c.client)
}

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	c.readDeadline.set(t)
	return c.link.SetWriteDeadline(t)
}

// SetReadDeadline applies to a Read that is waiting, too.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.readDeadline.set(t)
	return nil
}

// SetWriteDeadline applies to a Write that is waiting, too.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.link.SetWriteDeadline(t) }

func (c *conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "websocket", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// background is for the library's calls: it closes the WebSocket when a context ends, so none does.
var background = context.Background()
