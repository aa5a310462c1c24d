package cluster

import (
	"context"
	"encoding/json"
	"time"

	"github.com/libnet-go/libnet/cluster/internal/directory"
	"github.com/nats-io/nats.go"
)

// Presence is one session of a user.
type Presence struct {
	Node    string    `json:"node"`    // the id of the node that holds it
	Run     string    `json:"run"`     // the run of that node: another one after a restart
	Session uint64    `json:"session"` // the session's ID there
	Since   time.Time `json:"since"`   // when it was bound, by the clock of its node
	Addr    string    `json:"addr"`    // the peer's address; empty for a session without one

	Data map[string]string `json:"data,omitempty"` // BindOptions.Data
}

// KickedError is the reason of a session that [Node.Kick] closed. errors.Is(err, ErrKicked) holds.
type KickedError struct {
	Reason string // what Kick was given, cut off at 1,024 bytes
}

func (e *KickedError) Error() string { return "cluster: kicked: " + e.Reason }

// Unwrap returns ErrKicked.
func (e *KickedError) Unwrap() error { return ErrKicked }

// Online asks the node that holds the user for his sessions: there is none when the user is offline. Errors:
// [ErrDegraded] when none was found, and it is not certain that there is none; [ErrInvalidName]; [ErrDisconnected];
// [ErrClosed]; ctx's. Without a deadline in ctx, Options.Timeout bounds the call.
func (n *Node) Online(ctx context.Context, user string) ([]Presence, error) {
	ctx = usersContext(ctx)
	token, err := n.check(user, nil)
	if err != nil {
		return nil, err
	}
	k := n.calls.begin(callAnswers)
	defer n.calls.end(k)
	a, err := n.request(ctx, k, token, kindQuery, nil)
	if err == ErrOffline {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := parsePresence(a.data)
	if err != nil {
		return nil, err
	}
	return []Presence{p}, nil
}

// Kick closes the user's sessions, wherever they are, and returns how many: they take no more messages when it returns,
// and end with a [*KickedError] after what is queued for them, within Options.Farewell. A login that begins after Kick
// stays. Errors as those of Online, but ErrDegraded also comes with sessions that were closed, when there may be more.
// Of reason 1024 bytes are kept.
func (n *Node) Kick(ctx context.Context, user, reason string) (int, error) {
	token, err := n.check(user, nil)
	if err != nil {
		return 0, err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	after, err := n.behindDetours(ctx, token)
	if err != nil {
		return 0, err
	}
	k := n.calls.begin(callAnswers)
	defer n.calls.end(k)
	k.after = after
	a, err := n.kick(ctx, k, token, clipReason(reason))
	switch {
	case err == ErrOffline:
		return 0, nil
	case a.code == answerKicked:
		return 1, err
	}
	return 0, err
}

// kick ends the login that the user's homes know. One that they know later, and that began later, is none of its
// business.
func (n *Node) kick(ctx context.Context, k *call, token, reason string) (answer, error) {
	p := pursuit{node: n, call: k, token: token, kind: kindKick, last: answerNoResponders}
	began := n.directory.Now()
	p.choose = func(l directory.Login) bool {
		if p.tried == 0 {
			began = max(began, l.Number) // that was there before, whatever its number
		}
		p.payload = appendKick(nil, l.Session, reason)
		return l.Number <= began
	}
	a, err := p.run(ctx)
	if err != ErrDegraded {
		return a, err
	}
	a, err = n.ask(ctx, k, n.subjects.user(token), kindKick, appendKick(nil, 0, reason)) // whom interest finds, homes known or not
	if err == nil {
		err = ErrDegraded
	}
	return a, err
}

func (d *dispatcher) handleQuery(m *nats.Msg, b *binding) {
	if b == nil {
		d.answer(m, answerGone)
		return
	}
	p := d.node.presence(b.session.ID(), b.addr)
	p.Since, p.Data = b.since, d.dataOf(b)
	data, err := appendPresence(answers[answerPresence], p)
	if err != nil {
		return // no such value
	}
	d.answerWith(m, data)
}

// presence is what is known of a session here.
func (n *Node) presence(session uint64, addr string) Presence {
	return Presence{Node: n.id, Run: n.instance, Session: session, Addr: addr}
}

func appendPresence(prefix []byte, p Presence) ([]byte, error) {
	data, err := json.Marshal(p)
	return append(prefix[:len(prefix):len(prefix)], data...), err
}

func parsePresence(src []byte) (p Presence, err error) {
	if json.Unmarshal(src, &p) != nil || !p.wellFormed() {
		return Presence{}, errMalformed
	}
	return p, nil
}

// wellFormed reports whether a node may have sent it. Data that is no UTF-8 grows on the way, by a factor of 3 at the
// most.
func (p *Presence) wellFormed() bool { return validInstance(p.Run) && sizeOf(p.Data) <= 3*MaxData }

// handleKick unbinds before it answers: what Kick counts takes no more messages.
func (d *dispatcher) handleKick(m *nats.Msg, b *binding, body []byte) {
	session, reason, err := parseKick(body)
	if err != nil {
		return
	}
	held := uint64(0) // no session's
	if b != nil && (session == 0 || session == b.session.ID()) {
		held = b.session.ID()
	}
	d.kick(m, held, reason)
}
