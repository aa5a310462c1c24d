package reconnect

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/lock"
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
// methods may be called by any goroutine, also from the client's own callbacks.
//
// Zero means the default, a negative number means none.
type Client struct {
	// Dial makes a session. It is required, and should end when ctx does.
	Dial func(ctx context.Context) (*libnet.Session, error)

	// OnConnect, if set, prepares each new session before anything else is sent on it: it logs in. It may
	// send and receive. An error of it ends the session, and another attempt follows after the back-off: where
	// that is of no use, as with a wrong password, call Close. When ctx ends, after AttemptTimeout or Close,
	// the session is closed.
	OnConnect func(ctx context.Context, s *libnet.Session) error

	// Handler is given the messages, one at a time and in order, on the client's goroutine. A message is valid
	// until ServeMessage returns. Without a Handler messages are dropped.
	Handler libnet.MessageHandler

	// OnState, if set, is told each change, one at a time, on the client's goroutine.
	OnState func(Change)

	// MinBackoff and MaxBackoff bound the delay before an attempt, as the package's documentation says;
	// default 1 s and 30 s.
	MinBackoff, MaxBackoff time.Duration

	// AttemptTimeout bounds Dial and OnConnect together; default 10 s.
	AttemptTimeout time.Duration

	// HoldMessages and HoldBytes bound what Send holds while there is no session; default 256 messages and
	// 1 MiB. With a negative HoldMessages nothing is held; with a negative HoldBytes only the number counts.
	HoldMessages, HoldBytes int

	// Size says how many bytes of HoldBytes a message counts for; the default is the length of a []byte
	// or string, and 0 for others.
	Size func(msg any) int

	// Logger is told of panics, and of held messages that turned out to be ones that cannot be sent; default
	// slog.Default().
	Logger *slog.Logger

	startOnce sync.Once

	mu lock.Mutex[clientLock]
	// mu guards the following.
	life     *life
	session  *libnet.Session // connected and prepared; nil while there is none
	held     []heldMessage   // to be sent before anything else
	heldSize int
	inHand   bool          // the first of held is being sent
	sending  chan struct{} // closed when sendHeld has ended; nil before the first session
	closing  bool          // Send refuses
	closed   bool
	dropped  uint64        // messages of held that closing discarded
	changed  chan struct{} // closed when held or session changes; nil while nobody waits
	stats    Stats
}

// life is the context of a client, made when it is first needed.
type life struct {
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when the client's goroutine has ended
}

// Stats is a snapshot of a client's counters.
type Stats struct {
	Connects uint64 // sessions that OnConnect accepted
	Failures uint64 // attempts that came to nothing
	Lost     uint64 // messages that Send had accepted and that will not be written
	Held     int    // messages that wait for a session
	HeldSize int    // their bytes, as Size counts them
}

// Start begins to connect and returns at once. Further calls do nothing. It panics without a Dial.
func (c *Client) Start() {
	if c.Dial == nil {
		panic("libnet: reconnect.Client without a Dial")
	}
	l := c.theLife()
	c.startOnce.Do(func() { go c.run(l) })
}

func (c *Client) theLife() *life {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lifeLocked()
}

func (c *Client) lifeLocked() *life {
	if c.life == nil {
		ctx, cancel := context.WithCancel(context.Background())
		c.life = &life{ctx, cancel, make(chan struct{})}
	}
	return c.life
}

// Session returns the session that is up, nil while there is none. It may end at any time.
func (c *Client) Session() *libnet.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Stats returns a snapshot.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.stats
	stats.Held, stats.HeldSize = len(c.held), c.heldSize
	return stats
}

// Close ends the client and its session, and discards what is held or queued, which is counted as lost. It does not
// wait for callbacks that are running: Done does. A second call does nothing.
func (c *Client) Close() {
	c.mu.Lock()
	c.closing, c.closed = true, true
	c.dropHeldLocked()
	l := c.lifeLocked()
	c.changedLocked()
	c.mu.Unlock()
	l.cancel()
	c.startOnce.Do(func() { close(l.done) }) // never started: nothing to wait for
}

// Done returns a channel that is closed when the client has ended: its goroutine is gone and its last
// callback has returned.
func (c *Client) Done() <-chan struct{} { return c.theLife().done }

// Shutdown takes no further messages, sends what is held, connecting for it if need be, shuts the session down
// as [libnet.Session.Shutdown] does, and ends the client. It returns nil, or a [*libnet.ShutdownError] when
// ctx ended first or the session failed with messages undelivered.
func (c *Client) Shutdown(ctx context.Context) error {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	defer c.Close()
	noneHeld := c.awaitNoneHeld(ctx)
	s := c.Session()
	switch {
	case !noneHeld:
		return c.abandon(ctx, s)
	case s != nil:
		return s.Shutdown(ctx)
	}
	return nil
}

// abandon closes the client, which holds messages, and says how many are lost.
func (c *Client) abandon(ctx context.Context, s *libnet.Session) error {
	err := &libnet.ShutdownError{Err: ctx.Err()}
	if err.Err == nil {
		err.Err = libnet.ErrSessionClosed // somebody else's Close
	}
	c.Close()
	if s != nil {
		<-s.Done() // Close sees to that
		err.Undelivered = s.Stats().Discarded
		err.Forced = 1
	}
	err.Undelivered += c.droppedAtLast()
	return err
}

// droppedAtLast returns how many held messages Close has discarded, once that is settled.
func (c *Client) droppedAtLast() uint64 {
	c.mu.Lock()
	sending := c.sending
	c.mu.Unlock()
	if sending != nil {
		<-sending
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// awaitNoneHeld waits until nothing is held; false if ctx, or the client, ended first.
func (c *Client) awaitNoneHeld(ctx context.Context) bool {
	for {
		c.mu.Lock()
		held := len(c.held)
		l := c.lifeLocked()
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		if held == 0 {
			return true
		}
		select {
		case <-changed:
		case <-l.ctx.Done():
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (c *Client) changedLocked() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

func (c *Client) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.Default()
	}
	return c.Logger
}

// resolve is the rule of Client's numbers.
func resolve[T int | time.Duration](set, byDefault T) T {
	switch {
	case set == 0:
		return byDefault
	case set < 0:
		return 0
	}
	return set
}
