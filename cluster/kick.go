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
// node could not be asked; [ErrDisconnected]; [ErrClosed]; ctx's. Without a deadline in ctx, Options.Timeout bounds the
// call.
func (n *Node) KickSession(ctx context.Context, at Presence, reason string) error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if err := n.open(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !validInstance(at.Run) {
		return ErrOffline
	}
	k := n.calls.begin(callAnswers)
	defer n.calls.end(k)
	body := appendKick(nil, at.Session, clipReason(reason))
	a, err := n.await(ctx, &question{call: k, node: at.Run, subject: n.subjects.nodeOf(at.Run), target: 1, kind: kindKick, payload: body})
	if err == nil && a.code != answerKicked {
		err = ErrOffline
	}
	return err
}

// handleOwn handles what is sent to this node, and to no user or group by their own subjects.
func (d *dispatcher) handleOwn(m *nats.Msg) {
	if len(m.Data) == 0 {
		return
	}
	switch m.Data[0] {
	case kindKick:
		if session, reason, err := parseKick(m.Data[1:]); err == nil {
			d.kick(m, session, reason)
		}
	case kindGroup:
		if token, question, err := parseGroupQuestion(m.Data[1:]); err == nil {
			d.handleGroupQuestion(m, d.groupOf(token), question)
		}
	case kindFate:
		if f, err := parseFate(m.Data[1:]); err == nil {
			d.node.tellFate(f)
		}
	case kindMark:
		d.marked(m.Data[1:])
	case kindSettled:
		if f, err := parseFate(m.Data[1:]); err == nil {
			d.pass(lane{f.instance, f.token}, f.number)
		}
	}
}
