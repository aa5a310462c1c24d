package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/nats-io/nats.go"
)

// Presence is one session of a user.
type Presence struct {
	Node    string    `json:"node"`    // the id of the node that holds it
	Run     string    `json:"run"`     // the run of that node: another one after a restart
	Session uint64    `json:"session"` // the session's ID there
	Since   time.Time `json:"since"`   // when it was bound, by the cluster's clock
	Addr    string    `json:"addr"`    // the peer's address; empty for a session without one
}

// KickedError is the reason of a session that [Node.Kick] closed. errors.Is(err, ErrKicked) holds.
type KickedError struct{ Reason string }

func (e *KickedError) Error() string { return "cluster: kicked: " + e.Reason }

// Unwrap returns ErrKicked.
func (e *KickedError) Unwrap() error { return ErrKicked }

// Online asks all nodes for the user's sessions: none when the user is offline, and two only while two logins are
// being told apart. Errors: [ErrDegraded] when none was found and some node could not be asked;
// [ErrInvalidName]; [ErrDisconnected]; [ErrClosed]; ctx's. Without a deadline in ctx, Options.Timeout bounds
// the call.
func (n *Node) Online(ctx context.Context, user string) ([]Presence, error) {
	var sessions []Presence
	err := n.collect(ctx, user, kindQuery, nil, func(a answer) {
		if p, err := parsePresence(a.data); a.code == answerPresence && err == nil {
			sessions = append(sessions, p)
		}
	})
	if len(sessions) > 0 && errors.Is(err, ErrDegraded) {
		err = nil
	}
	return sessions, err
}

// Kick closes the user's sessions, wherever they are, and returns how many: they take no more messages when it returns,
// and end with a [*KickedError] after what is queued for them, within Options.Farewell. A login that begins after Kick
// stays. Errors as those of Online, but ErrDegraded also comes with sessions that were closed, when there may be more.
// Of reason 1024 bytes are kept.
func (n *Node) Kick(ctx context.Context, user, reason string) (int, error) {
	closed := 0
	err := n.collect(ctx, user, kindKick, appendKick(nil, n.clock.now(), clipReason(reason)), func(a answer) {
		if a.code == answerKicked {
			closed++
		}
	})
	return closed, err
}

// collect asks a question to which several sessions may have the answer, and has all there are when it
// returns. A user who is offline has none, and that is no error.
func (n *Node) collect(ctx context.Context, user string, kind byte, body []byte, each func(answer)) error {
	if err := n.open(); err != nil {
		return err
	}
	token, err := checkedToken(user)
	if err != nil {
		return err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	k := n.calls.begin(callAnswers)
	defer n.calls.end(k)
	first, err := n.request(ctx, k, n.subjects.user(token), kind, body)
	if err == ErrOffline {
		return nil
	}
	if err != nil {
		return err
	}
	each(first)
	r, err := n.barrier(ctx)
	for len(k.answers) > 0 {
		if a := <-k.answers; a.isFinal() {
			each(a)
		}
	}
	if err == nil && r.unreachable > 0 {
		err = ErrDegraded
	}
	return err
}

func (d *dispatcher) handleQuery(m *nats.Msg, b *binding) {
	if b == nil {
		d.answer(m, answerGone)
		return
	}
	p := d.node.presence(b.session)
	p.Since = time.Unix(0, b.claim.time)
	data, err := appendPresence(answers[answerPresence], p)
	if err != nil {
		return // no such value
	}
	d.answerWith(m, data)
}

// presence is what is known of a session here.
func (n *Node) presence(s *libnet.Session) Presence {
	p := Presence{Node: n.id, Run: n.instance, Session: s.ID()}
	if addr := s.RemoteAddr(); addr != nil {
		p.Addr = addr.String()
	}
	return p
}

func appendPresence(prefix []byte, p Presence) ([]byte, error) {
	data, err := json.Marshal(p)
	return append(prefix[:len(prefix):len(prefix)], data...), err
}

func parsePresence(src []byte) (p Presence, err error) {
	if json.Unmarshal(src, &p) != nil {
		return Presence{}, errMalformed
	}
	return p, nil
}

// handleKick unbinds before it answers: what Kick counts takes no more messages.
func (d *dispatcher) handleKick(m *nats.Msg, b *binding, body []byte) {
	until, reason, err := parseKick(body)
	if err != nil {
		return
	}
	d.node.clock.observe(until)
	kicked := &KickedError{reason}
	if b == nil || b.claim.time > until || !d.evict(b.session.ID(), kicked) {
		d.answer(m, answerGone)
		return
	}
	d.answer(m, answerKicked)
}
