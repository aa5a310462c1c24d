package libnet

import (
	"io"
	"net"
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
	if s.plain == nil {
		s.plain = new(plainInput)
	}
	if s.in.empty() {
		if err := s.fill(s.plain.midFrame); err != nil {
			s.plain.err = err
			if err == io.ErrUnexpectedEOF {
				err = io.EOF // only the codec can tell whether its frame is complete
			}
			return 0, err
		}
	}
	n := copy(p, s.in.unread())
	s.in.advance(n)
	s.plain.midFrame = true
	return n, nil
}

// plainInput is what a plain codec has read since its Receive was called.
type plainInput struct {
	midFrame bool  // it has a part of a frame
	err      error // of its last read, if that failed
}

// Write appends to the send queue. Within Session.Send the bytes become the frame of its message;
// bytes written at another time (a greeting, an answer from within Receive) are flushed by themselves.
func (st stream) Write(p []byte) (int, error) {
	s := st.s
	q := &s.q
	q.mu.Lock()
	if err := s.mayWriteLocked(len(p)); err != nil {
		if q.pending != nil {
			q.pending.openErr = err
		}
		q.mu.Unlock()
		return 0, err
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

// mayWriteLocked bounds what a codec writes: a message by the size of a frame, what belongs to none by
// that of the queue.
func (s *Session) mayWriteLocked(n int) error {
	q := &s.q
	limit := s.owner.sendQueueBytes()
	switch {
	case q.state == queueClosed || q.state == queueDraining && !q.sending:
		return s.closedErr()
	case q.pending == nil:
	case q.sending && len(q.pending.buf)-q.pending.open+n > s.maxFrame():
		return ErrFrameTooLarge
	case !q.sending && limit > 0 && len(q.pending.buf)+n > max(limit, s.maxFrame()):
		return ErrSessionBlocked
	}
	return nil
}
