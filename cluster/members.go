package cluster

import (
	"context"
	"encoding/binary"
	"encoding/json"

	"github.com/nats-io/nats.go"
)

// MaxMembers is how many members of a group [Node.Members] lists.
const MaxMembers = 10_000

// A Member is one session of a group.
type Member struct {
	Presence          // where it is, and the data of the first user; Since is empty
	Users    []string `json:"users,omitempty"` // whom the session is bound to, sorted; 100 of them at most
}

const (
	// partSize is from which size on a node begins another answer: one with a member of the largest size more is below
	// what the NATS server takes. A member has some 150 bytes, and what BindOptions.Data and names add.
	partSize = 256 << 10

	maxParts       = 32  // that a node sends of a group
	maxMemberUsers = 100 // names of users that are listed of a session
)

// Count returns how many members a group has, over all nodes. A session that is closing is none. Errors: [ErrDegraded]
// when some node could not be asked, with what the others have; [ErrInvalidName]; [ErrDisconnected]; [ErrClosed];
// ctx's. Without a deadline in ctx, Options.Timeout bounds the call.
func (n *Node) Count(ctx context.Context, group string) (int, error) {
	needContext(ctx)
	token, err := n.check(group, nil)
	if err != nil {
		return 0, err
	}
	return n.count(ctx, token)
}

func (n *Node) count(ctx context.Context, token string) (total int, err error) {
	err = n.askGroup(ctx, token, kindCount, nil, 1, func(a answer) {
		if c, err := parseCount(a.data); a.code == answerCount && err == nil {
			total += c
		}
	})
	return total, err
}

// Members lists the members of a group, over all nodes, in no order. It counts them first: of more than [MaxMembers],
// or of so much data that a node would send more than 8 MiB, it lists none. Errors: [ErrTooManyMembers], and those of
// [Node.Count], with what was heard.
func (n *Node) Members(ctx context.Context, group string) ([]Member, error) {
	needContext(ctx)
	token, err := n.check(group, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	switch total, err := n.count(ctx, token); {
	case total == 0:
		return nil, err
	case total > MaxMembers:
		return nil, ErrTooManyMembers
	}
	var members []Member
	tooMany := false
	err = n.askGroup(ctx, token, kindQuery, nil, maxParts, func(a answer) {
		if tooMany = tooMany || a.code == answerTooLarge; tooMany || a.code != answerMembers {
			return
		}
		if list, err := parseMembers(a.data); err == nil {
			members = append(members, list...)
		}
		tooMany = len(members) > MaxMembers
	})
	if tooMany {
		return nil, ErrTooManyMembers
	}
	return members, err
}

// KickGroup closes the sessions of a group, wherever they are, as [Node.Kick] does those of a user, and returns how
// many. Errors: [ErrDegraded] when some node could not be asked, and otherwise those of Kick.
func (n *Node) KickGroup(ctx context.Context, group, reason string) (int, error) {
	needContext(ctx)
	token, err := n.check(group, nil)
	if err != nil {
		return 0, err
	}
	closed := 0
	err = n.askGroup(ctx, token, kindKick, appendKick(nil, 0, clipReason(reason)), 1, func(a answer) {
		if c, err := parseCount(a.data); a.code == answerCount && err == nil {
			closed += c
		}
	})
	return closed, err
}

// answerMembers sends the members in parts.
func (d *dispatcher) answerMembers(m *nats.Msg, g *group) {
	part := newMembersPart()
	parts := 0
	for id := range g.members.All() {
		member := d.member(id)
		if !part.add(member) {
			continue
		}
		if parts++; parts == maxParts {
			d.answer(m, answerTooLarge)
			return
		}
		d.answerWith(m, part.end())
		part = newMembersPart()
	}
	d.answerWith(m, part.end())
}

// A membersPart is an answer with a list of members.
type membersPart struct{ data []byte }

func newMembersPart() *membersPart { return &membersPart{[]byte{answerMembers, '['}} }

// add appends a member, and is true when the part has become large enough.
func (p *membersPart) add(m Member) (full bool) {
	data, err := json.Marshal(m)
	if err != nil {
		return false // no such value
	}
	if p.data[len(p.data)-1] != '[' {
		p.data = append(p.data, ',')
	}
	p.data = append(p.data, data...)
	return len(p.data) >= partSize
}

func (p *membersPart) end() []byte { return append(p.data, ']') }

func (d *dispatcher) handleGroupKick(m *nats.Msg, g *group, body []byte) {
	_, reason, err := parseKick(body)
	if err != nil {
		return
	}
	closed := 0
	for id := range g.members.All() {
		if d.evict(id, &KickedError{reason}) {
			closed++
		}
	}
	d.answerWith(m, appendCount(answers[answerCount], closed))
}

func appendCount(prefix []byte, count int) []byte {
	return binary.BigEndian.AppendUint32(prefix[:len(prefix):len(prefix)], uint32(count))
}

func parseCount(src []byte) (int, error) {
	if len(src) != 4 {
		return 0, errMalformed
	}
	return int(binary.BigEndian.Uint32(src) & (1<<31 - 1)), nil
}

// parseMembers refuses what no node sends: more than Members lists, and members that are no session's or have more than
// one can have.
func parseMembers(src []byte) (list []Member, err error) {
	list, err = decodeList[Member](src, MaxMembers)
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		if !m.wellFormed() || len(m.Users) > maxMemberUsers {
			return nil, errMalformed
		}
	}
	return list, nil
}
