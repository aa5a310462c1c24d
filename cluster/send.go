package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Send sends payload to user, wherever he is bound, as one message in his session's own framing, and waits
// for that session's answer. nil: the message is in its queue. The caller may then change payload.
//
// Errors: [ErrOffline]; [ErrDegraded] when he was not found and some node could not be asked; [ErrBlocked];
// [ErrRejected]; [ErrTooLarge]; [ErrInvalidName]; [ErrDisconnected]; [ErrClosed]; ctx's. After ErrDegraded,
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
// message. What one goroutine sends and posts to a user arrives in that order.
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

// request publishes a question to a user's subject and returns the first answer that settles it.
func (n *Node) request(ctx context.Context, k *call, subject string, kind byte, payload []byte) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	reply := n.replySubject(k, 0)
	if err := n.publish(subject, reply, kind, payload); err != nil {
		return answer{}, err
	}
	a, err := n.await(ctx, k)
	if err != nil || a.settles() {
		return a, err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	for {
		// Nobody subscribes, or who did has lost the user, or there was silence. The first two also happen to a
		// user who is moving, or while a route comes up, so none is the truth yet.
		if a, err := n.missed(ctx, k); err != nil || a.settles() {
			return a, err
		}
		if err := n.publish(subject, reply, kind, payload); err != nil {
			return answer{}, err
		}
		a, err := n.await(ctx, k)
		switch {
		case err != nil:
			return answer{}, n.unknown(err)
		case a.settles():
			return a, nil
		case a.code == answerNoResponders:
			return answer{}, ErrOffline
		}
	}
}

// missed waits until all that was published has been handled everywhere, or an answer comes after all. No
// answer then says that nobody has the question, and that it may be asked again.
func (n *Node) missed(ctx context.Context, k *call) (answer, error) {
	round := n.joinRound()
	for {
		select {
		case a := <-k.answers:
			if a.settles() {
				return a, nil
			}
		case r := <-round:
			return n.answerOrWhy(k, r)
		case <-ctx.Done():
			return answer{}, n.unknown(ctx.Err())
		case <-n.done:
			return answer{}, ErrClosed
		}
	}
}

// answerOrWhy looks for an answer that came before the end of the round, and else says what the round says.
func (n *Node) answerOrWhy(k *call, r roundResult) (answer, error) {
	for len(k.answers) > 0 {
		if a := <-k.answers; a.settles() {
			return a, nil
		}
	}
	switch {
	case r.err != nil:
		return answer{}, r.err
	case r.unreachable > 0 || n.peers.lonely():
		return answer{}, ErrDegraded
	}
	return answer{}, nil
}

// settles reports whether an answer is the last word: it comes from a node that holds the user.
func (a answer) settles() bool {
	switch a.code {
	case answerQueued, answerBlocked, answerRejected, answerPresence, answerKicked:
		return true
	}
	return false
}

// timers are for await: one a message would be the larger part of its cost.
var timers = sync.Pool{New: func() any { return time.NewTimer(time.Hour) }}

// await waits for an answer; one without a code says that there was silence.
func (n *Node) await(ctx context.Context, k *call) (answer, error) {
	timer := timers.Get().(*time.Timer)
	timer.Reset(nudge)
	defer func() {
		timer.Stop()
		timers.Put(timer)
	}()
	select {
	case a := <-k.answers:
		if a.code == answerLost {
			return answer{}, ErrDisconnected
		}
		return a, nil
	case <-timer.C:
		return answer{}, nil
	case <-ctx.Done():
		return answer{}, ctx.Err()
	case <-n.done:
		return answer{}, ErrClosed
	}
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
