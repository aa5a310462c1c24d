// Package moving is what package handover needs of package libnet and no user does: a session stopped between two
// messages, taken apart, and put together in another process. The root package registers it, so that its API knows
// nothing of it.
package moving

import (
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"github.com/libnet-go/libnet/internal/sendqueue"
)

// An Introduction is what of a session does not change: it moves with its descriptor while the session is served still.
type Introduction struct {
	ID     uint64
	Unix   bool           // it has no address
	Remote netip.AddrPort // of the connection
	Client netip.AddrPort // that a proxy has told; invalid without
	Age    int64          // in nanoseconds
}

// A Record is what of a session moves once it has stopped, and before its output does. Times are nanoseconds since it
// was opened.
type Record struct {
	ID   uint64
	Name string

	Received, FrameStart int64

	Parsed, Read, Dropped uint64
	Unread                []byte

	HasCodec bool // the codec has more to tell than its protocol
	Codec    []byte
	State    []byte // the user's
}

// A Giver is a server whose sessions leave it.
type Giver interface {
	// Pause begins the giving, which one may do at a time, and has nobody accept. It fails where the server, or its
	// listener, cannot be given.
	Pause() error

	// Resume takes Pause back.
	Resume()

	// Listener is the listener's descriptor, nil for one that cannot be given; unlinks says that the server removes the
	// socket's file at its end.
	Listener() (raw syscall.RawConn, unlinks bool)

	// Sessions returns those that are open.
	Sessions() []Leaver

	// Left is for a server whose sessions and listener another has: it leaves the listener's socket alone.
	Left()

	Stopped() <-chan struct{}
}

// A Leaver is a session of a Giver's. The calls are made in their order, by one goroutine.
type Leaver interface {
	ID() uint64
	Session() any

	// Stays returns why the session cannot move; empty if it can.
	Stays() string

	// Introduce returns what does not change; not ok says that it is not known yet.
	Introduce() (i Introduction, ok bool)

	// Stop asks the receiver to stop between two messages.
	Stop()

	// Stopped reports whether it has; it is asked until it says so.
	Stopped() bool

	// Wakes reports whether the receiver was asked while it waited for messages: it stops as soon as it runs.
	Wakes() bool

	// Held has nobody write any more, and reports whether that is so; it is asked until then. Sends go into the queue.
	Held() bool

	// Record returns what moves. The session is stopped. An error says that it stays.
	Record() (Record, error)

	// Control calls f with the descriptor.
	Control(f func(fd uintptr)) error

	// Seal returns what is to be written; not ok says that the session has ended.
	Seal() (out sendqueue.Contents, ok bool)

	// GoOn takes all back: the session is served here.
	GoOn()

	// Forget has nobody here look at the descriptor, which another process has.
	Forget()

	// Leave ends the session here, and tells its peer nothing.
	Leave()
}

// A Taker is a server which sessions come to, before it serves any.
type Taker interface {
	// Adopt makes a session of its descriptor, which it has in any case, and which is known to the server.
	Adopt(i *Introduction, fd int) (Arrival, error)
}

// An Arrival is a session that nobody serves yet.
type Arrival interface {
	ID() uint64
	Session() any

	// Restore enters what has changed since it was introduced. With an error it is to be discarded.
	Restore(r *Record) error

	// Start has the session go on, with what is to be written, once the server serves.
	Start(out *sendqueue.Contents)

	// Discard ends the session, and tells its peer nothing. Its process still has it.
	Discard()
}

// A Root is what package libnet registers. Servers are *libnet.Server.
type Root struct {
	Giver func(server any) Giver
	Taker func(server any) Taker

	// Listener makes of one that was made of a descriptor what a server closes as the one that gave it would have.
	Listener func(l net.Listener, unlinks bool) net.Listener

	// LeaveListener closes one, and leaves its path to the process that it came from.
	LeaveListener func(l net.Listener)

	LastID *atomic.Uint64 // the last session's in this process
}

// The is package libnet's, set when that is initialised.
var The Root
