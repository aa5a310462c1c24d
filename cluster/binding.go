package cluster

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/nats-io/nats.go"
)

// A binding is one login: a user and the session here. Immutable but for what is marked.
type binding struct {
	token   string
	session *libnet.Session
	addr    string // the peer's
	since   time.Time
	seen    time.Time          // since when interest has this node's user
	sub     *nats.Subscription // taken over by the next login of the user here

	// one holds the session alone. A broadcast to it never waits, whatever the session's queue is, and never
	// runs the session's close callbacks on the dispatcher: Session.Send may do both.
	one libnet.Group[struct{}]

	// decided says that the login has become the user's: Register has returned, or it has replaced one here. Before that
	// another one may win, and a Send must not reach who loses, nor tell one that it is replaced who is not.
	decided atomic.Bool

	// The dispatcher's mu guards the following.
	data   map[string]string // BindOptions.Data; never changed, but replaced
	lost   error             // why the user is no longer bound to the session here
	behind uint64            // what comes by sub before the mark of this number is of before the login; 0: it has come
}

func newBinding(token string, s *libnet.Session) *binding {
	now := time.Now()
	b := &binding{token: token, session: s, addr: addrOf(s), since: now, seen: now}
	b.one.Put(struct{}{}, s)
	return b
}

// addrOf asks the conn of a session, which may be the user's, for its peer: on the goroutine of who binds or joins it.
func addrOf(s *libnet.Session) string {
	if addr := s.RemoteAddr(); addr != nil {
		return addr.String()
	}
	return ""
}

// forget takes back what the binding registered with its session.
func (b *binding) forget() { b.one.Close() }

// deliver queues a message for the session and returns what to answer.
func (b *binding) deliver(payload []byte) byte {
	switch r := b.one.Broadcast(payload); {
	case r.Sent > 0:
		return answerQueued
	case r.Blocked > 0:
		return answerBlocked
	case r.Closed > 0 || b.session.IsClosed():
		return answerGone
	}
	return answerRejected
}

// insert makes b its user's binding, and closes the session of the one it replaces. It returns b, or the
// binding by which b's session has the user already.
func (d *dispatcher) insert(b *binding) (current *binding, err error) {
	for {
		var spare *nats.Subscription
		if !d.has(b.token) {
			if spare, err = d.subscribe(d.node.subjects.user(b.token)); err != nil {
				return nil, err
			}
		}
		current, old, err := d.put(b, spare)
		d.mark(b)
		if spare != nil && b.sub != spare {
			d.unsubscribe(spare)
		}
		if old != nil {
			old.forget()
			d.node.replaced(old)
		}
		if err != errVanished {
			return current, err
		}
	}
}

func (d *dispatcher) has(token string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, lingers := d.lingering[token]
	return lingers || d.users[token] != nil
}

// errVanished says that whoever had the user has gone, and that put needs a subscription.
var errVanished = errors.New("cluster: vanished")

// put decides between b and who has the user now; old is who lost. sub is b's if nobody has.
func (d *dispatcher) put(b *binding, sub *nats.Subscription) (current, old *binding, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.node.accepting(); err != nil {
		return nil, nil, err
	}
	old = d.users[b.token]
	switch {
	case old == nil && d.returnLocked(b):
	case old == nil && sub == nil:
		return nil, nil, errVanished
	case old == nil:
		b.sub = sub
	case old.session == b.session:
		return old, nil, nil
	default:
		b.sub, b.seen, b.behind = old.sub, old.seen, old.behind
		b.decided.Store(old.decided.Load())
		old.lost = ErrReplaced
		d.detachUserLocked(old)
	}
	d.users[b.token] = b
	d.attachUserLocked(b)
	d.node.directory.Hold(b.token, b.session.ID())
	return b, old, nil
}

// holds returns why b is no longer its user's binding, nil if it is.
func (d *dispatcher) holds(b *binding) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return b.lost
}

// remove unbinds b, unless another login has taken its place; then it is false.
func (d *dispatcher) remove(b *binding, why error) bool {
	d.mu.Lock()
	removed := d.removeLocked(b, why)
	d.mu.Unlock()
	if removed {
		b.forget()
		d.node.directory.Unhold(b.token, b.session.ID())
	}
	return removed
}

func (d *dispatcher) removeLocked(b *binding, why error) bool {
	if b.lost == nil {
		b.lost = why
	}
	if d.users[b.token] != b {
		return false
	}
	delete(d.users, b.token)
	d.lingerLocked(b)
	d.detachUserLocked(b)
	return true
}

// bound returns who has the user here, nil for nobody.
func (d *dispatcher) bound(token string) *binding {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.users[token]
}

func (d *dispatcher) bindings() []*binding {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*binding, 0, len(d.users))
	for _, b := range d.users {
		list = append(list, b)
	}
	return list
}
