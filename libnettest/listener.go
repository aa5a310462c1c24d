package libnettest

import (
	"net"
	"syscall"

	"github.com/libnet-go/libnet/internal/usercode"
)

// A Listener is a [net.Listener] in memory: Accept returns what Dial and Push put in, in that order,
// and then blocks until there is more or Close. Its methods may be called by any goroutine.
type Listener struct {
	signal // its mutex guards the following

	queue   []accepted
	accepts int
	closed  bool
}

type accepted struct {
	conn net.Conn
	err  error
}

// NewListener returns a listener with nothing to accept.
func NewListener() *Listener { return &Listener{} }

// Dial returns the client's end of a [Pipe] whose other end Accept will return. Like a dial to a
// listening socket it does not wait for Accept.
func (l *Listener) Dial() (net.Conn, error) { return l.DialFrom(pipeAddr{}) }

// DialFrom is [Listener.Dial] by a client with this address: it is the RemoteAddr of the conn that
// Accept returns, for servers that look at it.
func (l *Listener) DialFrom(client net.Addr) (net.Conn, error) {
	a, b := newPipe(defaultPipeSize, client, l.Addr())
	if !l.push(accepted{conn: b}) {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Source: client, Addr: l.Addr(), Err: syscall.ECONNREFUSED}
	}
	return a, nil
}

// Push makes one Accept return conn and err as they are. A series of calls is a script, such as one
// error for each thing that can happen to accept(2) and then a conn:
//
//	listener.Push(nil, syscall.EMFILE)
//	listener.Push(nil, syscall.ECONNABORTED)
//	listener.Push(conn, nil)
//
// On a closed listener it closes conn.
func (l *Listener) Push(conn net.Conn, err error) {
	if step := (accepted{conn, err}); !l.push(step) {
		step.refuse()
	}
}

func (l *Listener) push(step accepted) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.queue = append(l.queue, step)
	l.notifyLocked()
	return true
}

// Accept returns the next of what Dial and Push put in. After Close it fails with [net.ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepts++
	for {
		switch {
		case l.closed:
			return nil, l.errClosed("accept")
		case len(l.queue) > 0:
			next := l.queue[0]
			l.queue[0] = accepted{} // the array must not keep what was accepted
			l.queue = l.queue[1:]
			return next.conn, next.err
		}
		l.waitLocked()
	}
}

// Accepts returns how many calls of Accept there were, one that is waiting included.
func (l *Listener) Accepts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepts
}

// Close ends the Accept calls that wait. The peers of conns that nobody accepted are reset, as the
// system does.
func (l *Listener) Close() error {
	l.mu.Lock()
	queue, closed := l.queue, l.closed
	l.queue, l.closed = nil, true
	l.notifyLocked()
	l.mu.Unlock()
	if closed {
		return l.errClosed("close")
	}
	for _, step := range queue {
		step.refuse()
	}
	return nil
}

// Addr is of the network "pipe".
func (l *Listener) Addr() net.Addr { return pipeAddr{} }

func (l *Listener) errClosed(op string) error {
	return &net.OpError{Op: op, Net: "pipe", Addr: l.Addr(), Err: net.ErrClosed}
}

func (a accepted) refuse() {
	switch conn := a.conn.(type) {
	case nil:
	case *PipeConn:
		if conn != nil { // a script may hold even that
			conn.Reset()
		}
	default:
		if !usercode.IsNil(conn) {
			conn.Close()
		}
	}
}
