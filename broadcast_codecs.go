package libnet

import (
	"sync/atomic"
	"time"
)

// A codec that is only allocated is there at once; one that first talks to its peer may never be. A broadcast waits so long for
// one, and no longer than for maxSlowCodecs of them.
const (
	codecPatience = 10 * time.Millisecond
	maxSlowCodecs = 10
)

// codecMaker makes the codecs of sessions that have none, one behind the other, on a goroutine of its own; or on several, where one
// takes its time. One that somebody else is making already it leaves to them.
type codecMaker struct {
	sessions []*Session
	taken    atomic.Int64
	made     atomic.Int64
	done     chan struct{} // closed when all are made
}

// makeCodecs returns when the sessions have their codecs, or when it has waited long enough: the rest are made when they are.
func makeCodecs(sessions []*Session) {
	if len(sessions) == 0 {
		return
	}
	makeMissing(sessions)
	var making []<-chan struct{}
	for _, s := range sessions {
		if made := s.codecBeingMade(); made != nil {
			making = append(making, made)
		}
	}
	awaitEach(making, codecPatience)
}

// makeMissing makes those that nobody makes yet.
func makeMissing(sessions []*Session) {
	m := &codecMaker{sessions: sessions, done: make(chan struct{})}
	for range min(maxSlowCodecs, len(sessions)) {
		go m.work()
		if m.wait() {
			return
		}
	}
}

// awaitEach waits until all are closed, for d at most.
func awaitEach(all []<-chan struct{}, d time.Duration) {
	if len(all) == 0 {
		return
	}
	bound := time.NewTimer(d)
	defer bound.Stop()
	for _, c := range all {
		select {
		case <-c:
		case <-bound.C:
			return
		}
	}
}

func (m *codecMaker) work() {
	for {
		i := m.taken.Add(1) - 1
		if i >= int64(len(m.sessions)) {
			return
		}
		m.make(m.sessions[i])
	}
}

func (m *codecMaker) make(s *Session) {
	defer func() {
		if m.made.Add(1) == int64(len(m.sessions)) {
			close(m.done)
		}
	}()
	if mine, _ := s.beginCodec(); mine {
		s.makeCodec()
	}
}

// wait waits for as long as codecs are made, and reports whether all are.
func (m *codecMaker) wait() bool {
	ticker := time.NewTicker(codecPatience)
	defer ticker.Stop()
	for seen := m.made.Load(); ; {
		select {
		case <-m.done:
			return true
		case <-ticker.C:
		}
		made := m.made.Load()
		if made == seen {
			return false
		}
		seen = made
	}
}
