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
// interest know nothing yet. A message says which post it follows, and waits until that has come. The dispatcher's
// goroutine alone uses it.
type late struct {
	known   map[postID]bool // what users who have just logged in were delivered, or will do without
	order   []postID
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
	direct bool
}

const (
	// recentLogin is how long after a login interest may be behind, on a network that has very much to do.
	recentLogin = 10 * time.Second

	// holdSteps of holdStep are how long a message waits for a post that it follows, which may never come: the node
	// that the user has left may have had it. A detour takes a few milliseconds. Where there is much to do it takes
	// longer, and each step as well, for which this process has to be woken.
	holdSteps = 10
	holdStep  = 10 * time.Millisecond

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

// mustWait reports whether the post that a message follows has not come.
func (l *late) mustWait(h *heldMessage) bool {
	return h.after != 0 && !l.known[postID{h.lane.instance, h.after}]
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

// arrived delivers what has waited for a post that was delivered.
func (d *dispatcher) arrived(post *nats.Msg, token string) {
	d.release(lane{d.node.subjects.asker(post.Reply), token})
}

// expire delivers what has waited long enough, and what follows that. First it handles what has come: the post may be
// there.
func (d *dispatcher) expire() {
	l := &d.late
	l.due = nil
	for range len(d.incoming) {
		d.handle(<-d.incoming)
	}
	l.steps++
	for front := l.held.Front(); front != nil; front = l.held.Front() {
		h := front.Value.(*heldMessage) // a ping that comes first has been answered
		if l.steps-h.step <= holdSteps {
			l.due = time.After(holdStep)
			return
		}
		l.know(postID{h.lane.instance, h.after})
		d.release(h.lane)
	}
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
