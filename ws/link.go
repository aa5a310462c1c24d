package ws

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/lock"
)

const (
	// answerTimeout bounds the writing of pongs and close frames, which no deadline of the session covers, until the
	// session's WriteTimeout is known. It is the default of that.
	answerTimeout = 10 * time.Second

	// maxWaitingPongs is how many bytes of answers may wait before further pings go unanswered (RFC 6455, 5.5.3 allows
	// that). What else waits does not count: a peer that is behind with reading is still there.
	maxWaitingPongs = 4 << 10

	// keptOutput is the largest output buffer whose storage is kept for another.
	keptOutput = 64 << 10
)

// A link is the connection below a WebSocket. Frames that are to be sent only gather here; they go out when a
// batch of messages is complete, or before the receive loop waits for input. So a batch costs one system call.
//
// Read belongs to the receive loop; all else may be called by any goroutine. The connection may be one of the user's:
// none of its methods is called under mu, and each may panic.
type link struct {
	// Immutable after newLink.
	conn   net.Conn  // the TCP or TLS connection
	body   io.Reader // where input comes from: net/http may have buffered some
	client bool      // masks what it sends
	made   time.Time // of which the clock of the wall has no part

	answerWithin atomic.Int64 // the session's WriteTimeout, in nanoseconds; 0: no bound

	lastInput atomic.Int64 // how long behind made something last came; 0 before

	closed          chan struct{} // closed by close, when it is settled who closes the connection
	closeSocketOnce sync.Once

	flushing chan struct{} // one element, put in by who writes to the connection; taken before a mutex

	deadlineMu lock.Mutex[linkDeadlineLock]
	// deadlineMu guards the following, and is held while the connection is told of it.
	writing  bool      // a flush of Write is in the connection: deadline applies to it
	deadline time.Time // of Write

	mu lock.Mutex[linkLock]
	// mu guards the following.
	pending   *outbuf     // not yet written to the connection; nil when empty
	answers   int         // bytes of pongs in pending and in what is just being written
	finished  bool        // a close frame is in pending or out: nothing may follow
	err       error       // what the connection's write failed with; nothing more is written
	reading   bool        // the receive loop is at work
	lingering *time.Timer // closes the connection if the receive loop, which lingers after close, has not; else nil
}

type outbuf struct {
	bytes   []byte
	answers int // of these, those of pongs
}

var outbufs = sync.Pool{New: func() any { return new(outbuf) }}

func putOutbuf(b *outbuf) {
	if cap(b.bytes) <= keptOutput {
		b.bytes, b.answers = b.bytes[:0], 0
		outbufs.Put(b)
	}
}

func newLink(conn net.Conn, body io.Reader, client bool) *link {
	l := &link{conn: conn, body: body, client: client, made: time.Now()}
	l.closed, l.flushing = make(chan struct{}), make(chan struct{}, 1)
	l.answerWithin.Store(int64(answerTimeout))
	return l
}

var errReadCount = errors.New("libnet: ws: the connection's Read returned an impossible count")

