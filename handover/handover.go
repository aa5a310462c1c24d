package handover

import (
	"errors"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/setting"
)

var (
	// ErrKept is wrapped by Give's error where nothing has happened: the server goes on as before, with all its
	// sessions.
	ErrKept = errors.New("handover: the server goes on in this process")

	// ErrNotTaken is wrapped by Take's error: nothing was taken, and what came was closed without a word to its peers.
	ErrNotTaken = errors.New("handover: nothing was taken over")

	// ErrVersion is wrapped where the two processes speak different versions of the exchange, or the other end speaks
	// something else.
	ErrVersion = errors.New("handover: another version of the exchange, or none")

	// ErrMalformed is wrapped where what the other process sends breaks the exchange.
	ErrMalformed = errors.New("handover: malformed message")

	// ErrUnsupported is returned where the system is not Linux. It is errors.ErrUnsupported, too.
	ErrUnsupported error = unsupported{}
)

type unsupported struct{}

func (unsupported) Error() string        { return "handover: Linux only" }
func (unsupported) Is(target error) bool { return target == errors.ErrUnsupported }

// GiveOptions are for who gives a server away. The zero value is usable.
type GiveOptions struct {
	// Freeze returns what the new process is to know of a session beyond what libnet knows: State, the user, the rooms
	// it is in. It is called by one goroutine, with no handler of a moving session at work; it may send, but not wait
	// for messages. With an error, a panic, or the end of its goroutine, the session stays and is drained.
	Freeze func(*libnet.Session) ([]byte, error)

	// HandlerTime is how long handlers at work, and then writes under way, may each take to end before their session
	// stays and is drained; 0 means 250 ms, negative none: what is not idle stays. The others stand still for as long.
	HandlerTime time.Duration

	// Pause bounds how long the sessions stand still in all, and before that how long the other process takes to know
	// them. When it is over the server goes on in this process. 0 means 5 s, negative that only the context bounds it.
	Pause time.Duration

	// Drain is over how long the ends of the sessions that stay are spread: see libnet.Server.Drain. 0 means at once.
	Drain time.Duration
}

const (
	defaultHandlerTime = 250 * time.Millisecond
	defaultPause       = 5 * time.Second
)

func (o *GiveOptions) handlerTime() time.Duration {
	return setting.Resolve(o.HandlerTime, defaultHandlerTime, 0)
}

func (o *GiveOptions) pause() time.Duration {
	return setting.Resolve(o.Pause, defaultPause, 1<<63-1)
}

// TakeOptions are for who takes a server over.
type TakeOptions struct {
	// Thaw gives a session what Freeze returned for it, nil without one: State, groups, callbacks. It is called by one
	// goroutine, before anything of the session is received, or written, here: Receive panics. What it sends goes
	// behind what the old process has accepted. With an error, a panic, or the end of its goroutine, the session stays
	// in the old process, which drains it.
	Thaw func(*libnet.Session, []byte) error
}

// A Result says what became of the sessions.
type Result struct {
	Moved  int            // they go on in the other process
	Stayed map[string]int // they are drained by the old process, by why they cannot move: see the package's documentation
	Ended  int            // they ended by themselves meanwhile
	Paused time.Duration  // how long the sessions stood still, as this process saw it
}
