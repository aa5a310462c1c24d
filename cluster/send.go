package cluster

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Send sends payload to user, wherever the user is bound, as one message in that session's own framing, and waits
// for its answer. nil: the message is in its queue. The caller may then change payload.
//
// Errors: [ErrOffline]; [ErrDegraded] when the user was not found and some node could not be asked, or the answer was
// lost; [ErrBlocked]; [ErrRejected]; [ErrTooLarge]; [ErrInvalidName]; [ErrDisconnected]; [ErrClosed]; ctx's. After ErrDegraded,
// ErrDisconnected and ctx's the message may or may not arrive, after the others it does not. Without a
// deadline in ctx, Options.Timeout bounds the call.
func (n *Node) Send(ctx context.Context, user string, payload []byte) error {
	token, err := n.check(user, payload)
	if err != nil {
		return err
	}
	k := n.calls.begin(1)
	defer n.calls.end(k)
	a, err := n.request(ctx, k, n.subjects.user(token), kindMessage, payload)
	if err != nil {
		return err
	}
	switch a.code {
	case answerQueued:
		return nil
	case answerBlocked:
		return ErrBlocked
	}
	return ErrRejected
}

// Post sends payload to user without waiting for anything: nil says that the NATS server was given the
// message, and blocks only while that reads nothing, for 3 s at most. What one goroutine sends and posts to a
// user arrives in that order. The caller may then change payload. Errors: [ErrTooLarge], [ErrInvalidName],
// [ErrDisconnected], [ErrClosed].
func (n *Node) Post(user string, payload []byte) error {
	token, err := n.check(user, payload)
	if err != nil {
		return err
	}
	return n.publish(n.subjects.user(token), "", kindMessage, payload)
}

func (n *Node) check(name string, payload []byte) (token string, err error) {
	if err := n.open(); err != nil {
		return "", err
	}
	if len(payload) > n.MaxPayload() {
		return "", ErrTooLarge
	}
	return checkedToken(name)
}

// buffers are for messages that get a kind in front; the NATS client copies them again.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// keptBuffer is the largest that is kept for another message.
const keptBuffer = 64 << 10

func (n *Node) publish(subject, reply string, kind byte, payload []byte) error {
	buf := buffers.Get().(*[]byte)
	data := append(append((*buf)[:0], kind), payload...)
	var err error
	if reply == "" {
		err = n.conn.Publish(subject, data)
	} else {
		err = n.conn.PublishRequest(subject, reply, data)
	}
	if cap(data) <= keptBuffer {
		*buf = data
		buffers.Put(buf)
	}
	return natsError(err)
}

// nudge is how long a silence lasts before a barrier is asked whether the message was lost. Messages to a
// session that closes meanwhile are, as are those that a full channel drops.
const nudge = 50 * time.Millisecond

// request asks a user's subject and returns the first answer that settles the question. No answer is believed
// that does not: nobody subscribes, or who did has lost the user, also when the user is moving or a route comes up.
// So the question is asked again, and nobody subscribing is the truth between two complete barriers.
func (n *Node) request(ctx context.Context, k *call, subject string, kind byte, payload []byte) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	for again := false; ; again = true {
		a, err := n.ask(ctx, k, subject, kind, payload)
		if err != nil || a.settles() {
			return a, err
		}
		if !again {
			var cancel context.CancelFunc
			ctx, cancel = n.bounded(ctx)
			defer cancel()
		}
		a, err = n.settle(ctx, k, a)
		switch {
		case err != nil || a.settles():
			return a, err
		case a.code == 0 && kind == kindMessage:
			return answer{}, ErrDegraded // it or its answer was lost: sent again, it might arrive twice
		case a.code == answerNoResponders && again:
			return answer{}, ErrOffline
		}
	}
}

// ask publishes a question and returns the first answer; one without a code says that there was silence.
func (n *Node) ask(ctx context.Context, k *call, subject string, kind byte, payload []byte) (answer, error) {
	if err := n.publish(subject, n.replySubject(k, 0), kind, payload); err != nil {
		return answer{}, err
	}
	timer := timers.Get().(*time.Timer)
	timer.Reset(nudge)
	defer func() {
		timer.Stop()
		timers.Put(timer)
	}()
	select {
	case a := <-k.answers:
		return a, a.lost()
	case <-timer.C:
		return answer{}, nil
	case <-ctx.Done():
		return answer{}, n.unknown(ctx.Err())
	case <-n.done:
		return answer{}, ErrClosed
	}
}

// timers are for ask: one a message would be the larger part of its cost.
var timers = sync.Pool{New: func() any { return time.NewTimer(time.Hour) }}

// settle waits until all that was published has been handled everywhere, or an answer settles the question
// after all. Else it returns the last answer, which says that the question may be asked again.
func (n *Node) settle(ctx context.Context, k *call, last answer) (answer, error) {
	round := n.joinRound()
	for {
		select {
		case last = <-k.answers:
			if err := last.lost(); err != nil || last.settles() {
				return last, err
			}
		case r := <-round:
			for len(k.answers) > 0 && !last.settles() {
				last = <-k.answers
			}
			if last.settles() {
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
	if r.err == nil && (r.unreachable > 0 || n.peers.lonely()) {
		return ErrDegraded
	}
	return r.err
}

// settles reports whether an answer is the last word: it comes from a node that holds the user.
func (a answer) settles() bool {
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

// unknown is the error of a call that ran out of time: it says so when a node was out of reach, too.
func (n *Node) unknown(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		if _, unreachable := n.peers.split(); unreachable > 0 {
			return errors.Join(ErrDegraded, err)
		}
	}
	return err
}

// bounded gives a context without a deadline that of Options.Timeout.
func (n *Node) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, n.timeout)
}

// natsError is err in the words of this package.
func natsError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload):
		return ErrTooLarge
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return ErrClosed
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrDisconnected):
		return ErrDisconnected
	}
	return errors.Join(ErrDisconnected, err)
}
