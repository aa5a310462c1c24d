package ws

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// answerTimeout bounds the writing of pongs and close frames, which no deadline of the session covers.
	// It is Config.WriteTimeout's default.
	answerTimeout = 10 * time.Second

	// goodbyeTimeout is how long Close, which waits for nobody, lets a close frame wait for room.
	goodbyeTimeout = 100 * time.Millisecond

	// maxWaitingPongs is how many bytes of output may wait before further pings go unanswered (RFC 6455,
	// 5.5.3 allows that).
	maxWaitingPongs = 4 << 10

	// keptOutput is the largest output buffer whose storage is kept for another.
	keptOutput = 64 << 10
)

// A link is the connection below a WebSocket, as the WebSocket library sees it. What the library writes
// only gathers here; it goes out when a batch of messages is complete, or when the library waits for
// input. So a batch costs one system call, and no write is bounded by a context, whose end would
// tear the WebSocket down: deadlines are those of the conn.
//
// The library may write and read from any goroutine.
type link struct {
	net.Conn           // the TCP or TLS connection; for what is not overridden
	body     io.Reader // where input comes from: the library or net/http may have buffered some

	// beforeRead is called before each read from the connection. Set before the first.
	beforeRead func()

	// readErr is what the connection's last read answered, if it failed. It belongs to the receive loop.
	readErr error

	flushing chan struct{} // one element, put in by who writes to the connection; taken before mu

	mu sync.Mutex
	// mu guards the following.
	pending  *outbuf   // written by the library and not yet to the connection; nil when empty
	waiting  int       // bytes of pending and of what is just being written
	adopted  bool      // by a conn, which closes the connection
	finished bool      // a close frame is in pending or out: nothing may follow
	writing  bool      // a flush of Write is in the connection: deadline applies to it
	deadline time.Time // of Write
	err      error     // what the connection's write failed with; nothing more is written
}

type outbuf struct{ bytes []byte }

var outbufs = sync.Pool{New: func() any { return new(outbuf) }}

func newLink(conn net.Conn, body io.Reader) *link {
	return &link{Conn: conn, body: body, flushing: make(chan struct{}, 1)}
}

// Read reads for the library. The end of the connection is never the end of a WebSocket, and the library
// would take a message that it cuts short for a whole one.
func (l *link) Read(p []byte) (int, error) {
	if l.beforeRead != nil {
		l.beforeRead()
	}
	l.flushAnswers()
	n, err := l.body.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	l.readErr = err
	return n, err
}

// Write gathers what the library writes. After the close frame it drops it.
func (l *link) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	if !l.finished {
		l.appendLocked(p)
	}
	return len(p), nil
}

func (l *link) appendLocked(p []byte) {
	if l.pending == nil {
		l.pending = outbufs.Get().(*outbuf)
	}
	l.pending.bytes = append(l.pending.bytes, p...)
	l.waiting += len(p)
}

// Close is called by the library: when the upgrade fails, and when the close frames have been exchanged.
// Ours may then still be pending, and the conn closes the connection. See close.
func (l *link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.adopted {
		return nil
	}
	return l.Conn.Close()
}

// adopt makes closing the connection the conn's business.
func (l *link) adopt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.adopted = true
}

// finish appends a close frame, if that has not happened; nil only says that the library has written one.
func (l *link) finish(frame []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.finished && l.err == nil && len(frame) > 0 {
		l.appendLocked(frame)
	}
	l.finished = true
}

func (l *link) isFinished() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.finished
}

// answersPing reports whether a ping is to be answered.
func (l *link) answersPing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting < maxWaitingPongs
}

// flush writes what is pending, within the deadline of Write.
func (l *link) flush() error {
	l.flushing <- struct{}{}
	l.mu.Lock()
	l.writing = true
	_ = l.Conn.SetWriteDeadline(l.deadline)
	l.mu.Unlock()

	err := l.writePending()

	l.mu.Lock()
	l.writing = false
	l.mu.Unlock()
	<-l.flushing
	l.flushAnswers() // of pings that came while we had the connection
	return err
}

// flushAnswers writes what is pending, unless somebody is writing already: that one then sees to it.
func (l *link) flushAnswers() {
	for l.hasPending() && l.tryFlushing() {
		_ = l.Conn.SetWriteDeadline(time.Now().Add(answerTimeout))
		_ = l.writePending()
		<-l.flushing
	}
}

func (l *link) tryFlushing() bool {
	select {
	case l.flushing <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l *link) hasPending() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pending != nil && l.err == nil
}

// writePending writes until nothing is pending; the caller holds flushing. An error is the same for ever.
func (l *link) writePending() error {
	for {
		out, err := l.takePending()
		if out == nil {
			return err
		}
		_, err = l.Conn.Write(out.bytes)
		l.wrote(out, err)
	}
}

// failed returns what writing has failed with, if it has.
func (l *link) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *link) takePending() (*outbuf, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	out := l.pending
	l.pending = nil
	return out, nil
}

func (l *link) wrote(out *outbuf, err error) {
	l.mu.Lock()
	l.waiting -= len(out.bytes)
	if err != nil {
		l.err = err
	}
	l.mu.Unlock()
	if cap(out.bytes) <= keptOutput {
		out.bytes = out.bytes[:0]
		outbufs.Put(out)
	}
}

// SetWriteDeadline bounds flush, also one that is under way.
func (l *link) SetWriteDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = t
	if l.writing {
		return l.Conn.SetWriteDeadline(t)
	}
	return nil
}

// close closes the connection, after a last attempt to write frame that waits for no peer.
func (l *link) close(frame []byte) error {
	l.finish(frame)
	if l.tryFlushing() {
		_ = l.Conn.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
		_ = l.writePending()
		<-l.flushing
	}
	t, ok := l.Conn.(*tls.Conn)
	if !ok {
		return l.Conn.Close()
	}
	force := time.AfterFunc(goodbyeTimeout, func() { _ = t.NetConn().Close() })
	defer force.Stop()
	return t.Close()
}

// socket is the connection below TLS, if there is any.
func (l *link) socket() net.Conn {
	if t, ok := l.Conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return l.Conn
}
