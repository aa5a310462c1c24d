package cluster

import (
	"container/list"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// late puts posts that took a detour back into their order, for users who have just logged in: only of those does
// interest know nothing yet. A message says which post it follows, and waits until that has come, or its sender says
// that it will not come any more (fate.go). The dispatcher's goroutine alone uses it.
type late struct {
	known   recent[postID, struct{}] // what users who have just logged in were delivered
	passed  recent[lane, uint64]     // what they do without, and all posts before it: it would come out of order
	held    list.List                // of *heldMessage and, where a ping came, of its *nats.Msg: in order of arrival
	waiting map[lane][]*list.Element // the messages of held, in order
	count   int                      // of them
	steps   uint64
	due     <-chan time.Time // the next step, while something is held
}

// A lane is a sender's way to a user, on which nothing overtakes.
type lane struct{ instance, token string }

// A postID is a post of a node.
type postID struct {
	instance string
	number   uint64
}

type heldMessage struct {
	m      *nats.Msg
	lane   lane
	after  uint64
	step   uint64 // since which it waits
	asked  uint64 // in which step its sender was asked, 0 for never
	direct bool
}

const (
	// recentLogin is how long after a login interest may be behind, on a network that has very much to do.
	recentLogin = 10 * time.Second

	// holdStep is how often what is held is looked at. Where there is much to do a step takes longer, as this process
	// has to be woken for it.
	holdStep = 10 * time.Millisecond

	// A detour takes a few milliseconds. A message that has waited for askAfter has its sender asked what became of
	// the post, which may never come: the node that the user has left may have had it.
	askAfter = 2
	askAgain = 25

	// holdUnheard is how long a message of a node that is not heard waits, holdLongest of one that is: whoever waits
	// for a barrier waits behind it.
	holdUnheard = 10
	holdLongest = 300

	maxKnown = 12 << 10
	maxHeld  = 4096 // messages, and as many pings
)

// hold reports whether a message has to wait: for the post that it follows, or behind others of its sender to the user.
func (d *dispatcher) hold(m *nats.Msg, token string, after uint64, direct bool) bool {
	l := &d.late
	h := &heldMessage{m: m, lane: lane{d.node.subjects.asker(m.Reply), token}, after: after, direct: direct}
	if !l.mustWait(h) && len(l.waiting[h.lane]) == 0 || l.count >= maxHeld {
		return false
	}
	h.step = l.steps
	if l.waiting == nil {
		l.waiting = make(map[lane][]*list.Element)
	}
	l.waiting[h.lane] = append(l.waiting[h.lane], l.held.PushBack(h))
	l.count++
	if l.due == nil {
		l.due = time.After(holdStep)
	}
	return true
}

// mustWait reports whether the post that a message follows has not come, and is to be waited for.
func (l *late) mustWait(h *heldMessage) bool {
	return h.after > l.passed.get(h.lane) && !l.known.has(postID{h.lane.instance, h.after})
}

// isLate reports whether a post has come before, or on a detour that took too long: others passed it.
func (l *late) isLate(id postID, token string, direct bool) bool {
	return l.known.has(id) || direct && id.number <= l.passed.get(lane{id.instance, token})
}

// know notes a post that is delivered.
func (l *late) know(id postID) { l.known.put(id, struct{}{}, maxKnown) }

// pass has nothing on a lane wait for a post any more.
func (d *dispatcher) pass(at lane, number uint64) {
	l := &d.late
	if len(l.waiting[at]) == 0 {
		return
	}
	if number > l.passed.get(at) {
		l.passed.put(at, number, maxKnown)
	}
	d.release(at)
}

// arrived delivers what has waited for a post that was delivered.
func (d *dispatcher) arrived(post *nats.Msg, token string) {
	d.release(lane{d.node.subjects.asker(post.Reply), token})
}

// step looks at what is held: senders are asked, and what has waited long enough is delivered. First it handles what
// has come: the post may be there.
func (d *dispatcher) step() {
	l := &d.late
	l.due = nil
	for range len(d.incoming) {
		d.handle(<-d.incoming)
	}
	l.steps++
	for _, h := range d.overdue() {
		d.pass(h.lane, h.after)
	}
	if l.count > 0 {
		l.due = time.After(holdStep)
	}
}

// overdue returns the messages that have waited long enough for a post, in order of arrival, and asks the senders of
// others.
func (d *dispatcher) overdue() (over []*heldMessage) {
	l := &d.late
	heard := make(map[string]bool)
	for e := l.held.Front(); e != nil; e = e.Next() {
		h, ok := e.Value.(*heldMessage)
		if !ok {
			continue // a ping
		}
		waited := l.steps - h.step
		if waited < askAfter {
			return over
		}
		if _, looked := heard[h.lane.instance]; !looked {
			heard[h.lane.instance] = d.node.hears(h.lane.instance)
		}
		switch {
		case waited > holdLongest, waited > holdUnheard && !heard[h.lane.instance]:
			over = append(over, h)
		case l.waiting[h.lane][0] != e: // behind another one
		case h.asked == 0 || l.steps-h.asked >= askAgain:
			h.asked = l.steps
			d.node.askFate(h.lane, h.after)
		}
	}
	return over
}

// release delivers the messages of a lane that need to wait no longer, and answers the pings that came behind no other.
func (d *dispatcher) release(at lane) {
	l := &d.late
	queue := l.waiting[at]
	for len(queue) > 0 && !l.mustWait(queue[0].Value.(*heldMessage)) {
		h := l.held.Remove(queue[0]).(*heldMessage)
		queue[0], queue = nil, queue[1:]
		l.count--
		d.handleHeld(h)
	}
	if len(queue) == 0 {
		delete(l.waiting, at)
	} else {
		l.waiting[at] = queue
	}
	for front := l.held.Front(); front != nil; front = l.held.Front() {
		m, ok := front.Value.(*nats.Msg)
		if !ok {
			return
		}
		l.held.Remove(front)
		d.answerPing(m)
	}
}

// holdPing reports whether a ping has to wait for messages that came before it. One too many is asked again.
func (l *late) holdPing(m *nats.Msg) bool {
	if l.count == 0 {
		return false
	}
	if l.held.Len()-l.count < maxHeld {
		l.held.PushBack(m)
	}
	return true
}

func (d *dispatcher) handleHeld(h *heldMessage) {
	sub := h.m.Sub
	if h.direct {
		sub = nil
	}
	data := h.m.Data
	if data[0] == kindAfter {
		data = data[9:] // handleUser has looked
	}
	d.handleKind(h.m, d.holder(h.lane.token, sub), data[0], data[1:], h.direct)
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
