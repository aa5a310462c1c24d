package cluster

import (
	"errors"
	"time"
)

var (
	ParseAnnouncement = parseAnnouncement
	ParsePresence     = parsePresence
	ParseMembers      = parseMembers
	ParseReply        = parseReply
	ValidTraceparent  = validTraceparent
	AppendDelivery    = func(src []byte) ([]byte, error) { d, err := parseDelivery(src); return appendDelivery(nil, d), err }
	AppendCount       = func(src []byte) ([]byte, error) { c, err := parseCount(src); return appendCount(nil, c), err }
	AppendKick        = func(src []byte) ([]byte, error) { s, r, err := parseKick(src); return appendKick(nil, s, r), err }
	AppendQuestion    = func(src []byte) ([]byte, error) {
		token, question, err := parseGroupQuestion(src)
		if err != nil {
			return nil, err
		}
		return appendGroupQuestion(nil, token, question[0], question[1:])[1:], nil
	}
	AppendFate      = func(src []byte) ([]byte, error) { f, err := parseFate(src); return f.append(kindFate)[1:], err }
	AppendHeartbeat = func(src []byte) ([]byte, error) { h, err := parseHeartbeat(src); return h.append(nil), err }
)

func ReceivedHeader(wire map[string][]string) (Header, time.Duration) {
	timeout, _ := callTimeout(wire)
	return receivedHeader(wire), timeout
}

// Deafen has a node lose what is sent to its users by its own subject, until hear is called.
func Deafen(n *Node) (hear func() error, err error) {
	d := n.dispatcher
	return func() (err error) {
		d.here, err = d.subscribe(n.subjects.here)
		return errors.Join(err, n.conn.Flush())
	}, errors.Join(d.here.Unsubscribe(), n.conn.Flush())
}

// AtSubject is where messages to a user go directly.
func AtSubject(n *Node, user string) string { return n.subjects.at(n.instance, token(user)) }

// UserSubject is where messages to a user go, wherever the user is.
func UserSubject(n *Node, user string) string { return n.subjects.user(token(user)) }

// LoseInterest has NATS know nothing of a user who is here.
func LoseInterest(n *Node, user string) error {
	return errors.Join(n.dispatcher.bound(token(user)).sub.Unsubscribe(), n.conn.Flush())
}

// LoseGroupInterest has NATS know nothing of a group's members who are here.
func LoseGroupInterest(n *Node, group string) error {
	return errors.Join(n.dispatcher.groupOf(token(group)).sub.Unsubscribe(), n.conn.Flush())
}

// Deaf reports whether NATS says that nobody has the user.
func Deaf(n *Node, user string) bool {
	k := n.calls.begin(1)
	defer n.calls.end(k)
	a, err := n.ask(n.life, k, n.subjects.user(token(user)), kindFence, nil)
	return err == nil && a.code == answerNoResponders
}

// BeatSizes returns how long the heartbeats are of a node that knows these digests one after another.
func BeatSizes(known []uint32) (sizes []int) {
	var said beats
	for _, k := range known {
		sizes = append(sizes, len(said.next(heartbeat{instance: "A", known: k}).append(nil)))
	}
	return sizes
}

// RunTime is what a node's clock shows that has ticked after these times.
func RunTime(at time.Duration, ticks ...time.Duration) time.Duration {
	var c runClock
	begin := time.Now()
	for _, t := range ticks {
		c.tick(begin.Add(t))
	}
	return c.at(begin.Add(at))
}
