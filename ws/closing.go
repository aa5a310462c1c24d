package ws

import (
	"net"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/sockets"
)

const (
	// closeFrameTimeout is how long Close, which does not wait for the peer, lets the Close frame wait for room in the
	// kernel.
	closeFrameTimeout = 100 * time.Millisecond

	// reasonPatience is how long Close waits for what the reason, an error of the user's, has to say: the session waits
	// for 200 ms in all.
	reasonPatience = 100 * time.Millisecond

	// closeFrameWait is how long Close waits for a write that is under way, so that the Close frame can follow it.
	closeFrameWait = 50 * time.Millisecond

	// lingerTimeout is how long the connection is read on after Close: closed with input unread, it would be reset,
	// and the peer might never see the close frame.
	lingerTimeout = 500 * time.Millisecond
)

// close does this side's part of the closing handshake (RFC 6455, 7.1) and closes the connection. The Close frame, if
// it is not written yet, has closeFrameWait and closeFrameTimeout to be. Where the receive loop is at work, that closes
// the connection, after reading on for lingerTimeout at most.
func (l *link) close(frame []byte) error {
	defer close(l.closed)
	lingers := false
	defer func() { // also when the connection panics
		if !lingers {
			_ = l.closeSocket()
		}
	}()
	l.finish(frame)
	if l.flushLast(closeFrameWait, closeFrameTimeout) && l.failed() == nil {
		half, ok := l.conn.(interface{ CloseWrite() error })
		lingers = ok && half.CloseWrite() == nil && l.startLingering()
	}
	if lingers {
		return nil
	}
	return l.closeSocket()
}

// isFinished reports whether a close frame is written, or about to be.
func (l *link) isFinished() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.finished
}

// startLingering has the receive loop read on and close the connection; false if there is no loop, or nothing that
// could be reset.
func (l *link) startLingering() bool {
	if _, ok := sockets.Transport(l.conn).(syscall.Conn); !ok {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reading {
		l.lingering = time.AfterFunc(lingerTimeout, func() { _ = guard(l.closeSocket) })
	}
	return l.reading
}

// receiveLoopStarts and receiveLoopEnds enclose the receive loop.
func (l *link) receiveLoopStarts() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reading = true
}

// receiveLoopEnds waits for close, and lingers if that has begun it: it discards what the peer still sends.
func (l *link) receiveLoopEnds() {
	<-l.closed
	l.mu.Lock()
	l.reading = false
	lingering := l.lingering
	l.mu.Unlock()
	if lingering == nil {
		return
	}
	_ = guard(l.discard)
	lingering.Stop()
	_ = guard(l.closeSocket)
}

func (l *link) discard() error {
	buf := make([]byte, 512)
	for {
		if _, err := l.Read(buf); err != nil {
			return err
		}
	}
}

// closeSocket closes the connection, once, and sends nothing: neither a Close frame nor TLS' close_notify.
func (l *link) closeSocket() error {
	err := net.ErrClosed
	l.closeSocketOnce.Do(func() { err = l.socket().Close() })
	return err
}
