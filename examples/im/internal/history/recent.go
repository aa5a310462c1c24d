package history

import (
	"context"
	"sync"
	"time"
)

// What is kept of what groups said lately: so much of a group, and of so many.
const (
	recentEntries = 256
	recentBytes   = 256 << 10
	recentGroups  = 512
	recentLife    = time.Minute // since somebody asked

	// recentReaders is how many read a group from JetStream at once. All others wait for what these bring; more than
	// one, because some may be far behind.
	recentReaders = 8
)

// recent keeps what groups said lately, because all members of a group read it at once: the first has it read from
// JetStream, and the others wait for that. Any goroutine may use it.
type recent struct {
	log *log

	// mu guards the following.
	mu     sync.Mutex
	groups map[string]*recentGroup // by subject
}

// A recentGroup is what is kept of one.
type recentGroup struct {
	turns chan struct{} // holds recentReaders; who has one may read
	asked time.Time     // guarded by recent.mu

	// mu guards the following.
	mu   sync.Mutex
	span span
}

func newRecent(l *log) *recent { return &recent{log: l, groups: make(map[string]*recentGroup)} }

// forget is called when the stream may be another one.
func (r *recent) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.groups)
}

func (r *recent) group(subject string) *recentGroup {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.groups[subject]
	if g == nil {
		r.makeRoomLocked()
		g = &recentGroup{turns: make(chan struct{}, recentReaders)}
		for range recentReaders {
			g.turns <- struct{}{}
		}
		r.groups[subject] = g
	}
	g.asked = time.Now()
	return g
}

// makeRoomLocked drops groups that nobody asks for, and others when there are too many.
func (r *recent) makeRoomLocked() {
	if len(r.groups) < recentGroups {
		return
	}
	for subject, g := range r.groups {
		if time.Since(g.asked) > recentLife || len(r.groups) >= recentGroups {
			delete(r.groups, subject)
		}
	}
}

// read is readSpan.
func (r *recent) read(ctx context.Context, subject string, from, last int64, messages, bytes int) (s span, ok bool, err error) {
	g := r.group(subject)
	select {
	case <-g.turns:
	case <-ctx.Done():
		return s, false, ctx.Err()
	}
	defer func() { g.turns <- struct{}{} }()
	if s, ok = g.kept(from, last, messages, bytes); ok {
		return s, true, nil
	}
	s, ok, err = r.log.readSpan(ctx, subject, from, last, messages, bytes)
	if err == nil && ok {
		g.keep(s)
	}
	return s, ok, err
}

// kept is what read would find, if that is kept.
func (g *recentGroup) kept(from, last int64, messages, bytes int) (s span, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if from < g.span.from || last > g.span.to {
		return s, false
	}
	return g.span.part(from, messages, bytes), true
}

func (g *recentGroup) keep(s span) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.span.take(s)
}

// take makes one span of two that meet. Of two that do not, the later one is kept.
func (s *span) take(other span) {
	switch {
	case other.from <= s.from && other.to >= s.from && other.to <= s.to: // it reaches further back
		s.entries = append(other.upTo(s.from), s.entries...)
		s.from = other.from
	case other.from >= s.from && other.from <= s.to && other.to > s.to: // it reaches further on
		s.entries = append(s.entries, other.after(s.to)...)
		s.to = other.to
	case other.to > s.to:
		*s = other
	}
	s.shorten()
}

// shorten drops what is oldest.
func (s *span) shorten() {
	bytes := 0
	for i := len(s.entries) - 1; i >= 0; i-- {
		bytes += s.entries[i].bytes
		if bytes > recentBytes || len(s.entries)-i > recentEntries {
			s.from = s.entries[i].version
			s.entries = append([]entry(nil), s.entries[i+1:]...)
			return
		}
	}
}

func (s span) after(version int64) []entry {
	i := 0
	for i < len(s.entries) && s.entries[i].version <= version {
		i++
	}
	return s.entries[i:len(s.entries):len(s.entries)]
}

func (s span) upTo(version int64) []entry {
	n := len(s.entries) - len(s.after(version))
	return append([]entry(nil), s.entries[:n]...)
}

// part is the span from a version on, with so many messages and bytes at the most, but one.
func (s span) part(from int64, messages, bytes int) span {
	p := span{from: from, to: s.to, entries: s.after(from)}
	size := 0
	for i, e := range p.entries {
		if size += e.bytes; i > 0 && (size > bytes || i >= messages) {
			p.entries = p.entries[:i:i]
			p.to = p.entries[i-1].version
			break
		}
	}
	return p
}
