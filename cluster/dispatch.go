package cluster

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// incomingSize is how many messages the dispatcher may be behind the NATS client before further ones are lost (and
// counted). It takes about a microsecond a message.
const incomingSize = 64 << 10

// The dispatcher handles what is sent to users and groups in the order in which it came from NATS, whatever it was sent
// to: a session may have several users and be in many groups, and what one goroutine sends to it on all these roads,
// messages and kicks, is to arrive in that order. So there is one, and it never waits. It keeps up with more than an
// embedded server brings; a subscription with a callback would cost a goroutine each.
type dispatcher struct {
	node     *Node
	incoming chan *nats.Msg // the NATS client sends, run receives, nobody closes
	ping     *nats.Subscription
	own      *nats.Subscription // to questions to this node
	here     *nats.Subscription
	late     late    // used by run alone
	kicked   replies // the same: kicks that have ended a session
	asked    replies // the same: questions to groups that were handled

	mu sync.Mutex
	// mu guards the following.
	users    map[string]*binding             // by token
	groups   map[string]*group               // by token
	sessions map[uint64]*attached            // by session id; those that have a user or a group
	dropped  uint64                          // by subscriptions that are no more
	slow     map[*nats.Subscription]struct{} // that have lost messages

	lingering map[string]lingering // by token
	marks     uint64               // that were sent
}

func newDispatcher(n *Node) *dispatcher {
	return &dispatcher{
		node:      n,
		incoming:  make(chan *nats.Msg, incomingSize),
		users:     make(map[string]*binding),
		groups:    make(map[string]*group),
		sessions:  make(map[uint64]*attached),
		lingering: make(map[string]lingering),
		slow:      make(map[*nats.Subscription]struct{}),
	}
}

func (d *dispatcher) start() (err error) {
	n := d.node
	if d.ping, err = d.subscribe(n.subjects.ping); err != nil {
		return err
	}
	if d.own, err = d.subscribe(n.subjects.nodeOf(n.instance)); err != nil {
		return err
	}
	if d.here, err = d.subscribe(n.subjects.here); err != nil {
		return err
	}
	n.running.Add(1)
	go d.run()
	return nil
}

func (d *dispatcher) run() {
	defer d.node.running.Done()
	for {
		select {
		case m := <-d.incoming:
			d.handle(m)
		case <-d.late.due:
			d.step()
		case <-d.node.done:
			return
		}
	}
}

func (d *dispatcher) handle(m *nats.Msg) {
	switch letter, token := d.node.subjects.parse(m.Subject); letter {
	case userLetter:
		d.handleUser(m, token, d.holder(token, m.Sub), false)
	case atLetter:
		b := d.holder(token, nil)
		if b == nil {
			d.node.directory.Disown(token)
		}
		d.handleUser(m, token, b, true)
	case groupLetter:
		d.handleGroup(m, token)
	case nodeLetter:
		d.handleOwn(m)
	case pingLetter:
		d.handlePing(m)
	}
}

// handleUser never waits: others are behind this message. direct says that it came by the node's own subject.
func (d *dispatcher) handleUser(m *nats.Msg, token string, b *binding, direct bool) {
	data := m.Data
	var after uint64
	if len(data) > 0 && data[0] == kindAfter {
		var err error
		if after, data, err = parseAfter(data[1:]); err != nil {
			return
		}
	}
	if len(data) == 0 {
		return
	}
	detour := direct && data[0] == kindPost // that is what others wait for
	if b != nil && !detour && (after != 0 || d.late.count > 0) && time.Since(b.seen) < recentLogin && d.hold(m, token, after, direct) {
		return
	}
	d.handleKind(m, b, data[0], data[1:], direct)
	if data[0] == kindPost && d.late.count > 0 {
		d.arrived(m, token)
	}
}

