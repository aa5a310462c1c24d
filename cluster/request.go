package cluster

import (
	"context"
	"errors"
	"sync"
	"time"
)

// answerTimeout is how long an answer is waited for before the user's homes are asked where the user is. Questions
// about a session that closes meanwhile are lost, as are those that a full channel drops, and some nodes are far away.
const answerTimeout = 50 * time.Millisecond

// request asks a user's subject and returns the first final answer: one of a node that holds the user. Other answers
// prove nothing: while the user moves to another node, or a route comes up, there may be no subscriber, or one that has
// just lost the user. Then the user's homes say which node to ask, or that there is none.
func (n *Node) request(ctx context.Context, k *call, token string, kind byte, payload []byte) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	a, err := n.ask(ctx, k, n.subjects.user(token), kind, payload)
	if err != nil || a.isFinal() {
		return a, err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	p := pursuit{node: n, call: k, token: token, kind: kind, payload: payload, last: a.code}
	return p.run(ctx)
}

// ask publishes a question and returns the first answer, answerNone if none comes within answerTimeout.
func (n *Node) ask(ctx context.Context, k *call, subject string, kind byte, payload []byte) (answer, error) {
	if err := n.publish(subject, n.replySubject(k, 0), kind, k.after, payload); err != nil {
		return answer{}, err
	}
	timer := timers.Get().(*time.Timer)
	timer.Reset(answerTimeout)
	defer func() {
		timer.Stop()
		timers.Put(timer)
	}()
	select {
	case a := <-k.answers:
		return a, a.lost()
	case <-timer.C:
		return answer{code: answerNone}, nil
	case <-ctx.Done():
		return answer{}, n.unknown(ctx.Err())
	case <-n.done:
		return answer{}, ErrClosed
	}
}

// timers are for ask: one a message would be the larger part of its cost.
var timers = sync.Pool{New: func() any { return time.NewTimer(time.Hour) }}

// incomplete returns why a round says nothing of some nodes, nil if it does of all.
func (n *Node) incomplete(r roundResult) error {
	if r.err == nil && (r.unreachable > 0 || n.peers.isolated()) {
		return ErrDegraded
	}
	return r.err
}

// isFinal reports whether an answer comes from a node that holds the user.
func (a answer) isFinal() bool {
	switch a.code {
	case answerQueued, answerBlocked, answerRejected, answerPresence, answerKicked:
		return true
	}
	return false
}

// lost returns an error when the connection broke before the answer came.
func (a answer) lost() error {
	if a.code == answerLost {
		return ErrDisconnected
	}
	return nil
}

// unknown is the error of a call that ran out of time, joined with ErrDegraded when a node was out of reach.
func (n *Node) unknown(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		if _, unreachable := n.peers.split(); unreachable > 0 {
			return errors.Join(ErrDegraded, err)
		}
	}
	return err
}
