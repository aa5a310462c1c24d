package reconnect

import "github.com/libnet-go/libnet"

// A link is a session that is, or was, up, and what it was given of Send's messages.
type link struct {
	session *libnet.Session
	sent    chan struct{} // closed when sendHeld has ended

	// Client.mu guards the following.
	given     uint64 // messages that the session has, or may be about to have
	ended     bool   // discarded is final
	discarded uint64 // of all that the session had, those that others sent included
	lost      uint64 // of given, as counted in Stats.Lost
}

// sessionUp gives s what is held, and lets Send use it.
func (c *Client) sessionUp(s *libnet.Session) *link {
	k := &link{session: s, sent: make(chan struct{})}
	c.mu.Lock()
	c.link, c.last = k, k
	c.stats.Connects++
	c.changedLocked()
	c.mu.Unlock()
	go c.sendHeld(k)
	return k
}

// sessionGone makes room for the next session.
func (c *Client) sessionGone(k *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == k {
		c.link = nil
		c.changedLocked()
	}
}

// notTaken says that k's session did not take a message after all.
func (c *Client) notTaken(k *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notTakenLocked(k)
}

func (c *Client) notTakenLocked(k *link) {
	k.given--
	c.countLostLocked(k)
}

// account counts what the session of k, which is done, has not written.
func (c *Client) account(k *link) {
	discarded := k.session.Stats().Discarded
	reason := k.session.Err()
	c.mu.Lock()
	defer c.mu.Unlock()
	k.ended, k.discarded = true, discarded
	c.countLostLocked(k)
	if k.lost > 0 {
		c.lostTo = reason
	}
}

// countLostLocked may be called again when given has changed. What others have sent on the session, such as OnConnect,
// came first as a rule, so what is left in the queue is Send's.
func (c *Client) countLostLocked(k *link) {
	if k.ended {
		lost := min(k.discarded, k.given)
		c.stats.Lost += lost - k.lost
		k.lost = lost
	}
}