// Read reads at least one byte or answers an error. The end of the connection is never the end of a WebSocket.
func (l *link) Read(p []byte) (int, error) {
	// 100 empty reads are what bufio allows a reader, too.
	for range 100 {
		n, err := l.body.Read(p)
		switch {
		case n < 0 || n > len(p):
			return 0, errReadCount
		case n > 0:
			l.noteInput()
			return n, nil // an error comes again
		case err == io.EOF:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

func (l *link) noteInput() { l.lastInput.Store(int64(time.Since(l.made)) + 1) }

// inputAt is when something last came; the zero time before anything has.
func (l *link) inputAt() time.Time {
	last := l.lastInput.Load()
	if last == 0 {
		return time.Time{}
	}
	return l.made.Add(time.Duration(last - 1))
}

// add appends a frame to what is to be sent; false if it may not be, behind the close frame or a failed write.
func (l *link) add(first byte, payload []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.finished || l.err != nil {
		return false
	}
	out := l.outLocked()
	before := len(out.bytes)
	out.bytes = appendFrame(out.bytes, first, payload, l.client)
	if first&opcodeBits == opPong {
		out.answers += len(out.bytes) - before
		l.answers += len(out.bytes) - before
	}
	return true
}

func (l *link) outLocked() *outbuf {
	if l.pending == nil {
		l.pending = outbufs.Get().(*outbuf)
	}
	return l.pending
}

// finish appends a close frame, if that has not happened: there is one, and nothing behind it.
func (l *link) finish(frame []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.finished {
		return
	}
	l.finished = true
	if l.err == nil {
		out := l.outLocked()
		out.bytes = append(out.bytes, frame...)
	}
}

// answersPing reports whether a ping is to be answered.
func (l *link) answersPing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers < maxWaitingPongs
}

// flush writes what is pending, within the deadline of Write.
func (l *link) flush() error {
	l.flushing <- struct{}{}
	err := l.flushWithin()
	l.flushAnswers() // of pings that came while we had the connection
	return err
}

func (l *link) flushWithin() error {
	defer func() { <-l.flushing }()
	l.beginWrite()
	defer l.endWrite()
	return l.writePending()
}

func (l *link) beginWrite() {
	l.deadlineMu.Lock()
	defer l.deadlineMu.Unlock()
	l.writing = true
	_ = l.conn.SetWriteDeadline(l.deadline)
}

func (l *link) endWrite() {
	l.deadlineMu.Lock()
	defer l.deadlineMu.Unlock()
	l.writing = false
}

// SetWriteDeadline bounds flush, also one that is under way.
func (l *link) SetWriteDeadline(t time.Time) error {
	l.deadlineMu.Lock()
	defer l.deadlineMu.Unlock()
	l.deadline = t
	if l.writing {
		return l.conn.SetWriteDeadline(t)
	}
	return nil
}

// flushAnswers writes what is pending, unless somebody is writing already: that one then sees to it.
func (l *link) flushAnswers() {
	for l.hasPending() && l.tryFlush(time.Duration(l.answerWithin.Load())) {
	}
}

// tryFlush writes what is pending within a time of its own, 0 for no bound; false if somebody else is writing.
func (l *link) tryFlush(within time.Duration) bool {
	select {
	case l.flushing <- struct{}{}:
		l.flushHeld(within)
		return true
	default:
		return false
	}
}

// flushLast is tryFlush for who closes the connection then. It waits for others: what these write has often reached the
// peer, and only they do not know yet.
func (l *link) flushLast(wait, within time.Duration) bool {
	patience := time.NewTimer(wait)
	defer patience.Stop()
	select {
	case l.flushing <- struct{}{}:
		l.flushHeld(within)
		return true
	case <-patience.C:
		return false
	}
}

// flushHeld is for the one who has flushing, and gives it back.
func (l *link) flushHeld(within time.Duration) {
	defer func() { <-l.flushing }()
	var deadline time.Time
	if within > 0 {
		deadline = time.Now().Add(within)
	}
	_ = l.conn.SetWriteDeadline(deadline)
	_ = l.writePending()
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
		l.write(out)
	}
}

func (l *link) write(out *outbuf) {
	err := errLost // stays if the connection's Write panics or ends the goroutine
	defer func() {
		l.wrote(out, err)
		if err == errLost {
			_ = guard(l.closeSocket) // which ends the input, and so the session
		}
	}()
	var n int
	if n, err = l.conn.Write(out.bytes); err == nil && n != len(out.bytes) {
		err = io.ErrShortWrite
	}
}

// errLost stands for a write of which nobody knows how many bytes it has written.
var errLost = fmt.Errorf("%w in a connection's Write", libnet.ErrPanic)

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
	defer l.mu.Unlock()
	l.answers -= out.answers
	if err != nil {
		l.err = err
	}
	putOutbuf(out)
}

// socket is the connection below TLS, if there is any.
func (l *link) socket() net.Conn {
	if t, ok := l.conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return l.conn
}
