package reconnect

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/setting"
	"github.com/libnet-go/libnet/internal/usercode"
)

// Defaults of a Client's numbers.
const (
	defaultMinBackoff     = time.Second
	defaultMaxBackoff     = 30 * time.Second
	defaultAttemptTimeout = 10 * time.Second
	defaultHoldMessages   = 256
	defaultHoldBytes      = 1 << 20
)

// A Client keeps a session up. Set its fields, then call Start; they are not to be changed after that. All
// methods may be called by any goroutine, also from the client's own callbacks, which are called with no lock held.
// A callback that panics, or ends its goroutine, has failed; one that does not return holds the client up, but
// none of its methods. A Logger holds up neither for more than some seconds.
//
// Zero means the default, a negative number means none.
type Client struct {
	// Dial makes a session. It is required, and should end when ctx does. A session that has ended already is
	// a failure. An error through [Permanent] ends the client.
	Dial func(ctx context.Context) (*libnet.Session, error)

	// OnConnect, if set, prepares each new session before anything else is sent on it: it logs in. It may send and
	// receive. Only when it has returned nil is the session up, and is given what is held: where it waits for an
	// answer, no message goes to a server that is not there. An error of it ends the session, and another attempt
	// follows after the back-off: where that is of no use, as with a wrong password, return it through [Permanent].
	// When ctx ends, after AttemptTimeout or Close, the session is closed.
	OnConnect func(ctx context.Context, s *libnet.Session) error

	// Final, if set, is asked about the reason of each session that has ended and of each attempt that has failed. True
	// ends the client for that reason, as [Permanent] does: for a server that says that there is no use in coming back,
	// such as by the code of a close frame. It is called on the client's goroutine.
	Final func(reason error) bool

	// Handler is given the messages, one at a time and in order, on the client's goroutine. A message is valid
	// until ServeMessage returns. Without a Handler messages are dropped.
	Handler libnet.MessageHandler

	// OnState, if set, is told each change, one at a time, on the client's goroutine.
	OnState func(Change)

	// MinBackoff and MaxBackoff bound the delay before an attempt, as the package's documentation says; default 1 s and
	// 30 s. MaxBackoff is 10 ms at least: no client makes more than some 200 attempts a second for long. A MinBackoff
	// beyond it counts as MaxBackoff, a negative one as 1 ns.
	MinBackoff, MaxBackoff time.Duration

	// AttemptTimeout bounds Dial and OnConnect together; default 10 s.
	AttemptTimeout time.Duration

	// HoldMessages and HoldBytes bound what Send holds while there is no session; default 256 messages and
	// 1 MiB. With a negative HoldMessages nothing is held; with a negative HoldBytes only the number counts.
	HoldMessages, HoldBytes int

	// Size says how many bytes of HoldBytes a message counts for; the default is the length of a []byte or string, and
	// 0 for others. Less than 0 counts as 0. It is called on the goroutine of Send, for what is to be held.
	Size func(msg any) int

	// Logger is told of panics, of held messages that turned out to be ones that cannot be sent, and why attempts fail:
	// of the first of a row, and when the reason changes, at most ten lines a minute. Default slog.Default().
	Logger *slog.Logger

	startOnce sync.Once
	lines     usercode.Log

	mu lock.Mutex[clientLock]
	// mu guards the following. No user code runs under it.
	lifetime     *lifetime
	started      bool  // Start was called
	link         *link // of the session that is up; nil while there is none
	last         *link // the newest of all; nil before the first
	held         []heldMessage
	heldSize     int
	sendingFirst bool          // the first of held is being sent
	closing      bool          // Send refuses
	closed       bool          // and what is held is dropped
	err          error         // why; nil until then
	changed      chan struct{} // closed when held, link or closing changes; nil while nobody waits
	stats        Stats
	lostTo       error  // why the last session that lost messages ended
	runner       uint64 // the goroutine of run, as goroutineID has it
	sender       uint64 // that of sendHeld
}

// lifetime is the context of a client, made when it is first needed.
type lifetime struct {
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when the client's goroutine has ended
}

// Stats is a snapshot of a client's counters. Once Done is closed, what Send has accepted is what was written and Lost
// together.
type Stats struct {
	Connects uint64 // sessions that were up: OnConnect accepted them
	Failures uint64 // attempts that came to nothing: see the package's documentation
	Lost     uint64 // messages that Send had accepted and that will not be written, counted when their session has ended
	Held     int    // messages that wait for a session
	HeldSize int    // their bytes, as Size counts them
}

// ErrNotStarted is returned by Ready before Start, and is why a Shutdown before it gives up what is held.
var ErrNotStarted = errors.New("libnet: reconnect.Client was not started")

// Start begins to connect and returns at once. Further calls do nothing. It panics without a Dial.
func (c *Client) Start() {
	if c.Dial == nil {
		panic("libnet: reconnect.Client without a Dial")
	}
	c.mu.Lock()
	l := c.lifetimeLocked()
	c.started = true
	c.mu.Unlock()
	c.startOnce.Do(func() { go c.run(&loop{lifetime: l, delays: c.newBackOff()}) })
}

func (c *Client) lifetimeLocked() *lifetime {
	if c.lifetime == nil {
		ctx, cancel := context.WithCancel(context.Background())
		c.lifetime = &lifetime{ctx, cancel, make(chan struct{})}
	}
	return c.lifetime
}

// Err returns nil until the client ends, then why: [libnet.ErrSessionClosed] after Close, or at the end of a Shutdown;
// the error that was [Permanent], or the reason that was Final.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Session returns the session that is up, nil while there is none. It may end at any time.
func (c *Client) Session() *libnet.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return nil
	}
	return c.link.session
}

// Stats returns a snapshot. Any goroutine may call it, before Start and after the end, too.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.stats
	stats.Held, stats.HeldSize = len(c.held), c.heldSize
	return stats
}

// Done returns a channel that is closed when the client has ended: its goroutine is gone and its last
// callback has returned. So a callback must not wait for it.
func (c *Client) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lifetimeLocked().done
}

// resolve is the rule of Client's numbers, where 0 is off.
func resolve[T int | time.Duration](set, byDefault T) T { return setting.Resolve(set, byDefault, 0) }
