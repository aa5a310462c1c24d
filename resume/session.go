package resume

import (
	"container/list"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/lock"
)

// A Session carries messages between a client and a server over any number of connections, one at a time. All methods
// may be called by any goroutine; calls of Receive are serialised.
type Session struct {
	// Immutable.
	id     uint64
	common *common

	// Of a server's session, guarded by Server.mu.
	hash   tokenHash // of the newest token
	ticket *ticket   // nil until it has lost a connection

	mu lock.Mutex[sessionLock]
	// mu guards the following. No user code and no I/O runs under it.
	link      *link // nil while there is none, or the peer's counts are not known yet
	phase     phase
	opening   bool // on link the welcome is to go before any message
	failed    bool // link took a message no more; its end is about to be told
	confirmed bool // the peer has the newest token
	ackOwed   bool // an acknowledgement found no room in the connection's queue
	ackEager  bool // the next message takes an acknowledgement along
	told      byte // what the peer was told on link of a Shutdown: 0, kindLastTaken or kindEnd

	limits    limits // what both ends keep to; our own until the peer's are known
	maxLength int32  // of a message, as the last connection's codec has it
	sentBytes int32  // of our messages that were sent on link or before, what is not acknowledged

	unacknowledged queue
	peerAcked      uint64 // of our messages, as the peer has said
	ahead          uint32 // messages sent beyond those, on link or before
	held           uint32 // of those, how many are in unacknowledged still: one is in flight

	received uint64 // of the peer's messages; on link a handler's are counted there: see totalsLocked
	untaken  uint32 // of those, not yet by the application
	ackSent  uint32 // the low bits of how many were taken when the peer was told last

	ackTimer *time.Timer // runs while acknowledgements wait; else nil
	links    uint64      // the number of link, or of the last one

	rare *rare

	feeding  feeding
	ackWaits atomic.Bool // there is an ackTimer
	state    atomic.Int32
}

// rare is what not every session needs.
type rare struct {
	// Guarded by Session.mu.
	err     *Error        // what the session ended for: errLocked
	inbox   queue         // of a session without a handler: messages that nobody has received yet
	arrived sync.Cond     // a message, an end of delivering, another connection, the session's end
	busy    *link         // one that the session has left while the handler was at work on a message of it
	changed chan struct{} // nil until somebody waits for acknowledgements, or the end
	done    chan struct{}
	onClose []func()
	leaves  list.List   // of func(): to leave groups, before done is closed
	window  *time.Timer // ends a session with a window of its own

	resumes    uint32
	takenBytes int32 // by Receive, since ackSent

	takesNoMore, peerTakesNoMore bool // the application, as a NetConn whose CloseWrite was called
}

// An end is what is different on a server and a client. Its methods are called with no lock held.
type end interface {
	ownWindow() bool                                      // the session itself ends when it is over
	confirmed(s *Session, link uint64)                    // the peer has the token that came with this connection
	detached(s *Session, was *libnet.Session)             // not called by a session with a window of its own
	grown(s *Session, bytes int)                          // while there is no connection, the session keeps more
	closed(s *Session, conn *libnet.Session, last ending) // conn: nil without one
}

// common is what the sessions of a Server, or a client's one, have in common. It is immutable.
type common struct {
	config     *Config
	end        end
	handler    func(*Session, []byte) // nil: messages wait for Receive
	sendsBytes bool                   // the marshaler appends bytes as they are
}

func newCommon(config *Config, e end, handler func(*Session, []byte)) *common {
	return &common{config, e, handler, config.marshaler() == codec.Marshaler(codec.Bytes)}
}

// A phase is how far a session has come to its end.
type phase uint8

const (
	open     phase = iota
	draining       // Shutdown waits for acknowledgements
	ended
	gone // and it has left its groups
)

// A State is what a session is doing.
type State int32

// The states of a session. It goes from Connecting to Connected, from there to Detached and back, and from each to
// Closed.
const (
	Connecting State = iota // a client's, until its first connection is up
	Connected
	Detached // it has no connection, and is kept for Config.Window
	Closed   // for good
)

