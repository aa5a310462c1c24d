package cluster

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"
)

// answerTimeout is how long an answer is waited for before a barrier tells whether the question was lost. Questions about
// a session that closes meanwhile are lost, as are those that a full channel drops.
const answerTimeout = 50 * time.Millisecond

// request asks a user's subject and returns the first final answer: one of a node that holds the user. Other answers prove
// nothing: while the user moves to another node, or a route comes up, there may be no subscriber, or one that has just
// lost the user. The question is then asked again, and "no subscribers" is true only between two complete barriers.
func (n *Node) request(ctx context.Context, k *call, subject string, kind byte, payload []byte) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	for again := false; ; again = true {
		a, err := n.ask(ctx, k, subject, kind, payload)
		if err != nil || a.isFinal() {
			return a, err
		}
		if !again {
			var cancel context.CancelFunc
			ctx, cancel = n.bounded(ctx)
			defer cancel()
		}
		a, err = n.confirm(ctx, k, a)
		switch {
		case err != nil || a.isFinal():
			return a, err
		case a.code == answerNone && kind == kindMessage:
			return answer{}, ErrDegraded // the message or its answer was lost: sent again, it might arrive twice
		case a.code == answerNoResponders && again:
			return answer{}, ErrOffline
		}
	}
}

// ask publishes a question and returns the first answer, answerNone if none comes within answerTimeout.
func (n *Node) ask(ctx context.Context, k *call, subject string, kind byte, payload []byte) (answer, error) {
	if err := n.publish(subject, n.replySubject(k, 0), kind, payload); err != nil {
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

// confirm waits until all that was published has been handled everywhere, or a final answer comes after all. If none does,
// it returns the last answer, and the question may be asked again.
func (n *Node) confirm(ctx context.Context, k *call, last answer) (answer, error) {
	round := n.joinRound()
	for {
		select {
		case last = <-k.answers:
			if err := last.lost(); err != nil || last.isFinal() {
				return last, err
			}
		case r := <-round:
			for len(k.answers) > 0 && !last.isFinal() {
				last = <-k.answers
			}
			if last.isFinal() {
				return last, nil
			}
			return last, cmp.Or(last.lost(), n.incomplete(r))
		case <-ctx.Done():
			return answer{}, n.unknown(ctx.Err())
		case <-n.done:
			return answer{}, ErrClosed
		}
	}
}

// incomplete returns why a round leaves a user unknown, nil if it does not.
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
