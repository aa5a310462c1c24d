package libnet

import (
	"io"
	"math"
	"net"
	"runtime"
	"strings"

	"github.com/libnet-go/libnet/internal/sendqueue"
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
	if s.in.Empty() {
		if err := s.fill(s.plain.midFrame); err != nil {
			s.plain.err = err
			if err == io.ErrUnexpectedEOF {
				err = io.EOF // only the codec can tell whether its frame is complete
			}
			return 0, err
		}
	}
	n := copy(p, s.in.Unread())
	s.in.Advance(n)
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
	if len(p) == 0 {
		return 0, nil
	}
	by, err := s.q.Write(p, s.maxFrame(), s.maxLoose(), s.isInReceive())
	s.flushBy(by)
	if err != nil {
		return 0, s.refused(err)
	}
	return len(p), nil
}

// isInReceive reports whether the caller, a codec, was called to receive. It may be called to send at the same time, so only the
// caller's own stack tells: that is looked at where a receiver is at work and does not wait.
func (s *Session) isInReceive() bool {
	if s.q.Receiver() < sendqueue.ReceiverActive {
		return false
	}
	if s.recvMu.TryLock() {
		s.recvMu.Unlock()
		return false
	}
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		switch _, method, _ := strings.Cut(frame.Function, ".(*Session)."); method {
		case "codecSend":
			return false
		case "nextPlain":
			return true
		}
		if !more {
			return false
		}
	}
}

// maxLoose bounds what a codec writes outside Send: by the bytes of the queue.
func (s *Session) maxLoose() int {
	if limit := s.owner.sendQueueBytes(); limit > 0 {
		return limit
	}
	return math.MaxInt
}
