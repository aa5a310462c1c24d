package libnet

import "sync/atomic"

// A handed says how far the receiver has come, for an end that does not wait for it: the messages that it handed over to its
// user are received, and the bytes behind them dropped. Bit 63 says that the session's counters are final: no message is handed
// over any more. The next 31 bits count messages, the rest bytes, both without what is above.
type handed struct{ n atomic.Uint64 }

const (
	handedFinal    = 1 << 63
	handedMessages = 1<<31 - 1
)

// set notes how many messages and bytes have been taken from what arrived; false if the counters are final.
func (h *handed) set(messages, bytes uint64) bool {
	n := messages&handedMessages<<32 | bytes&(1<<32-1)
	if h.n.Swap(n)&handedFinal == 0 {
		return true
	}
	h.n.Store(handedFinal)
	return false
}

// end makes the counters final. It returns what was noted last; not first if they were.
func (h *handed) end() (messages, bytes uint64, first bool) {
	n := h.n.Swap(handedFinal)
	return n >> 32 & handedMessages, n & (1<<32 - 1), n&handedFinal == 0
}

// handOver is called by the receiver, with a message that it is about to hand over; false if that must not be any more. What
// NewCodec has read is handed over, too.
func (s *Session) handOver() bool {
	return s.handed.set(s.parsed, s.read.Load()-uint64(len(s.in.Unread())))
}

// notHanded is what of the bytes read has not been handed over.
func (s *Session) notHanded() int { return int(uint32(s.read.Load()) - uint32(s.handed.n.Load())) }

// noteLastReceived makes what was received since the receiver last waited a part of the final counters, and what it will not
// receive any more.
func (s *Session) noteLastReceived() {
	s.mu.Lock()
	messages, bytes, first := s.handed.end()
	read := s.read.Load()
	if first {
		s.noteDroppedLocked(int(uint32(read) - uint32(bytes)))
	}
	s.mu.Unlock()
	if first {
		s.q.NoteLastReceived(messages, handedMessages, read)
	}
	if !s.serving.Started() && s.recvMu.TryLock() { // else whoever receives gives the storage back
		s.in.Release()
		s.recvMu.Unlock()
	}
}

// dropUnread gives the input's storage back. It belongs to the receiver. Of it and an end that comes meanwhile, one counts the
// bytes.
func (s *Session) dropUnread() {
	s.mu.Lock()
	if s.handed.set(s.parsed, s.read.Load()) {
		s.noteDroppedLocked(len(s.in.Unread()))
	}
	s.mu.Unlock()
	s.in.Release()
}
