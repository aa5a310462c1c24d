//go:build unix

package sockets

import (
	"errors"
	"time"
)

// Places bound how many handshakes compute at a time, so that a fleet that comes back leaves the processors to those who are
// served already. A handshake that waits for its peer has no place.
type Places chan struct{}

// NewPlaces makes n of them.
func NewPlaces(n int) Places { return make(Places, n) }

// placePatience is how long a handshake waits for a place. Then it goes on without one: those who have them may all be waiting in
// a callback of their config's.
const placePatience = time.Second

// A shaking is what a conn has during its handshake. It belongs to who does that, but for over.
type shaking struct {
	places   Places
	hasPlace bool
	over     chan struct{} // closed at the end
}

func (s *shaking) takePlace() {
	select {
	case s.places <- struct{}{}:
		s.hasPlace = true
		return
	default:
	}
	patience := time.NewTimer(placePatience)
	defer patience.Stop()
	select {
	case s.places <- struct{}{}:
		s.hasPlace = true
	case <-patience.C:
	}
}

func (s *shaking) givePlace() {
	if s.hasPlace {
		<-s.places
		s.hasPlace = false
	}
}

// wait has f, which may wait for the peer, called without a place.
func (s *shaking) wait(f func([]byte) (int, error), p []byte) (int, error) {
	s.givePlace()
	n, err := f(p)
	if err == nil {
		s.takePlace()
	}
	return n, err
}

var errHandshakeBroken = errors.New("libnet: the TLS handshake did not return")

// shake does the handshake, and then takes the connection over from package net.
func (c *Secured) shake() error {
	s := c.wire.shaking.Load()
	if s == nil {
		return c.err
	}
	err := errHandshakeBroken // stays if a callback of the config's panics or ends the goroutine
	defer func() {
		s.givePlace()
		c.err = err
		c.wire.shaking.Store(nil)
		close(s.over)
	}()
	if err = c.tls.Handshake(); err == nil {
		c.wire.in.whole = manyRecords
		letGo(c.below)
	}
	return err
}
