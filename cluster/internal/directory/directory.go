package directory

import (
	"sync"
	"time"
)

// A Bus carries messages between nodes: each at most once, and those of one node to another one in order.
type Bus interface {
	// Publish does not keep data, and does not wait for the receiver. It may be called by several goroutines.
	Publish(node string, data []byte) error
}

// A Host is who runs a directory. It is called without locks of the directory, by goroutines of its own too, and must
// not wait.
type Host interface {
	// Replaced says that the session has lost the user to a greater login, of another node.
	Replaced(token string, session uint64)
	// Announce asks for [Directory.Done] to be told to the others now.
	Announce()
}

// A Directory is one node's part: the logins that it holds, and what it knows as a home.
type Directory struct {
	// Immutable.
	self   string
	bus    Bus
	host   Host
	work   chan struct{} // wakes Run; has room for one
	ending chan struct{} // wakes withdrawLoop; has room for one
	closed chan struct{}
	hint   func() uint64

	// sending orders what is sent about one login. It is taken before mu.
	sending sync.Mutex

	mu sync.Mutex
	// mu guards the following.
	view       *view
	silent     int                  // nodes that may hold users and are not in the view
	registered *view                // for which all that is held was registered
	again      bool                 // register all, whatever was registered
	wants      map[string]uint64    // homes that asked for all that concerns them, and the number of the latest question of each
	members    map[string]member    // the others of the view
	whole      bool                 // all of the view have said whom they hold
	changed    chan struct{}        // closed when view or whole has changed
	clock      uint64               // the greatest number heard of
	held       map[string]held      // by token
	ended      []entry              // logins of whose end the homes have not been told
	typical    time.Duration        // how long the first answer of a home takes, averaged
	records    map[string]Login     // by token: what this node knows as a home
	strangers  map[string]time.Time // nodes that have registered and are not in the view, and since when
	tellings   map[string][]telling // by token
	heard      map[string][]entry   // by who has told of it: logins that were lost
	calls      map[uint64]*call
	lastCall   uint64
	stopped    bool
}

// A member is another node of the view.
type member struct {
	owes      uint64    // the question to it that it has not answered, to register all since it came into the view; 0: it has
	done      uint32    // the view for which it says it has registered all that concerns this node
	slowUntil time.Time // until then others are asked first
}

// held is a login of this node.
type held struct {
	number, session uint64
	settled         bool  // a majority has it: whom a greater one meets has lost
	greater         Login // the greatest login that was heard of before
}

func (d *Directory) login(h held) Login { return Login{h.number, d.self, h.session} }

// New returns the directory of a node that sees no other one.
func New(self string, bus Bus, host Host) *Directory {
	alone := newView([]string{self})
	return &Directory{
		self:       self,
		bus:        bus,
		host:       host,
		work:       make(chan struct{}, 1),
		ending:     make(chan struct{}, 1),
		closed:     make(chan struct{}),
		hint:       func() uint64 { return uint64(time.Now().UnixMicro()) },
		view:       alone,
		registered: alone,
		whole:      true,
		wants:      make(map[string]uint64),
		heard:      make(map[string][]entry),
		tellings:   make(map[string][]telling),
		members:    make(map[string]member),
		changed:    make(chan struct{}),
		held:       make(map[string]held),
		records:    make(map[string]Login),
		strangers:  make(map[string]time.Time),
		calls:      make(map[uint64]*call),
	}
}

// Close ends all calls, with [ErrClosed], and Run.
func (d *Directory) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stopped {
		d.stopped = true
		close(d.closed)
	}
}

// newEpoch is how far numbers go ahead when the view changes, so that logins of a part of the cluster that has lost
// another one are greater than those before.
const newEpoch = 1 << 32

// SetView says which nodes are alive, this one included unless it holds nobody any more, and how many others may hold
// users.
func (d *Directory) SetView(members []string, silent int) {
	v := newView(members)
	d.mu.Lock()
	d.silent = silent
	if v.digest == d.view.digest {
		d.mu.Unlock()
		return
	}
	entered := d.adoptLocked(v)
	d.mu.Unlock()
	d.host.Announce() // that Done is 0 now
	d.wake()
	d.want(entered)
}

