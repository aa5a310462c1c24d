package reconnect

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/libnet-go/libnet"
)

// A State is what a client is doing.
type State int

// The states of a client. It goes from Connecting to Connected or Waiting, from Connected to Waiting, from
// Waiting to Connecting, and from each of them to Closed.
const (
	Connecting State = iota // Dial and OnConnect are at work
	Connected               // messages go out and come in
	Waiting                 // until the back-off has passed
	Closed                  // for good
)

func (s State) String() string {
	names := [...]string{"connecting", "connected", "waiting", "closed"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return names[s]
}

// A Change is a client's new state.
type Change struct {
	State   State
	Session *libnet.Session // Connected: the session that is up
	Err     error           // Waiting: why the session ended or the attempt failed
	Delay   time.Duration   // Waiting: how long
}

// run is the client's goroutine.
func (c *Client) run(l *life) {
	defer close(l.done)
	delays := c.newBackOff()
	for l.ctx.Err() == nil {
		lasted, err := c.attempt(l)
		if l.ctx.Err() != nil {
			break
		}
		if lasted >= c.maxBackoff() {
			delays.Reset()
		}
		delay := delays.NextBackOff()
		c.tell(Change{State: Waiting, Err: err, Delay: delay})
		pause(l.ctx, delay)
	}
	c.tell(Change{State: Closed})
}

// newBackOff returns a back-off with full jitter: an interval randomized by all of it reaches from 0 to twice
// its length, so that half of each bound goes in.
func (c *Client) newBackOff() *backoff.ExponentialBackOff {
	b := &backoff.ExponentialBackOff{
		InitialInterval:     resolve(c.MinBackoff, defaultMinBackoff) / 2,
		MaxInterval:         c.maxBackoff() / 2,
		Multiplier:          2,
		RandomizationFactor: 1,
	}
	b.InitialInterval = min(b.InitialInterval, b.MaxInterval)
	b.Reset()
	return b
}

func (c *Client) maxBackoff() time.Duration { return resolve(c.MaxBackoff, defaultMaxBackoff) }

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// attempt connects and stays with the session until it ends. It returns for how long there was one, and why there is
// none any more.
func (c *Client) attempt(l *life) (lasted time.Duration, err error) {
	c.tell(Change{State: Connecting})
	s, err := c.connect(l)
	if err != nil {
		c.mu.Lock()
		c.stats.Failures++
		c.mu.Unlock()
		return 0, err
	}
	stop := context.AfterFunc(l.ctx, func() { _ = s.Close() })
	defer stop()
	begin := time.Now()
	c.serve(l, s)
	<-s.Done()
	c.account(s)
	return time.Since(begin), s.Err()
}

// connect makes a session and has OnConnect prepare it.
func (c *Client) connect(l *life) (*libnet.Session, error) {
	ctx := l.ctx
	if bound := resolve(c.AttemptTimeout, defaultAttemptTimeout); bound > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, bound)
		defer cancel()
	}
	s, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.CloseWithError(ctx.Err()) })
	err = c.prepare(ctx, s)
	if !stop() {
		err = ctx.Err()
	}
	if err == nil {
		return s, nil
	}
	_ = s.CloseWithError(err)
	<-s.Done()
	c.account(s)
	return nil, err
}

func (c *Client) dial(ctx context.Context) (s *libnet.Session, err error) {
	defer c.recovered("Dial", &err)
	s, err = c.Dial(ctx)
	if err == nil && s == nil {
		err = errNoSession
	}
	return s, err
}

var errNoSession = fmt.Errorf("%w: Dial returned no session", libnet.ErrPanic)

func (c *Client) prepare(ctx context.Context, s *libnet.Session) (err error) {
	if c.OnConnect == nil {
		return nil
	}
	defer c.recovered("OnConnect", &err)
	return c.OnConnect(ctx, s)
}

// account adds a session that has ended to the counters.
func (c *Client) account(s *libnet.Session) {
	c.sessionEnded(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Lost += s.Stats().Discarded
}

// serve receives until s ends. What is held goes out meanwhile: a peer may have to be read from before
// it reads.
func (c *Client) serve(l *life, s *libnet.Session) {
	sent := make(chan struct{})
	c.mu.Lock()
	c.session, c.sending = s, sent
	c.stats.Connects++
	c.mu.Unlock()
	go func() {
		defer close(sent)
		c.sendHeld(l, s)
	}()
	c.tell(Change{State: Connected, Session: s})
	var buf []byte
	for {
		var err error
		if buf, err = s.ReceiveInto(buf); err != nil {
			break
		}
		if err := c.handle(s, buf); err != nil {
			_ = s.CloseWithError(err)
			break
		}
		if cap(buf) > keptBuffer {
			buf = nil
		}
	}
	<-sent
}

// keptBuffer is the largest receive buffer that is kept for the next message.
const keptBuffer = 64 << 10

func (c *Client) handle(s *libnet.Session, msg []byte) (err error) {
	if c.Handler == nil {
		return nil
	}
	defer c.recovered("Handler", &err)
	c.Handler.ServeMessage(s, msg)
	return nil
}

func (c *Client) tell(change Change) {
	if c.OnState == nil {
		return
	}
	var err error
	defer c.recovered("OnState", &err)
	c.OnState(change)
}

// recovered is deferred around user code. It turns a panic into *err, and logs it.
func (c *Client) recovered(what string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w in %s: %.128q", libnet.ErrPanic, what, fmt.Sprint(r))
		c.logger().Error("libnet: panic", slog.Any("error", *err), slog.String("stack", string(debug.Stack())))
	}
}
