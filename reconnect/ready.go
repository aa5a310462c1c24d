package reconnect

import (
	"context"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/usercode"
)

// Ready waits until a session is up, and returns that. It may end at any time, also before Ready returns; what Ready
// returns was open when it looked. Any goroutine may call it.
//
// Errors: ctx's; [ErrNotStarted]; [libnet.ErrSessionClosed] after Close or Shutdown; what Err returns, once the client
// has ended. In a callback of the client's, which no session comes up beside, it does not wait and returns an error.
func (c *Client) Ready(ctx context.Context) (*libnet.Session, error) {
	ctx = usercode.Context(ctx, "Ready")
	for {
		s, changed, err := c.sessionOrWait()
		if s != nil || err != nil {
			return s, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// sessionOrWait returns the session that is up, or what is closed when there may be one.
func (c *Client) sessionOrWait() (s *libnet.Session, changed <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing, !c.started:
		return nil, nil, c.refusalLocked()
	case c.link != nil && !c.link.session.IsClosed():
		return c.link.session, nil, nil
	case c.isOwnLocked(goroutineID()):
		return nil, nil, errOwnWait
	}
	return nil, c.changeLocked(), nil
}

// isOwnLocked reports whether the goroutine with this number is one of the client's, for which another session cannot
// come up.
func (c *Client) isOwnLocked(id uint64) bool { return id == c.sender || id == c.runner }

// changeLocked returns what is closed when held, link or closing changes.
func (c *Client) changeLocked() <-chan struct{} {
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

func (c *Client) changedLocked() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}
