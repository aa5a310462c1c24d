package monitor

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/libnet-go/libnet"
)

// entry is a session as one look saw it.
type entry struct {
	id      uint64
	session *libnet.Session // nil for a session that has closed
	closing bool
	stats   libnet.SessionStats
	rate    float64

	// Of a session that has closed.
	name   string
	remote net.Addr
	reason string
	err    error
	closed time.Time
}

func (e *entry) observe(s *libnet.Session) {
	*e = entry{id: s.ID(), session: s, closing: s.IsClosed(), stats: s.Stats()}
}

func closedEntry(c libnet.ClosedSession, reason string) entry {
	return entry{
		id:     c.ID,
		name:   c.Name,
		stats:  c.Stats,
		remote: c.RemoteAddr,
		reason: reason,
		err:    c.Err,
		closed: c.Closed,
	}
}

// nameNow is the session's name, which may have changed since the look.
func (e *entry) nameNow() string {
	if e.session != nil {
		return e.session.Name()
	}
	return e.name
}

func (e *entry) messages() uint64 { return e.stats.MessagesIn + e.stats.MessagesOut }
func (e *entry) bytes() uint64    { return e.stats.BytesIn + e.stats.BytesOut }

func (e *entry) state() string {
	switch {
	case e.session == nil:
		return stateClosed
	case e.closing:
		return stateClosing
	}
	return stateOpen
}

// order compares two sessions: negative if a comes first.
type order func(a, b *entry) int

// orders are the values of the parameter sort. What is most comes first, but for the number.
var orders = map[string]order{
	"id":            func(a, b *entry) int { return cmp.Compare(a.id, b.id) },
	"opened":        func(a, b *entry) int { return a.stats.Opened.Compare(b.stats.Opened) }, // the oldest
	"last_received": func(a, b *entry) int { return a.stats.LastReceived.Compare(b.stats.LastReceived) },
	"rate":          func(a, b *entry) int { return cmp.Compare(b.rate, a.rate) },
	"messages":      func(a, b *entry) int { return cmp.Compare(b.messages(), a.messages()) },
	"messages_in":   func(a, b *entry) int { return cmp.Compare(b.stats.MessagesIn, a.stats.MessagesIn) },
	"messages_out":  func(a, b *entry) int { return cmp.Compare(b.stats.MessagesOut, a.stats.MessagesOut) },
	"bytes":         func(a, b *entry) int { return cmp.Compare(b.bytes(), a.bytes()) },
	"bytes_in":      func(a, b *entry) int { return cmp.Compare(b.stats.BytesIn, a.stats.BytesIn) },
	"bytes_out":     func(a, b *entry) int { return cmp.Compare(b.stats.BytesOut, a.stats.BytesOut) },
	"queued":        func(a, b *entry) int { return cmp.Compare(b.stats.Queued, a.stats.Queued) },
	"queued_bytes":  func(a, b *entry) int { return cmp.Compare(b.stats.QueuedBytes, a.stats.QueuedBytes) },
	"discarded":     func(a, b *entry) int { return cmp.Compare(b.stats.Discarded, a.stats.Discarded) },
	"closed":        func(a, b *entry) int { return b.closed.Compare(a.closed) }, // the newest
}

// sorts are their names, for who has given another.
var sorts = strings.Join(slices.Sorted(maps.Keys(orders)), ", ")

// compare is the order with the number to decide between equals.
func (o order) compare(a, b *entry) int { return cmp.Or(o(a, b), cmp.Compare(a.id, b.id)) }

func (o order) before(a, b *entry) bool { return o.compare(a, b) < 0 }
