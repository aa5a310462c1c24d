package ws

import (
	"net"
	"syscall"
	"time"
)

const (
	// goodbyeTimeout is how long Close, which waits for nobody, lets a close frame wait for room.
	goodbyeTimeout = 100 * time.Millisecond

	// lingerTimeout is how long the connection is read on after Close: closed with input unread, it would be reset,
	// and the peer might never see the close frame.
	lingerTimeout = 500 * time.Millisecond
)

// close closes the connection, after a last attempt to write frame that waits for no peer. Where the receive loop is
// at work, that one reads on for a moment and closes then; see lingerTimeout.
func (l *link) close(frame []byte) error {
	defer close(l.closed)
	left := false
	defer func() { // also when the connection panics
		if !left {
			_ = l.cut()
		}
	}()
	l.finish(frame)
	if l.tryFlush(goodbyeTimeout) && l.failed() == nil {
		half, ok := l.conn.(interface{ CloseWrite() error })
		left = ok && half.CloseWrite() == nil && l.leaveToReader()
	}
	if left {
		return nil
	}
	return l.cut()
}

// leaveToReader has the receive loop close the connection; false if there is none, or nothing that could be reset.
func (l *link) leaveToReader() bool {
	if _, ok := l.socket().(syscall.Conn); !ok {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reading {
		l.force = time.AfterFunc(lingerTimeout, func() { _ = guard(l.cut) })
	}
	return l.reading
}

// readerStarts and readerLeaves enclose the receive loop.
func (l *link) readerStarts() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reading = true
}

// readerLeaves reads on after close, if that has left it to the receive loop.
func (l *link) readerLeaves() {
	<-l.closed
	l.mu.Lock()
	l.reading = false
	force := l.force
	l.mu.Unlock()
	if force == nil {
		return
	}
	_ = guard(l.discard)
	force.Stop()
	_ = guard(l.cut)
}

func (l *link) discard() error {
	room := make([]byte, 512)
	for {
		if _, err := l.Read(room); err != nil {
			return err
		}
	}
}

// cut closes the connection without another word, once.
func (l *link) cut() error {
	err := net.ErrClosed
	l.cutOnce.Do(func() { err = l.socket().Close() })
	return err
}