// want asks nodes of the view to register all that they hold.
func (d *Directory) want(nodes []string) {
	for _, node := range nodes {
		d.mu.Lock()
		number := d.members[node].owes
		d.mu.Unlock()
		if number != 0 {
			_ = d.send(node, message{kind: kindWant, call: number})
		}
	}
}

// adoptLocked makes v the view and returns who is new in it.
func (d *Directory) adoptLocked(v *view) (entered []string) {
	d.view = v
	d.clock = min(d.clock+newEpoch, maxNumber)
	for node := range d.members {
		if !v.has(node) {
			delete(d.members, node)
		}
	}
	for _, node := range v.members {
		if _, known := d.members[node]; !known && node != d.self {
			d.lastCall++
			d.members[node] = member{owes: d.lastCall}
			entered = append(entered, node)
		}
	}
	for token, l := range d.records {
		if h := v.homes(token); !v.has(l.Node) || !h.has(d.self) {
			delete(d.records, token)
		}
	}
	clear(d.strangers) // who is one still has no records any more
	d.whole = false
	d.changedLocked()
	d.wholeLocked() // the view may be this node alone
	return entered
}

// changedLocked wakes all who wait for another view, or for the view to become whole.
func (d *Directory) changedLocked() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// wholeLocked finds out whether all of the view have said whom they hold.
func (d *Directory) wholeLocked() {
	whole := d.view == d.registered
	for _, m := range d.members {
		whole = whole && m.owes == 0 && m.done == d.view.digest
	}
	if whole != d.whole {
		d.whole = whole
		d.changedLocked()
	}
}

// Done is the view for which all logins of this node are registered, 0 while they are not.
func (d *Directory) Done() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.view != d.registered {
		return 0
	}
	return d.view.digest
}

// PeerDone is what another node said of its Done.
func (d *Directory) PeerDone(node string, done uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := d.members[node]
	if !ok || m.done == done {
		return
	}
	m.done = done
	d.members[node] = m
	d.wholeLocked()
}

// Tick repeats what may have been lost. It is called every now and then.
func (d *Directory) Tick() {
	d.mu.Lock()
	d.forgetStrangersLocked()
	var owing []string
	for node, m := range d.members {
		if m.owes != 0 {
			owing = append(owing, node)
		}
	}
	unheard, heard := d.unheardLocked(), d.heard
	d.heard = make(map[string][]entry)
	d.mu.Unlock()
	d.want(owing)
	for _, t := range unheard {
		d.sendLost(t.token, t.loser, t.by)
	}
	d.sayHeard(heard)
}

// Resync is for a node that may have lost messages: it learns from the others whom they hold, and tells them whom it
// does.
func (d *Directory) Resync() {
	d.mu.Lock()
	for node, m := range d.members {
		d.lastCall++
		m.owes = d.lastCall
		d.members[node] = m
	}
	d.again = true
	d.wholeLocked()
	d.mu.Unlock()
	d.wake()
	d.Tick()
}

// Stats returns how many users this node holds, and of how many it knows as a home.
func (d *Directory) Stats() (held, records int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.held), len(d.records)
}

// farAhead is how much a number of another node may be ahead of the machine's clock and still move this node's: 285
// years, or 2,000,000 changes of the view. Without it one broken message would take all nodes to where there are no
// greater numbers.
const farAhead = 1 << 53

// observeLocked notes a number that another node has used.
func (d *Directory) observeLocked(number uint64) {
	d.clock = max(d.clock, min(number, d.hint()+farAhead))
}

// send fills in who sends. Whoever waits for an answer sends again what is lost, and learns from the error that the bus
// is broken.
func (d *Directory) send(to string, m message) error {
	d.mu.Lock()
	m.from, m.clock, m.digest = d.self, d.clock, d.view.digest
	d.mu.Unlock()
	if to == d.self {
		d.handle(m)
		return nil
	}
	return d.bus.Publish(to, m.encode())
}

func (d *Directory) wake() {
	select {
	case d.work <- struct{}{}:
	default:
	}
}

// Now is a number that is greater than those of all logins that this node has heard of.
func (d *Directory) Now() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nextLocked()
}
