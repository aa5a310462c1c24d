package cluster

import "github.com/nats-io/nats.go"

// kicked remembers which kicks have ended a session, by where their answers go: a kick whose answer was lost is asked again, and
// is to count the session. The dispatcher's goroutine alone uses it.
type kicked struct {
	replies map[string]bool
	order   []string
}

// maxKicked is how many are remembered. Kicks are asked again within heartbeatTimeout of the first time.
const maxKicked = 4096

func (k *kicked) note(reply string) {
	if reply == "" || k.replies[reply] {
		return
	}
	if k.replies == nil {
		k.replies = make(map[string]bool)
	}
	if len(k.order) >= maxKicked {
		delete(k.replies, k.order[0])
		k.order = k.order[1:]
	}
	k.replies[reply] = true
	k.order = append(k.order, reply)
}

// kick ends the session that b holds, or any one here, and answers whether this question has.
func (d *dispatcher) kick(m *nats.Msg, session uint64, reason string) {
	switch {
	case d.evict(session, &KickedError{reason}):
		d.kicked.note(m.Reply)
	case !d.kicked.replies[m.Reply]:
		d.answer(m, answerGone)
		return
	}
	d.answer(m, answerKicked)
}
