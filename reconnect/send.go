package reconnect

import (
	"log/slog"
	"math"

	"github.com/libnet-go/libnet"
)

// Send sends msg as [libnet.Session.Send] does while there is a session, and holds it while there is none, also before
// Start, which is logged once: a Start that was forgotten loses what is held. A message that is held must not be
// changed until it has been sent, except for a []byte, which is copied. A session that has just ended is none: Send
// then holds msg, or says that there is no room.
//
// Errors: [libnet.ErrSessionClosed] after Close or Shutdown; what Err returns, once the client has ended;
// [libnet.ErrSessionBlocked] when what is held, or the session's queue, is full; those of Session.Send that leave a
// session open; and [libnet.ErrPanic], wrapped, when msg's own methods or Size panicked. With an error the message is
// not sent. A held message that turns out to be one that cannot be sent is logged and counted as lost.
func (c *Client) Send(msg any) error {
	for {
		k, err := c.openLink()
		if err != nil {
			return err
		}
		if k != nil {
			if taken, err := c.sendOn(k, msg); taken || err != nil {
				return err
			}
			continue
		}
		size, err := c.size(msg)
		if err != nil {
			return err
		}
		held, early, err := c.hold(msg, size)
		if early {
			c.log(slog.LevelWarn, "libnet: reconnect.Client was not started: messages are held until then")
		}
		if held || err != nil {
			return err
		}
	}
}

// openLink returns the session to send a message on, and counts it as given; nil if it is to be held.
func (c *Client) openLink() (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing:
		return nil, c.refusalLocked()
	case c.link == nil || len(c.held) > 0:
		return nil, nil
	}
	c.link.given++
	return c.link, nil
}

// refusalLocked is what a client answers that is ending, has ended, or was not started.
func (c *Client) refusalLocked() error {
	switch {
	case c.err != nil:
		return c.err
	case c.closing:
		return libnet.ErrSessionClosed
	}
	return ErrNotStarted
}

// sendOn sends msg on k. Neither taken nor an error: k has ended, and msg needs another session.
func (c *Client) sendOn(k *link, msg any) (taken bool, err error) {
	defer func() {
		if !taken {
			c.notTaken(k)
		}
	}()
	open := !k.session.IsClosed()
	err = k.session.Send(msg)
	switch {
	case err == nil:
		return true, nil
	case !k.session.IsClosed(), is(err, libnet.ErrEncode), open && is(err, libnet.ErrPanic):
		return false, err
	}
	c.sessionGone(k)
	return false, nil
}

// size says what msg counts for.
func (c *Client) size(msg any) (n int, err error) {
	if c.Size != nil {
		defer c.recovered("Size", &err)
		return max(c.Size(msg), 0), nil
	}
	switch m := msg.(type) {
	case []byte:
		return len(m), nil
	case string:
		return len(m), nil
	}
	return 0, nil
}

// hold holds msg; not held and no error: there is a session now. early is the first before Start.
func (c *Client) hold(msg any, size int) (held, early bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := resolve(c.HoldBytes, defaultHoldBytes)
	if limit == 0 {
		limit = math.MaxInt
	}
	switch {
	case c.closing:
		return false, false, c.refusalLocked()
	case c.link != nil && len(c.held) == 0:
		return false, false, nil
	case len(c.held) >= resolve(c.HoldMessages, defaultHoldMessages) || size > limit-c.heldSize:
		return false, false, libnet.ErrSessionBlocked
	}
	if b, ok := msg.([]byte); ok {
		msg = append(make([]byte, 0, len(b)), b...)
	}
	c.held = append(c.held, heldMessage{msg: msg, size: size})
	c.heldSize += size
	return true, !c.started && len(c.held) == 1, nil
}
