package mux

import (
	"bytes"
	"slices"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/lock"
)

// calls are what a session has beyond its messages, once it needs that: the calls that wait for a reply, and the places
// of concurrent handlers.
type calls struct {
	mux     *Mux
	session *libnet.Session
	turn    chan struct{} // of one place: an ordered call is entered and sent in one go
	over    chan struct{} // closed by end, behind reason
	reason  error         // why the session has ended

	mu lock.Mutex[callsLock]
	// mu guards the following.
	pending map[uint64]*call // by id; those of an ordered envelope are in queue
	queue   []*call          // in the order in which they were sent
	lastID  uint64
	ended   bool
	running map[*route]chan struct{}
}

// A call pends until somebody takes it: its reply, or its caller. At the end of the session all that pend are over.
type call struct {
	id        uint64
	kind      Kind
	done      chan answer // takes one, from whoever has taken the call
	forgotten bool        // guarded by calls.mu: nobody waits for an ordered call any more
}

// An answer is what a call got, which may be a Failure.
type answer struct {
	role Role
	body []byte
}

// existing returns what a session has, nil if it never needed anything.
func (m *Mux) existing(s *libnet.Session) *calls {
	if c, ok := m.calls.Load(s); ok {
		return c.(*calls)
	}
	return nil
}

// callsOf returns what a session has, and makes it if need be. The session's end has it vanish.
func (m *Mux) callsOf(s *libnet.Session) *calls {
	if c := m.existing(s); c != nil {
		return c
	}
	m.known()
	c := &calls{
		mux: m, session: s, turn: make(chan struct{}, 1), over: make(chan struct{}),
		pending: make(map[uint64]*call), running: make(map[*route]chan struct{}),
	}
	if other, loaded := m.calls.LoadOrStore(s, c); loaded {
		return other.(*calls)
	}
	inside.OnEnd(s, c.end)
	return c
}

// places returns those of a concurrent handler.
func (cs *calls) places(r *route) chan struct{} {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.running[r] == nil {
		cs.running[r] = make(chan struct{}, r.places)
	}
	return cs.running[r]
}

// begin enters a call.
func (cs *calls) begin(k Kind) (*call, error) {
	c := &call{kind: k, done: make(chan answer, 1)}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch limit := cs.mux.maxCalls(); {
	case cs.ended:
		return nil, cs.reason
	case len(cs.pending)+len(cs.queue) >= limit:
		return nil, ErrTooManyCalls
	case cs.mux.ordered:
		cs.queue = append(cs.queue, c)
	default:
		cs.lastID++
		c.id = cs.lastID
		cs.pending[c.id] = c
	}
	return c, nil
}

// take has a call pend no more; false if somebody else ends it.
func (cs *calls) take(c *call) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.mux.ordered {
		i := slices.Index(cs.queue, c)
		if i >= 0 {
			cs.queue = slices.Delete(cs.queue, i, i+1)
		}
		return i >= 0
	}
	_, ok := cs.pending[c.id]
	delete(cs.pending, c.id)
	return ok
}

// forget is take for a call that was sent: the reply to an ordered one will come, and must not be another's.
func (cs *calls) forget(c *call) (taken bool) {
	if !cs.mux.ordered {
		return cs.take(c)
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.forgotten = slices.Contains(cs.queue, c)
	return c.forgotten
}

// byID takes the call that a reply belongs to.
func (cs *calls) byID(id uint64) (c *call, asked bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c = cs.pending[id]
	delete(cs.pending, id)
	return c, id != 0 && id <= cs.lastID
}

// oldest takes the oldest call of a kind, or of any; forgotten says that nobody waits for it.
func (cs *calls) oldest(k Kind, any bool) (c *call, forgotten bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for i, c := range cs.queue {
		if any || c.kind == k {
			cs.queue = slices.Delete(cs.queue, i, i+1)
			return c, c.forgotten
		}
	}
	return nil, false
}

// end fails what is pending when the session has ended. It does not come behind the user's close callbacks: one may
// wait for a handler, and that for a call.
func (cs *calls) end() {
	cs.mux.calls.Delete(cs.session)
	cs.reason = cs.session.Err()
	cs.drop()
	close(cs.over)
}

func (cs *calls) drop() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.ended = true
	cs.pending, cs.queue = nil, nil
}

// answered ends the call that a reply or failure belongs to. OnError is told of a failure about a message that asked
// for no reply. Any other that belongs to no call is counted, and dropped.
func (m *Mux) answered(s *libnet.Session, h Header, body []byte) {
	c, late := m.existing(s).asked(h)
	if c == nil && !late && h.Role == Failure && h.ID == 0 && m.OnError != nil {
		m.onError(s, h.Kind, body)
		return
	}
	m.answer(c, late, h, body)
}

// asked takes the call that a reply or failure belongs to; late says that nobody waits for it any more.
func (cs *calls) asked(h Header) (c *call, late bool) {
	switch {
	case cs == nil:
		return nil, false
	case cs.mux.ordered:
		return cs.oldest("", true)
	}
	c, asked := cs.byID(h.ID)
	return c, c == nil && asked
}

func (m *Mux) onError(s *libnet.Session, k Kind, body []byte) {
	e := new(Error)
	if err := m.envelope.Unmarshal(body, e); err != nil {
		m.counts.badBodies.Add(1)
		return
	}
	m.OnError(s, k, e)
}

// answeredInOrder is answered for a message that is a reply if a call of its kind is pending; false if it is none.
func (m *Mux) answeredInOrder(s *libnet.Session, h Header, body []byte) bool {
	cs := m.existing(s)
	if cs == nil {
		return false
	}
	c, forgotten := cs.oldest(h.Kind, false)
	if c != nil {
		m.answer(c, forgotten, h, body)
	}
	return c != nil
}

// answer ends a call, unless the reply is late or there is none.
func (m *Mux) answer(c *call, late bool, h Header, body []byte) {
	switch {
	case late:
		m.counts.late.Add(1)
	case c == nil:
		m.counts.unasked.Add(1)
	default:
		c.done <- answer{role: h.Role, body: bytes.Clone(body)}
	}
}
