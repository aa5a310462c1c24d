package libnettest

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// stream is one direction of a pipe.
type stream struct {
	size int // bytes that may be under way; immutable

	signal // its mutex guards the following

	buf  []byte
	read int // buf[read:] is under way

	writing bool // a Write is putting its bytes in; another one waits, so that the two do not mix

	readerClosed bool // the reading end was closed
	writerClosed bool // the writing end was closed
	finished     bool // the writing end has written its last byte
	reset        bool // one of the ends was reset
	unplugged    bool // neither bytes nor ends nor resets pass

	readDeadline, writeDeadline deadline
}

// Read blocks until there is a byte, the end, an error or the deadline.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readerClosed:
			return 0, net.ErrClosed
		case s.readDeadline.expired:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case s.unplugged:
		case s.reset:
			return 0, syscall.ECONNRESET
		case s.read < len(s.buf):
			return s.takeLocked(p), nil
		case s.finished:
			return 0, io.EOF
		}
		s.waitLocked()
	}
}

// buffered returns how many bytes a Read would find.
func (s *stream) buffered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unplugged || s.reset || s.readerClosed {
		return 0
	}
	return len(s.buf) - s.read
}

func (s *stream) takeLocked(p []byte) int {
	n := copy(p, s.buf[s.read:])
	s.read += n
	if s.read == len(s.buf) {
		s.buf, s.read = s.buf[:0], 0
		if s.finished || cap(s.buf) > defaultPipeSize {
			s.buf = nil
		}
	}
	s.notifyLocked()
	return n
}

// Write blocks until all of p is under way, or an error or the deadline comes first.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.writing {
		if err := s.writeErrLocked(); err != nil {
			return 0, err
		}
		s.waitLocked()
	}
	s.writing = true
	defer func() {
		s.writing = false
		s.notifyLocked()
	}()

	written := 0
	for {
		if err := s.writeErrLocked(); err != nil {
			return written, err
		}
		written += s.putLocked(p[written:])
		if written == len(p) {
			return written, nil
		}
		s.waitLocked()
	}
}

func (s *stream) writeErrLocked() error {
	switch {
	case s.writerClosed:
		return net.ErrClosed
	case s.finished:
		return syscall.EPIPE
	case s.writeDeadline.expired:
		return os.ErrDeadlineExceeded
	case s.unplugged:
		return nil
	case s.reset:
		return syscall.ECONNRESET
	case s.readerClosed:
		return syscall.EPIPE
	}
	return nil
}

func (s *stream) putLocked(p []byte) int {
	room := s.size - (len(s.buf) - s.read)
	n := min(room, len(p))
	if n == 0 {
		return 0
	}
	if s.read > 0 && len(s.buf)+n > cap(s.buf) { // move to the front before growing
		s.buf = s.buf[:copy(s.buf, s.buf[s.read:])]
		s.read = 0
	}
	s.buf = append(s.buf, p[:n]...)
	s.notifyLocked()
	return n
}

// closeRead says that the reading end was closed: what is under way is lost.
// With reset, the writer learns that.
func (s *stream) closeRead(reset bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readerClosed, s.reset = true, s.reset || reset
	s.buf, s.read = nil, 0
	s.readDeadline.stopLocked()
	s.notifyLocked()
}

// closeWrite says that the writing end was closed: the reader gets what is under way, then the end,
// or with reset only that.
func (s *stream) closeWrite(reset bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writerClosed {
		return net.ErrClosed
	}
	s.writerClosed, s.finished, s.reset = true, true, s.reset || reset
	if s.reset {
		s.buf, s.read = nil, 0
	}
	s.writeDeadline.stopLocked()
	s.notifyLocked()
	return nil
}

// finish is the half-close.
func (s *stream) finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writerClosed {
		return net.ErrClosed
	}
	s.finished = true
	s.notifyLocked()
	return nil
}

func (s *stream) setUnplugged(unplugged bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unplugged = unplugged
	s.notifyLocked()
}

func (s *stream) setReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readerClosed {
		return net.ErrClosed
	}
	s.readDeadline.setLocked(&s.signal, t)
	return nil
}

func (s *stream) setWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writerClosed {
		return net.ErrClosed
	}
	s.writeDeadline.setLocked(&s.signal, t)
	return nil
}
