package cluster

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// late puts posts that took a detour back into their order, for users who have just logged in: only of those does interest know nothing yet.
// A message says which post it follows, and waits until that has come. The dispatcher's goroutine alone uses it.
type late struct {
	known map[postID]bool // what users who have just logged in were delivered, or will do without
	order []postID
	held  []heldMessage    // in order of arrival
	due   <-chan time.Time // when the first of them has waited long enough; nil without one
	pings []*nats.Msg      // that are answered when nothing is held
}

// A postID is a post of a node.
type postID struct {
	instance string
	number   uint64
}

type heldMessage struct {
	m      *nats.Msg
	token  string
	after  postID
	since  time.Time
	direct bool
}

const (
	// recentLogin is how long after a login interest may be behind, on a network that has very much to do.
	recentLogin = 10 * time.Second

	// holdFor is how long a message waits for a post that it follows, which may never come: the node that the user has left may have had it.
	// A detour takes a few milliseconds.
	holdFor = 100 * time.Millisecond

	maxKnown = 4096
	maxHeld  = 4096
)

// hold reports whether a message has to wait: for the post that it follows, or behind others of its sender to the user.
func (d *dispatcher) hold(m *nats.Msg, token string, after uint64, direct bool) bool {
	id := postID{d.node.subjects.asker(m.Reply), after}
	wait := after != 0 && !d.late.known[id]
	for _, h := range d.late.held {
		wait = wait || h.token == token && h.after.instance == id.instance
	}
	if !wait || len(d.late.held) >= maxHeld {
		return false
	}
	now := time.Now()
	d.late.held = append(d.late.held, heldMessage{m, token, id, now, direct})
	if d.late.due == nil {
		d.late.due = time.After(holdFor)
	}
	return true
}

// know notes a post that needs not to be waited for, and is not to be delivered any more.
func (l *late) know(id postID) {
	if l.known == nil {
		l.known = make(map[postID]bool)
	}
	if l.known[id] {
		return
	}
	if len(l.order) >= maxKnown {
		delete(l.known, l.order[0])
		l.order = l.order[1:]
	}
	l.known[id] = true
	l.order = append(l.order, id)
}

// release delivers what needs to wait no longer.
func (d *dispatcher) release() {
	now := time.Now()
	held := d.late.held
	d.late.held = nil
	for _, h := range held {
		expired := now.Sub(h.since) >= holdFor
		if expired && h.after.number != 0 {
			d.late.know(h.after)
		}
		if d.hold(h.m, h.token, h.after.number, h.direct) {
			d.late.held[len(d.late.held)-1].since = h.since
		} else {
			d.handleHeld(h)
		}
	}
	d.late.due = nil
	if len(d.late.held) > 0 {
		d.late.due = time.After(holdFor - now.Sub(d.late.held[0].since))
		return
	}
	pings := d.late.pings
	d.late.pings = nil
	for _, m := range pings {
		d.handlePing(m)
	}
}

func (d *dispatcher) handleHeld(h heldMessage) {
	sub := h.m.Sub
	if h.direct {
		sub = nil
	}
	data := h.m.Data
	if data[0] == kindAfter {
		data = data[9:] // handleUser has looked
	}
	d.handleKind(h.m, d.holder(h.token, sub), data[0], data[1:], h.direct)
}

// postOf returns which post a reply subject is of; its number is 0 for other messages.
func (s *subjects) postOf(reply string) (id postID) {
	id.instance = s.asker(reply)
	if i := strings.LastIndex(reply, postReplies); i >= 0 {
		id.number, _ = strconv.ParseUint(reply[i+len(postReplies):], 36, 64)
	}
	return id
}

// asker returns whose answers go to the subject, empty for nobody's.
func (s *subjects) asker(reply string) string {
	rest, ok := strings.CutPrefix(reply, s.prefix+"r.")
	if !ok {
		return ""
	}
	instance, _, _ := strings.Cut(rest, ".")
	return instance
}

// parseAfter takes the number of the post that a message follows off its front.
func parseAfter(src []byte) (after uint64, payload []byte, err error) {
	if len(src) < 8 {
		return 0, nil, errMalformed
	}
	return binary.BigEndian.Uint64(src), src[8:], nil
}
