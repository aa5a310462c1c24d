//go:build unix

package sockets

import (
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"time"
)

// Slots bound how many handshakes compute at a time, so that a fleet that comes back leaves the processors to those who
// are served already. A handshake that waits for its peer has no slot.
type Slots chan struct{}

// NewSlots makes n of them.
func NewSlots(n int) Slots { return make(Slots, n) }

// slotPatience is how long a handshake waits for a slot. Then it goes on without one: those who have them may all be
// waiting in a callback of their config's.
const slotPatience = time.Second

// A handshake is what a conn has only while it is done. It belongs to who does that, but for begun and over.
type handshake struct {
	slots   Slots
	hasSlot bool
	byUse   bool // whoever would wait for it does it, if nobody has begun
	begun   atomic.Bool
	over    chan struct{} // closed at the end
	hello   hello
}

func (s *handshake) takeSlot() {
	select {
	case s.slots <- struct{}{}:
		s.hasSlot = true
		return
	default:
	}
	patience := time.NewTimer(slotPatience)
	defer patience.Stop()
	select {
	case s.slots <- struct{}{}:
		s.hasSlot = true
	case <-patience.C:
	}
}

func (s *handshake) giveSlot() {
	if s.hasSlot {
		<-s.slots
		s.hasSlot = false
	}
}

func (s *handshake) read(below io.Reader, p []byte) (int, error) {
	if !s.hello.isWhole() {
		return s.hello.next(p)
	}
	return s.wait(func(p []byte) (int, error) { return s.hello.read(below, p) }, p)
}

// wait has f, which may wait for the peer, called without a slot.
func (s *handshake) wait(f func([]byte) (int, error), p []byte) (int, error) {
	s.giveSlot()
	n, err := f(p)
	if err == nil {
		s.takeSlot()
	}
	return n, err
}

var errHandshakeBroken = errors.New("libnet: the TLS handshake did not return")

// doHandshake does the handshake, and then takes the connection over from package net.
func (c *Secured) doHandshake() error {
	s := c.wire.handshake.Load()
	if s == nil {
		return c.err
	}
	if !s.begun.CompareAndSwap(false, true) {
		<-s.over
		return c.err
	}
	err := errHandshakeBroken // stays if a callback of the config's panics or ends the goroutine
	defer func() {
		s.giveSlot()
		c.err = err
		c.wire.handshake.Store(nil)
		close(s.over)
	}()
	if err = c.tls.Handshake(); err == nil {
		state := c.tls.ConnectionState()
		c.asksRand = asksRand(state)
		c.wire.around = aroundPayload(state)
		c.wire.in.whole = manyRecords
		if !c.attached {
			LetGo(c.below)
		}
	}
	return err
}

// asksRand reports whether each record that is written has random bytes, as those of CBC do. TLS 1.3 has none: it is
// spared the table of names, which is made anew for each question.
func asksRand(state tls.ConnectionState) bool {
	return state.Version < tls.VersionTLS13 && strings.Contains(tls.CipherSuiteName(state.CipherSuite), "_CBC_")
}
