package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
)

// Send sends payload to user, wherever the user is bound, as one message in that session's own framing, and waits
// for its answer. nil: the message is in its queue. The caller may then change payload.
//
// Errors: [ErrOffline]; [ErrDegraded] when the user was not found and some node could not be asked, or the answer was
// lost; [ErrBlocked]; [ErrRejected]; [ErrTooLarge]; [ErrInvalidName]; [ErrDisconnected]; [ErrClosed]; ctx's. After
// ErrDegraded, ErrDisconnected and ctx's the message may or may not arrive, after the others it does not. Without a
// deadline in ctx, Options.Timeout bounds the call.
func (n *Node) Send(ctx context.Context, user string, payload []byte) error {
	ctx = usersContext(ctx)
	token, err := n.check(user, payload)
	if err != nil {
		return err
	}
	n.stats.sends.Add(1)
	return n.send(ctx, token, payload)
}

func (n *Node) send(ctx context.Context, token string, payload []byte) error {
	after, detour := n.posts.noteSend(token)
	if detour != nil {
		var cancel context.CancelFunc
		ctx, cancel = n.bounded(ctx)
		defer cancel()
		var err error
		if after, err = n.behindDetours(ctx, token); err != nil {
			return err
		}
	}
	k := n.calls.begin(1)
	defer n.calls.end(k)
	k.after = after
	a, err := n.request(ctx, k, token, kindMessage, payload)
	if err != nil {
		return err
	}
	if after != 0 {
		n.posts.confirm(after)
	}
	return outcome(a)
}

// outcome is what a session's answer to a message means.
func outcome(a answer) error {
	switch a.code {
	case answerQueued:
		return nil
	case answerBlocked:
		return ErrBlocked
	}
	return ErrRejected
}

// Post sends payload to user without waiting for anything: nil says that the NATS server was given the message, and
// blocks only while that reads nothing, for 3 s at most. What one goroutine sends, posts and broadcasts arrives at each
// session in that order. The caller may then change payload. Errors: [ErrTooLarge], [ErrInvalidName],
// [ErrDisconnected], [ErrClosed].
func (n *Node) Post(user string, payload []byte) error {
	token, err := n.check(user, payload)
	if err != nil {
		return err
	}
	n.stats.posts.Add(1)
	number, after, direct := n.posts.note(token, payload)
	if !direct {
		return nil
	}
	return n.publish(n.subjects.user(token), n.postSubject(number), kindPost, after, payload)
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

// publish sends a message of a kind; after is the post that has to come first, 0 for none.
func (n *Node) publish(subject, reply string, kind byte, after uint64, payload []byte) error {
	buf := buffers.Get().(*[]byte)
	data := (*buf)[:0]
	if after != 0 {
		data = binary.BigEndian.AppendUint64(append(data, kindAfter), after)
	}
	data = append(append(data, kind), payload...)
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

// bounded gives a context without a deadline that of Options.Timeout.
func (n *Node) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = usersContext(ctx)
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