func (d *dispatcher) handleKind(m *nats.Msg, b *binding, kind byte, body []byte, direct bool) {
	switch kind {
	case kindMessage:
		code := answerGone
		if b != nil && b.decided.Load() {
			code = b.deliver(body)
		}
		d.node.stats.count(code)
		d.answer(m, code)
	case kindPost:
		d.handlePost(m, b, body, direct)
	case kindFence:
		code := answerFence
		if b == nil {
			code = answerGone
		}
		d.answer(m, code)
	case kindQuery:
		d.handleQuery(m, b)
	case kindKick:
		d.handleKick(m, b, body)
	}
}

// handlePost answers only while another node may say that the user has left it, or has said so: nobody waits for
// anything else.
func (d *dispatcher) handlePost(m *nats.Msg, b *binding, payload []byte, direct bool) {
	if b == nil {
		d.answer(m, answerGone)
		return
	}
	age := time.Since(b.seen)
	if age < recentLogin {
		id := d.node.subjects.postOf(m.Reply)
		if d.late.isLate(id, b.token, direct) {
			return
		}
		d.late.know(id)
	} else if direct {
		return // interest has known the user for long: this one would come out of order
	}
	d.node.stats.count(b.deliver(payload))
	if age < confirmFor || direct {
		d.answer(m, answerQueued)
	}
}

// holder returns the binding that a message is for, nil if there is none with an open session. sub is the user's
// subscription that it came by, nil if it came by the node's.
func (d *dispatcher) holder(token string, sub *nats.Subscription) *binding {
	d.mu.Lock()
	b := d.users[token]
	before := b != nil && b.behind != 0 && sub != nil && time.Since(b.since) < confirmFor // or the mark is lost
	d.mu.Unlock()
	switch {
	case b == nil, before, sub != nil && b.sub != sub: // one that has just ended and begun again has two for a moment
		return nil
	case b.session.IsClosed():
		d.remove(b, sessionClosed(b.session)) // its close callback may be waiting for one of the user's
		return nil
	}
	return b
}

// answers are the messages of one byte, made once.
var answers = func() (all [256][]byte) {
	for i := range all {
		all[i] = []byte{byte(i)}
	}
	return all
}()

func (d *dispatcher) answer(m *nats.Msg, code byte) { d.answerWith(m, answers[code]) }

func (d *dispatcher) answerWith(m *nats.Msg, data []byte) {
	if m.Reply != "" {
		_ = d.node.conn.Publish(m.Reply, data) // without a connection, the asker learns that by itself
	}
}

// handlePing answers that all this node was sent before has been handled.
func (d *dispatcher) handlePing(m *nats.Msg) {
	switch {
	case len(m.Data) > 0 && m.Data[0] == pingGroup:
		d.handleGroupPing(m, m.Data[1:])
	case len(m.Data) > 0 || !d.late.holdPing(m):
		d.answerPing(m)
	}
}

func (d *dispatcher) answerPing(m *nats.Msg) {
	d.answerWith(m, []byte{answerPong})
}

func (d *dispatcher) subscribe(subject string) (*nats.Subscription, error) {
	sub, err := d.node.conn.ChanSubscribe(subject, d.incoming)
	return sub, natsError(err)
}

func (d *dispatcher) unsubscribe(sub *nats.Subscription) {
	dropped, _ := sub.Dropped()
	_ = sub.Unsubscribe() // fails when the connection is closed: then it is gone, too
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropped += uint64(max(dropped, 0))
	delete(d.slow, sub)
}

// lags notes a subscription that has lost messages.
func (d *dispatcher) lags(sub *nats.Subscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sub.IsValid() { // or its messages have been counted
		d.slow[sub] = struct{}{}
	}
}

// count returns how many users and groups there are, and how many messages the channel had no room for.
func (d *dispatcher) count() (users, groups int, dropped uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dropped = d.dropped
	for sub := range d.slow {
		n, _ := sub.Dropped()
		dropped += uint64(max(n, 0))
	}
	return len(d.users), len(d.groups), dropped
}
