package cluster

import (
	"context"
	"time"
)

// A question goes to one node. What carries it may break and be whole again before anybody notices, and a full channel
// loses messages, so silence is no answer while the node is heard.
type question struct {
	call    *call
	node    string // the instance
	subject string // one of that node's
	target  int    // tells its answers from those to earlier questions, of which only final ones count; the next number is taken, too
	kind    byte
	payload []byte
	passed  func(answer) // nil, or is given the answers that do not end the waiting
}

// await asks, and waits for the answer while the node is heard. Errors: [ErrDegraded] when it is not, or when the
// question or its answer was lost and must not be asked twice; [ErrDisconnected]; [ErrClosed]; ctx's.
func (n *Node) await(ctx context.Context, q *question) (answer, error) {
	if err := n.put(q, q.kind, q.target); err != nil {
		return answer{}, err
	}
	tick := time.NewTicker(pingAgain)
	defer tick.Stop()
	for {
		select {
		case a := <-q.call.answers:
			if n.answers(q, a) {
				return n.settled(q, a)
			}
			if q.passed != nil {
				q.passed(a)
			}
		case <-tick.C:
			if q.node != n.instance && !n.peers.fresh(q.node) && !n.peers.holdsNoUsers(q.node) {
				return answer{}, ErrDegraded
			}
			if err := n.putAgain(q); err != nil {
				return answer{}, err
			}
		case <-ctx.Done():
			return answer{}, n.unknown(ctx.Err())
		case <-n.done:
			return answer{}, ErrClosed
		}
	}
}

func (n *Node) put(q *question, kind byte, target int) error {
	return n.publish(q.subject, n.replySubject(q.call, target), kind, q.call.after, q.payload)
}

// putAgain repeats a question, which its node answers alike. A message would come twice, so it is followed by a fence,
// which is answered behind it.
func (n *Node) putAgain(q *question) error {
	if q.kind == kindMessage {
		return n.publish(q.subject, n.replySubject(q.call, q.target+1), kindFence, q.call.after, nil)
	}
	return n.put(q, q.kind, q.target)
}

// answers reports whether an answer ends the waiting.
func (n *Node) answers(q *question, a answer) bool {
	return a.isFinal() || a.code == answerLost || a.target == q.target || a.target == q.target+1
}

func (n *Node) settled(q *question, a answer) (answer, error) {
	switch {
	case a.code == answerLost:
		return a, ErrDisconnected
	case a.isFinal():
		return a, nil
	case a.target == q.target+1:
		return answer{}, ErrDegraded // the message, or the answer to it, was lost
	case a.code == answerNoResponders && q.node != n.instance && !n.peers.holdsNoUsers(q.node):
		return answer{}, ErrDegraded // it has not left, and there is no route to it
	}
	return a, nil
}
