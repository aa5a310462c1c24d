package reconnect

import (
	"log/slog"

	"github.com/libnet-go/libnet"
)

type heldMessage struct {
	msg  any
	size int
}

// Send sends msg as [libnet.Session.Send] does while there is a session, and holds it while there is none. A message
// that is held must not be changed until it has been sent, except for a []byte, which is copied.
//
// Errors: [libnet.ErrSessionClosed] after Close or Shutdown; [libnet.ErrSessionBlocked] when what is held, or the
// session's queue, is full; and those of Session.Send that leave a session open. With an error the message is
// not sent. A held message that turns out to be one that cannot be sent is logged and counted as lost.
func (c *Client) Send(msg any) error {
	for {
		s, err := c.sessionOrHold(msg)
		if s == nil {
			return err
		}
		if err = s.Send(msg); err == nil || !s.IsClosed() {
			return err
		}
		c.sessionEnded(s)
	}
}

// sessionOrHold returns the session to send msg on, or nil once msg is held or refused.
func (c *Client) sessionOrHold(msg any) (*libnet.Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing:
		return nil, libnet.ErrSessionClosed
	case c.session != nil && len(c.held) == 0:
		return c.session, nil
	}
	return nil, c.holdLocked(msg)
}

func (c *Client) holdLocked(msg any) error {
	h := heldMessage{msg, c.size(msg)}
	limit := resolve(c.HoldBytes, defaultHoldBytes)
	if len(c.held) >= resolve(c.HoldMessages, defaultHoldMessages) || limit > 0 && c.heldSize+h.size > limit {
		return libnet.ErrSessionBlocked
	}
	if b, ok := msg.([]byte); ok {
		h.msg = append(make([]byte, 0, len(b)), b...)
	}
	c.held = append(c.held, h)
	c.heldSize += h.size
	return nil
}

func (c *Client) size(msg any) int {
	if c.Size != nil {
		return c.Size(msg)
	}
	switch m := msg.(type) {
	case []byte:
		return len(m)
	case string:
		return len(m)
	}
	return 0
}

// sendHeld sends what is held on s, in order; what is sent meanwhile is held behind it. It ends when nothing
// is left or s has ended. The message in hand stays held until s has accepted it.
func (c *Client) sendHeld(l *life, s *libnet.Session) {
	for {
		msg, ok := c.takeInHand(s)
		if !ok {
			return
		}
		err := s.SendContext(l.ctx, msg)
		goOn := c.putDown(s, err)
		if !goOn {
			return
		}
		if err != nil {
			c.logger().Warn("libnet: held message not sent", slog.Uint64("session", s.ID()), slog.Any("error", err))
		}
	}
}

// takeInHand returns the message to send next.
func (c *Client) takeInHand(s *libnet.Session) (msg any, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.held) == 0 || c.session != s || c.closed {
		return nil, false
	}
	c.inHand = true
	return c.held[0].msg, true
}

// putDown decides about the message in hand once it was sent, or was not; false ends the sending.
func (c *Client) putDown(s *libnet.Session, err error) (goOn bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inHand = false
	switch {
	case c.closed:
		if err == nil {
			c.removeFirstLocked()
		}
		c.dropHeldLocked()
		return false
	case err != nil && s.IsClosed():
		return false
	case err != nil: // of the message and not of s
		c.stats.Lost++
	}
	c.removeFirstLocked()
	return true
}

func (c *Client) removeFirstLocked() {
	c.heldSize -= c.held[0].size
	c.held[0] = heldMessage{}
	c.held = c.held[1:]
	if len(c.held) == 0 {
		c.held = nil
		c.changedLocked()
	}
}

// dropHeldLocked discards what is held, but for a message in hand: that is putDown's.
func (c *Client) dropHeldLocked() {
	first := 0
	if c.inHand {
		first = 1
	}
	for _, h := range c.held[first:] {
		c.heldSize -= h.size
		c.dropped++
		c.stats.Lost++
	}
	c.held = c.held[:first]
}

// sessionEnded makes room for the next session.
func (c *Client) sessionEnded(s *libnet.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == s {
		c.session = nil
	}
}
