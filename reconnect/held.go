package reconnect

import (
	"context"
	"log/slog"
	"time"

	"github.com/libnet-go/libnet"
)

type heldMessage struct {
	msg       any
	size      int
	suspected bool // a session ended over it, or seemed to
}

// retryHeld is the pause before a message is offered again that found a codec at work on another's.
const retryHeld = 10 * time.Millisecond

// sendHeld sends what is held on k's session, in order; what is sent meanwhile is held behind it. It ends when nothing
// is left or the session has ended. A message may end the goroutine: another one goes on.
func (c *Client) sendHeld(k *link) {
	done := false
	defer func() {
		if done {
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
	done = true
}

// sendFirst sends the first of what is held; false ends the sending. The message stays held until the session has
// accepted it.
func (c *Client) sendFirst(k *link) (goOn bool) {
	msg, ok := c.beginSend(k)
	if !ok {
		return false
	}
	err := errExited // unless the message's methods return
	defer func() { goOn = c.endSend(k, err) }()
	err = k.session.SendContext(context.Background(), msg) // until the session ends, at the latest
	return
}

// beginSend returns the message to send next.
func (c *Client) beginSend(k *link) (msg any, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.held) == 0 || c.link != k || c.closed {
		return nil, false
	}
	c.sendingFirst = true
	k.given++
	return c.held[0].msg, true
}

// endSend decides about the message that was being sent once it was, or was not; false ends the sending.
func (c *Client) endSend(k *link, err error) (goOn bool) {
	v := sent
	if err != nil {
		v = classify(k.session, err)
	}
	if v == suspect {
		c.endOpen(k.session, err)
	}
	v = c.settleSend(k, v)
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

// A sendResult is what became of a message that was given to a session.
type sendResult int

const (
	sent    sendResult = iota
	refused            // it cannot be sent, now or ever
	notYet             // it may be offered again
	ended              // the session takes nothing any more
	suspect            // the session ended, perhaps over this message
)

// classify tells an error that is about the message from one that is about s, whose reason can be the same value.
func classify(s *libnet.Session, err error) sendResult {
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

// settleSend keeps a message that is neither sent nor refused. One that two sessions ended over is refused, or no
// session would get any further.
func (c *Client) settleSend(k *link, v sendResult) sendResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sendingFirst = false
	first := &c.held[0]
	if v == suspect {
		v = ended
		if first.suspected {
			v = refused
		}
		first.suspected = true
	}
	if v != sent {
		c.notTakenLocked(k)
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

// dropHeldLocked discards what is held, but for one that is being sent: that is endSend's.
func (c *Client) dropHeldLocked() {
	first := 0
	if c.sendingFirst {
		first = 1
	}
	for i, h := range c.held[first:] {
		c.heldSize -= h.size
		c.stats.Lost++
		c.held[first+i] = heldMessage{}
	}
	c.held = c.held[:first]
}
