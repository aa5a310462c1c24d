package cluster

import "github.com/nats-io/nats.go"

// replies remembers questions that were handled, by where their answers go. The dispatcher's goroutine alone uses it.
type replies struct{ recent[string, struct{}] }

// maxReplies is how many are remembered. Questions are asked again within heartbeatTimeout of the first time.
const maxReplies = 4096

func (r *replies) note(reply string) {
	if reply != "" {
		r.put(reply, struct{}{}, maxReplies)
	}
}

// kick ends the session that b holds, or any one here, and answers whether this question has: a kick whose answer was
// lost is asked again, and is to count the session.
func (d *dispatcher) kick(m *nats.Msg, session uint64, reason string) {
	switch {
	case d.evict(session, &KickedError{reason}):
		d.kicked.note(m.Reply)
	case !d.kicked.has(m.Reply):
		d.answer(m, answerGone)
		return
	}
	d.answer(m, answerKicked)
}
