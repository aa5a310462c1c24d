package libnet

import (
	"io"
	"net"
	"time"
)

// stream is a session's connection as its codec sees it: reads come out of the input buffer, writes
// go into the send queue.
type stream struct{ s *Session }

var _ Stream = stream{}

func (st stream) MaxMessage() int      { return st.s.owner.MaxMessage }
func (st stream) LocalAddr() net.Addr  { return st.s.conn.LocalAddr() }
func (st stream) RemoteAddr() net.Addr { return st.s.conn.RemoteAddr() }

// Close ends the session, as a codec's Close ended the connection in the original libnet.
func (st stream) Close() error {
	if st.s.IsClosed() {
		return nil
	}
	return st.s.Close()
}

// Read is for codecs that know only io.Reader. Like the receiver it belongs to one goroutine at a time.
func (st stream) Read(p []byte) (int, error) {
	s := st.s
	if len(p) == 0 {
		return 0, nil
	}
	if s.in.r == s.in.w {
		if err := s.fill(s.midFrame); err != nil {
			s.readErr = err
			return 0, err
		}
	}
	n := copy(p, s.in.unread())
	s.in.advance(n)
	s.midFrame = true
	return n, nil
}

// Write appends to the send queue. Within Session.Send the bytes become the frame of its message;
// bytes written at another time (a greeting, an answer from within Receive) are flushed by themselves.
func (st stream) Write(p []byte) (int, error) {
	s := st.s
	q := &s.q
	q.mu.Lock()
	if q.state == queueClosed || q.state == queueDraining && !q.sending {
		q.mu.Unlock()
		return 0, s.closedErr()
	}
	if limit := s.owner.sendQueueBytes(); limit > 0 && q.pending != nil && len(q.pending.buf)+len(p) > max(limit, s.maxFrame()) {
		q.mu.Unlock()
		return 0, ErrSessionBlocked
	}
	b := q.appendToLocked()
	b.buf = append(b.buf, p...)
	sending := q.sending
	if !sending {
		b.commit(len(p), false)
		q.bytes += len(p)
	}
	q.mu.Unlock()
	if !sending {
		s.wake()
	}
	return len(p), nil
}

// fill reads once, waiting if it must. Before it waits it flushes, so that request and response need
// no other goroutine, and gives the input's storage back.
func (s *Session) fill(inFrame bool) error {
	// The order matters: a sender that still finds the receiver active is seen by this flush.
	s.receiver.Store(receiverWaiting)
	if err := s.flushBeforeWait(); err != nil {
		return err
	}
	s.publish(inFrame)
	var n int
	var err error
	if s.sock != nil {
		n, err = s.sock.read(&s.in)
	} else {
		n, err = s.readPlain()
	}
	if s.state.Load() != sessionOpen {
		s.in.release()
		return s.closedErr()
	}
	if n > 0 {
		s.took(n)
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	s.in.release()
	return err
}

// took enters n bytes that were read behind the unread ones.
func (s *Session) took(n int) {
	s.in.w += n
	s.receiver.Store(receiverActive)
	s.received.Store(s.now())
	s.bytesIn.Store(s.bytesIn.Load() + uint64(n))
}

// readPlain reads from a conn without a descriptor. It must hand over storage before it waits: little
// at first, and more once what came filled it.
func (s *Session) readPlain() (n int, err error) {
	// 100 empty reads are what bufio allows a reader, too.
	for range 100 {
		s.in.shrink()
		if n, err = s.conn.Read(s.in.small()); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, nil
}

// publish tells others what the receiver has done, once a read and not once a message.
func (s *Session) publish(inFrame bool) {
	s.messagesIn.Store(s.parsed)
	if !inFrame {
		if s.frameStart.Load() != 0 {
			s.frameStart.Store(0)
		}
	} else if s.frameStart.Load() == 0 && s.owner.frameTimeout() > 0 {
		s.frameStart.Store(s.now())
		s.watch(s.owner.frameTimeout())
	}
}

// openedNow is now() at the moment the session was opened, so that 0 can stand for no time.
const openedNow = 1

// now is the time since the session was opened, never 0.
func (s *Session) now() int64 { return int64(time.Since(s.opened)) + openedNow }
