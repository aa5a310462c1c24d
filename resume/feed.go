package resume

import (
	"bytes"
	"context"
	"sync/atomic"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/sendqueue"
)

// feeding is the place, from 1 on, of the message that is being given to a connection; 0: none is. Who gives it, and
// nobody else, sets it to 0, without the session's lock if nobody has asked it to look again: then nothing is left to
// do.
type feeding struct{ place atomic.Uint64 }

const askedToLook = 1 << 63

// isFedLocked reports whether somebody is giving a message to a connection, and has been asked to look again behind
// that.
func (f *feeding) isFedLocked() bool {
	for {
		place := f.place.Load()
		if place == 0 || place&askedToLook != 0 || f.place.CompareAndSwap(place, place|askedToLook) {
			return place != 0
		}
	}
}

// isAtLocked is isFedLocked if the message has this place, or one before.
func (f *feeding) isAtLocked(place uint64) (at uint64, is bool) {
	at = f.place.Load() &^ askedToLook
	return at, at != 0 && at <= place && f.isFedLocked()
}

func (f *feeding) beginLocked(place uint64, lookAgain bool) {
	if lookAgain {
		place |= askedToLook
	}
	f.place.Store(place)
}

// done ends it, if nobody has asked to look again.
func (f *feeding) done(place uint64) bool { return f.place.CompareAndSwap(place, 0) }

func (f *feeding) endLocked() { f.place.Store(0) }

// A feed is a message on its way to a connection.
type feed struct {
	link  *link
	place uint64
	frame *sendqueue.Payload
}

// maxFed is how many messages a Send gives the connection before it leaves the rest, others' messages, to a goroutine.
const maxFed = 256

// feedAndUnlock gives the connection what was not sent on it. Most connections take it as it is, under the lock. Others
// are given one message at a time with no lock held; who finds another at that leaves its message to that one: so they
// keep their order.
func (s *Session) feedAndUnlock() {
	for range maxFed {
		if s.allSentLocked() || s.feeding.isFedLocked() {
			s.mu.Unlock()
			return
		}
		f, ok := s.nextLocked()
		if !ok {
			s.mu.Unlock()
			return
		}
		switch by, ok := inside.Put(f.link.conn, f.frame.Bytes); {
		case !ok:
			if !s.sendAndLock(s.inFlightLocked(f)) {
				return
			}
		case by != sendqueue.ByNobody:
			s.mu.Unlock()
			inside.Flush(f.link.conn, by)
			s.mu.Lock()
		}
	}
	s.mu.Unlock()
	go func() {
		s.mu.Lock()
		s.feedAndUnlock()
	}()
}

// inFlightLocked has f in flight: it is to be given to the connection with no lock held.
func (s *Session) inFlightLocked(f feed) feed {
	if f.link.encodesLate() {
		f.frame = &sendqueue.Payload{Bytes: bytes.Clone(f.frame.Bytes)} // in memory that is not used again
	}
	s.feeding.beginLocked(f.place, int(s.ahead+s.held) < int(s.unacknowledged.count()))
	return f
}

// sendAndLock unlocks, gives the connection f, and locks. False: nothing is left to do here, and it is not locked.
func (s *Session) sendAndLock(f feed) (goOn bool) {
	s.mu.Unlock()
	err := f.link.conn.Send(f.frame)
	if err == nil && s.feeding.done(f.place) {
		return false
	}
	if err != nil && is(err, libnet.ErrSessionBlocked) && !f.link.conn.IsClosed() {
		go s.feedWaiting(f)
		return false
	}
	return s.lockFed(f, err)
}

// feedWaiting goes on with f, for which the connection's queue had no room, and what follows it.
func (s *Session) feedWaiting(f feed) {
	for ok := true; ok; {
		err := f.link.conn.SendContext(context.Background(), f.frame) // until the connection ends, at the latest
		if !s.lockFed(f, err) {
			return
		}
		if f, ok = s.nextLocked(); ok {
			f = s.inFlightLocked(f)
		}
		s.mu.Unlock()
	}
}

// nextLocked returns the next message to send, and counts it as sent; not ok if there is none.
func (s *Session) nextLocked() (f feed, ok bool) {
	if s.link == nil || s.opening || s.failed {
		return f, false
	}
	p, b := s.unacknowledged.get(int(s.ahead + s.held))
	if p == nil {
		return f, false
	}
	size := dataSize(p.Bytes)
	if s.ahead >= uint32(s.limits.messages) || size > int(s.limits.bytes-s.sentBytes) {
		s.unacknowledged.rewind() // what was accepted before the peer's bounds were known waits for acknowledgements
		return f, false
	}
	s.ahead++
	s.sentBytes += int32(size)
	if len(p.Bytes) <= largeMessage && s.ackTravelsLocked() {
		p = b.withAck(p.Bytes, s.noteAckLocked())
	}
	return feed{s.link, s.sentLocked(), p}, true
}

// allSentLocked reports whether there is nothing to feed a connection with.
func (s *Session) allSentLocked() bool { return int32(s.ahead+s.held) == s.unacknowledged.count() }

// lockFed locks, and notes that a message is in flight no more. False: the session has ended over it, and is not
// locked.
func (s *Session) lockFed(f feed, err error) (goOn bool) {
	s.mu.Lock()
	s.feeding.endLocked()
	s.dropAcknowledgedLocked()
	switch {
	case err == nil || s.link != f.link:
	case f.link.conn.IsClosed():
		s.failed = true
	default: // it cannot be sent at all
		s.mu.Unlock()
		s.finish(err)
		return false
	}
	return true
}

// acknowledgeLocked notes how many messages the peer has taken; false if there were never as many.
func (s *Session) acknowledgeLocked(n uint64) (ok bool) {
	if n <= s.peerAcked {
		return true
	}
	if n > s.sentLocked() {
		return false
	}
	more := uint32(n - s.peerAcked)
	s.peerAcked, s.ahead, s.held = n, s.ahead-more, s.held+more
	s.dropAcknowledgedLocked()
	s.changedLocked()
	return true
}

// dropAcknowledgedLocked leaves a message that is in flight where it is: it is being read.
func (s *Session) dropAcknowledgedLocked() {
	upTo := s.peerAcked
	if place, is := s.feeding.isAtLocked(upTo); is {
		upTo = place - 1
	}
	if dropped := s.peerAcked - uint64(s.held); upTo > dropped {
		before := s.unacknowledged.size()
		s.unacknowledged.drop(int(upTo - dropped))
		s.held = uint32(s.peerAcked - upTo)
		s.sentBytes -= before - s.unacknowledged.size()
		s.changedLocked() // there is room now, which there was not while a message was in flight
	}
}

// allAcknowledgedLocked reports whether a Shutdown has nothing to wait for any more.
func (s *Session) allAcknowledgedLocked() bool { return s.peerAcked == s.acceptedLocked() }
