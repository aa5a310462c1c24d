package cluster

import (
	"context"

	"github.com/nats-io/nats.go"
)

// maxReason is how much of a reason Kick sends, in bytes.
const maxReason = 1024

func clipReason(reason string) string { return reason[:min(len(reason), maxReason)] }

// KickSession closes one session, which [Node.Online] or [Node.Members] has named, whatever users and groups it has, as
// [Node.Kick] closes those of a user. Of at it uses Run and Session. nil: the session takes no more messages, and ends.
//
// Errors: [ErrOffline] when the session has ended, or has neither a user nor a group any more; [ErrDegraded] when its
// node could not be asked; [ErrDisconnected]; [ErrClosed]; ctx's. Without a deadline in ctx, Options.Timeout bounds the call.
func (n *Node) KickSession(ctx context.Context, at Presence, reason string) error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if err := n.open(); err != nil {
		return err
	}
	if !validInstance(at.Run) {
		return ErrOffline
	}
	a, err := n.askNode(ctx, at.Run, kindKick, appendKick(nil, at.Session, clipReason(reason)))
	switch {
	case err != nil:
		return err
	case a.code == answerKicked:
		return nil
	case a.code == answerNoResponders && at.Run != n.instance && !n.peers.holdsNoUsers(at.Run):
		return ErrDegraded // it has not left, and may only be cut off
	}
	return ErrOffline
}

// askNode asks one node, in one of its runs. The question may be lost; ctx's end then is [ErrDegraded], too.
func (n *Node) askNode(ctx context.Context, instance string, kind byte, body []byte) (answer, error) {
	k := n.calls.begin(1)
	defer n.calls.end(k)
	if err := n.publish(n.subjects.nodeOf(instance), n.replySubject(k, 0), kind, 0, body); err != nil {
		return answer{}, err
	}
	select {
	case a := <-k.answers:
		return a, a.lost()
	case <-ctx.Done():
		return answer{}, n.unknown(ctx.Err())
	case <-n.done:
		return answer{}, ErrClosed
	}
}

// handleOwn handles what is sent to this node, and to no user or group.
func (d *dispatcher) handleOwn(m *nats.Msg) {
	if len(m.Data) == 0 || m.Data[0] != kindKick {
		return
	}
	session, reason, err := parseKick(m.Data[1:])
	if err != nil {
		return
	}
	code := answerGone
	if d.evict(session, &KickedError{reason}) {
		code = answerKicked
	}
	d.answer(m, code)
}
