package reconnect

import (
	"context"
	"log/slog"
	"time"

	"github.com/libnet-go/libnet"
)

type heldMessage struct {
	msg    any
	size   int
	struck bool // a session ended over it, or seemed to
}

// retryHeld is the pause before a message is offered again that found a codec at work on another's.
const retryHeld = 10 * time.Millisecond

// sendHeld sends what is held on k's session, in order; what is sent meanwhile is held behind it. It ends when nothing
// is left or the session has ended. A message may end the goroutine: another one goes on.
func (c *Client) sendHeld(k *link) {
	ended := false
	defer func() {
		if ended {
			close(k.sent)
		} else {
			go c.sendHeld(k)
		}
	}()
	c.mu.Lock()
	c.sender = goroutineID()
	c.mu.Unlock()
	for c.sendFirst(k) {
	}
	ended = true
}

// sendFirst sends the first of what is held; false ends the sending. The message stays held until the session has accepted it.
func (c *Client) sendFirst(k *link) (goOn bool) {
	msg, ok := c.takeInHand(k)
	if !ok {
		return false
	}
	err := errExited // unless the message's methods return
	defer func() { goOn = c.putDown(k, err) }()
	err = k.session.SendContext(context.Background(), msg) // until the session ends, at the latest
	return
}

// takeInHand returns the message to send next.
func (c *Client) takeInHand(k *link) (msg any, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.held) == 0 || c.link != k || c.closed {
		return nil, false
	}
	c.inHand = true
	k.given++
	return c.held[0].msg, true
}

// putDown decides about the message in hand once it was sent, or was not; false ends the sending.
func (c *Client) putDown(k *link, err error) (goOn bool) {
	v := sent
	if err != nil {
		v = judge(k.session, err)
	}
	if v == suspect {
		c.endOpen(k.session, err)
	}
	v = c.putDownAs(k, v)
	switch v {
	case ended:
		return false
	case refused:
		c.log(slog.LevelWarn, "libnet: held message not sent", slog.Uint64("session", k.session.ID()), slog.String("error", text(err)))
	case notYet:
		time.Sleep(retryHeld)
	}
	return true
}

// A verdict is what became of a message in hand.
type verdict int

const (
	sent    verdict = iota
	refused         // it cannot be sent, now or ever
	notYet          // it may be offered again
	ended           // the session takes nothing any more
	suspect         // the session ended, perhaps over this message
)

// judge tells an error that is about the message from one that is about s, whose reason can be the same value.
func judge(s *libnet.Session, err error) verdict {
	open := !s.IsClosed()
	switch {
	case is(err, libnet.ErrEncode), open && is(err, libnet.ErrFrameTooLarge):
		return refused
	case open && is(err, libnet.ErrSessionBlocked):
		return notYet
	case open, is(err, libnet.ErrPanic):
		return suspect
	}
	return ended
}

// putDownAs keeps a message that is neither sent nor refused. One that two sessions ended over is refused, or no session would get any
// further.
func (c *Client) putDownAs(k *link, v verdict) verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inHand = false
	first := &c.held[0]
	if v == suspect {
		v = ended
		if first.struck {
			v = refused
		}
		first.struck = true
	}
	if v != sent {
		c.takeBackLocked(k)
	}
	switch v {
	case refused:
		c.stats.Lost++
		fallthrough
	case sent:
		c.removeFirstLocked()
	}
	if c.closed {
		c.dropHeldLocked()
	}
	return v
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
	for i, h := range c.held[first:] {
		c.heldSize -= h.size
		c.stats.Lost++
		c.held[first+i] = heldMessage{}
	}
	c.held = c.held[:first]
}