// String returns the name in lower case, as in "connecting".
func (s State) String() string {
	names := [...]string{"connecting", "connected", "detached", "closed"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return names[s]
}

// Stats is a snapshot of a session's counters, all of messages but Resumes.
type Stats struct {
	Accepted     uint64 // by Send
	Acknowledged uint64 // of those, by the peer: its application has taken them
	Received     uint64 // arrived
	Taken        uint64 // of those, by the application: the handler has returned, or Receive has returned them
	Resumes      uint64 // connections but the first
}

var lastID atomic.Uint64

func newSession(c *common) *Session {
	return &Session{id: lastID.Add(1), common: c, limits: c.config.limits(), maxLength: noBound}
}

// ID returns the session's number, unique among the process's resumable sessions and never 0. It has nothing to do with
// its connections' ids, or with the peer's number for it.
func (s *Session) ID() uint64 { return s.id }

// State returns what the session is doing.
func (s *Session) State() State { return State(s.state.Load()) }

// Conn returns the connection that the session has at the moment, nil if it has none. It may end at any time. What is
// sent on it must be sent on the session instead.
func (s *Session) Conn() *libnet.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil {
		return nil
	}
	return s.link.conn
}

// Stats returns a snapshot. It is final once Done is closed.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	received, taken := s.totalsLocked()
	stats := Stats{
		Accepted:     s.acceptedLocked(),
		Acknowledged: s.peerAcked,
		Received:     received,
		Taken:        taken,
	}
	if s.rare != nil {
		stats.Resumes = uint64(s.rare.resumes)
	}
	return stats
}

// sentLocked is how many of our messages were sent.
func (s *Session) sentLocked() uint64 { return s.peerAcked + uint64(s.ahead) }

// takenLocked is how many of the peer's messages the application has taken, without those of link.
func (s *Session) takenLocked() uint64 { return s.received - uint64(s.untaken) }

// acceptedLocked counts from what is kept: what was acknowledged and is in flight is in both, and counts once.
func (s *Session) acceptedLocked() uint64 {
	if err := s.errLocked(); err != nil {
		return s.peerAcked + err.Unacknowledged
	}
	return s.peerAcked - uint64(s.held) + uint64(s.unacknowledged.count())
}

// Err returns nil until the session ends, then why it did: an [*Error].
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.errLocked(); err != nil {
		return err
	}
	return nil
}

// errLocked returns what the session ended for; nil before.
func (s *Session) errLocked() *Error {
	if s.phase < ended {
		return nil
	}
	return s.rare.err
}

// Done returns a channel that is closed when the session has ended and left its groups.
func (s *Session) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rareLocked()
	if r.done == nil {
		r.done = make(chan struct{})
		if s.phase == gone {
			close(r.done)
		}
	}
	return r.done
}

// OnClose has f called once when the session has ended, on a goroutine of its own behind those registered before, of
// which one that panics is logged; on a session that has ended, at once.
func (s *Session) OnClose(f func()) {
	if f == nil {
		panic("libnet: resume: OnClose with a nil function")
	}
	s.mu.Lock()
	over := s.phase == gone
	if !over {
		r := s.rareLocked()
		r.onClose = append(r.onClose, f)
	}
	s.mu.Unlock()
	if over {
		f()
	}
}

// register has leave called when the session ends, before Done is closed; nil if it has ended.
func (s *Session) register(leave func()) *list.Element {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase >= ended {
		return nil
	}
	return s.rareLocked().leaves.PushBack(leave)
}

func (s *Session) unregister(leave *list.Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rareLocked().leaves.Remove(leave)
}

func (s *Session) rareLocked() *rare {
	if s.rare == nil {
		s.rare = new(rare)
		s.rare.arrived.L = &s.mu
	}
	return s.rare
}

// changeLocked returns what is closed when acknowledgements come or the session ends.
func (s *Session) changeLocked() <-chan struct{} {
	r := s.rareLocked()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

func (s *Session) changedLocked() {
	if r := s.rare; r != nil && r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}
