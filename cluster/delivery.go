package cluster

import (
	"context"
	"encoding/binary"
	"strings"

	"github.com/nats-io/nats.go"
)

// A Delivery says what a broadcast came to.
type Delivery struct {
	Nodes    int // that have members of the group
	Members  int // sessions that queued the message
	Blocked  int // sessions that had no room for it
	Rejected int // sessions that cannot encode it
}

func (d *Delivery) add(other Delivery) {
	d.Nodes += other.Nodes
	d.Members += other.Members
	d.Blocked += other.Blocked
	d.Rejected += other.Rejected
}

// BroadcastContext is [Node.Broadcast] that waits until all nodes have handled the message, and says how many members
// queued it. No members, and so no node, is no error. It costs a question and an answer a node beside the message.
//
// Errors: those of Broadcast; [ErrDegraded] when some node could not be asked: its members are not in the result, and
// may have the message; ctx's, after which the result is what was heard until then. Without a deadline in ctx,
// Options.Timeout bounds the call.
func (n *Node) BroadcastContext(ctx context.Context, group string, payload []byte) (Delivery, error) {
	token, err := n.check(group, payload)
	if err != nil {
		needContext(ctx)
		return Delivery{}, err
	}
	n.stats.broadcasts.Add(1)
	var all Delivery
	err = n.askGroup(ctx, token, kindMessage, payload, 1, func(a answer) {
		if d, err := parseDelivery(a.data); a.code == answerDelivered && err == nil {
			all.add(d)
		}
	})
	return all, err
}

// askGroup asks all nodes with members of a group, and has all answers when it returns, up to most a node. That nobody
// answers is no error.
//
// The question goes where interest is known, and behind it each node says whether it has members that were not asked:
// of those who have just joined, interest may not have spread, and a node whose channel is full loses questions. Such a
// node is then asked alone.
func (n *Node) askGroup(ctx context.Context, token string, kind byte, body []byte, most int, each func(answer)) error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	reachable, _ := n.peers.split()
	const mayJoin = 8 // nodes that come up meanwhile
	k := n.calls.begin((len(reachable) + 1 + mayJoin) * most)
	defer n.calls.end(k)
	reply := n.replySubject(k, 0)
	if err := n.publish(n.subjects.group(token), reply, kind, 0, body); err != nil {
		return err
	}
	r := n.round(ctx, appendGroupPing(reply, token), func(instance string) error {
		return natsError(n.conn.PublishRequest(n.subjects.nodeOf(instance), reply, appendGroupQuestion(nil, token, kind, body)))
	}) // behind it, all answers are in
	for len(k.answers) > 0 {
		each(<-k.answers)
	}
	return n.incomplete(r)
}

func appendGroupPing(reply, token string) []byte {
	return append([]byte{pingGroup}, reply+" "+token...)
}

// handleGroupPing answers whether members here were asked, as all that came before has been handled.
func (d *dispatcher) handleGroupPing(m *nats.Msg, body []byte) {
	reply, token, _ := strings.Cut(string(body), " ")
	if d.groupOf(token) != nil && !d.asked.has(reply) {
		d.answer(m, answerMissed)
		return
	}
	d.answerPing(m)
}

// groupOf is nil for a group without members here.
func (d *dispatcher) groupOf(token string) *group {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.groups[token]
}

// handleGroup handles a message to a group: a payload, or with a reply subject a question, which begins with its kind.
func (d *dispatcher) handleGroup(m *nats.Msg, token string) {
	switch g := d.groupOf(token); {
	case g == nil || g.sub != m.Sub: // a group that has just ended and begun again has two subscriptions for a moment
	case m.Reply == "":
		d.deliverTo(g, m.Data)
	default:
		d.handleGroupQuestion(m, g, m.Data)
	}
}

// handleGroupQuestion handles each question once, on whichever way it comes.
func (d *dispatcher) handleGroupQuestion(m *nats.Msg, g *group, question []byte) {
	if g == nil || len(question) == 0 || d.asked.has(m.Reply) {
		return
	}
	d.asked.note(m.Reply)
	switch body := question[1:]; question[0] {
	case kindMessage:
		d.answerWith(m, appendDelivery(answers[answerDelivered], d.deliverTo(g, body)))
	case kindCount:
		d.answerWith(m, appendCount(answers[answerCount], g.members.Len()))
	case kindQuery:
		d.answerMembers(m, g)
	case kindKick:
		d.handleGroupKick(m, g, body)
	}
}

func (d *dispatcher) deliverTo(g *group, payload []byte) Delivery {
	members := g.members.Len()
	r := g.members.Broadcast(payload)
	rejected := max(members-r.Sent-r.Blocked-r.Closed, 0)
	d.node.stats.delivered.Add(uint64(r.Sent))
	d.node.stats.blocked.Add(uint64(r.Blocked))
	d.node.stats.rejected.Add(uint64(rejected))
	return Delivery{Nodes: 1, Members: r.Sent, Blocked: r.Blocked, Rejected: rejected}
}

// appendDelivery is a node's part of a delivery: three numbers of four bytes.
func appendDelivery(prefix []byte, d Delivery) []byte {
	dst := prefix[:len(prefix):len(prefix)]
	for _, count := range []int{d.Members, d.Blocked, d.Rejected} {
		dst = binary.BigEndian.AppendUint32(dst, uint32(count))
	}
	return dst
}

func parseDelivery(src []byte) (Delivery, error) {
	if len(src) != 12 {
		return Delivery{}, errMalformed
	}
	count := func(i int) int { return int(binary.BigEndian.Uint32(src[4*i:]) & (1<<31 - 1)) }
	return Delivery{Nodes: 1, Members: count(0), Blocked: count(1), Rejected: count(2)}, nil
}
