package directory

import (
	"context"
	"slices"
	"sync"
	"time"
)

// batchSize is how many logins go into one message: about 40 KB of them.
const batchSize = 512

// Run registers this node's logins again whenever the view changes, and answers homes that ask for them, until ctx or
// the directory ends.
func (d *Directory) Run(ctx context.Context) {
	var withdrawing sync.WaitGroup
	defer withdrawing.Wait()
	withdrawing.Go(func() { d.withdrawLoop(ctx) })
	for {
		select {
		case <-d.work:
			for d.handOver(ctx) {
			}
		case <-ctx.Done():
			return
		case <-d.closed:
			return
		}
	}
}

// A handover is what has to be registered so that all homes of the view know their users.
type handover struct {
	view    *view
	changed chan struct{}
	again   bool
	wants   map[string]uint64  // homes that asked, and are told when they have all
	logins  map[string][]entry // by home
}

// handOver reports whether there is more to do: the view has changed meanwhile.
func (d *Directory) handOver(ctx context.Context) bool {
	h := d.planHandover()
	if h == nil {
		return false
	}
	var homes sync.WaitGroup
	for home := range h.logins {
		homes.Go(func() { d.handOverTo(ctx, h, home) })
	}
	homes.Wait()
	d.mu.Lock()
	done := d.view == h.view && ctx.Err() == nil && !d.stopped
	if done {
		d.registered = h.view
		d.wholeLocked()
	} else {
		d.again = d.again || h.again
		for home, number := range h.wants {
			d.wants[home] = max(d.wants[home], number)
		}
	}
	stopped := d.stopped || ctx.Err() != nil
	d.mu.Unlock()
	if done {
		d.host.Announce()
	}
	return !stopped
}

// planHandover finds out which users have homes that may not know them; nil if there are none.
func (d *Directory) planHandover() *handover {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := &handover{view: d.view, changed: d.changed, again: d.again, wants: d.wants, logins: make(map[string][]entry)}
	if d.view == d.registered && !h.again && len(h.wants) == 0 {
		return nil
	}
	d.again, d.wants = false, make(map[string]uint64)
	for home := range h.wants {
		h.logins[home] = nil
	}
	for token, l := range d.held {
		homes := h.view.homes(token)
		all := h.again || homes != d.registered.homes(token)
		for _, home := range homes.list() {
			if all || h.wants[home] != 0 {
				h.logins[home] = append(h.logins[home], entry{token, l.session, l.number})
			}
		}
	}
	return h
}

// handOverTo registers with one home, however long that takes while it is in the view.
func (d *Directory) handOverTo(ctx context.Context, h *handover, home string) {
	for batch := range slices.Chunk(h.logins[home], batchSize) {
		if !d.deliver(ctx, h, home, batch) {
			return
		}
	}
	if number := h.wants[home]; number != 0 {
		d.mu.Lock()
		current := d.view == h.view
		d.mu.Unlock()
		if current {
			_ = d.send(home, message{kind: kindDone, call: number})
		}
	}
}

// deliver repeats a batch until the home has it.
func (d *Directory) deliver(ctx context.Context, h *handover, home string, batch []entry) bool {
	d.mu.Lock()
	c := d.beginLocked()
	d.mu.Unlock()
	defer d.endCall(c)
	var again repetition
	late := time.NewTimer(again.next())
	defer late.Stop()
	changed := h.changed
	for send := true; ; {
		if send && !d.registerBatch(home, c.number, batch) {
			return true
		}
		send = false
		select {
		case <-c.answers:
			return true
		case <-late.C:
			late.Reset(again.next())
			send = true
		case <-changed:
			d.mu.Lock()
			changed = d.changed
			moved := d.view != h.view
			d.mu.Unlock()
			if moved {
				return false
			}
		case <-ctx.Done():
			return false
		case <-d.closed:
			return false
		}
	}
}

// registerBatch sends those of the batch that are still held; false if there are none.
func (d *Directory) registerBatch(home string, call uint64, batch []entry) bool {
	d.sending.Lock()
	var still []entry
	d.mu.Lock()
	for _, e := range batch {
		if h, ok := d.held[e.token]; ok && h.session == e.session {
			still = append(still, entry{e.token, h.session, h.number})
		}
	}
	d.mu.Unlock()
	m := message{kind: kindRegister, call: call, flags: flagBatch, entries: still}
	if home != d.self && len(still) > 0 {
		_ = d.send(home, m)
	}
	d.sending.Unlock()
	if home == d.self && len(still) > 0 {
		_ = d.send(home, m) // handleRegister looks itself
	}
	return len(still) > 0
}
