//go:build schedules

package schedules

import (
	"encoding/binary"
	"time"

	"github.com/libnet-go/libnet"
)

func (r *run) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failLocked(format, args...)
}

// watch is called when time is about to pass: whoever waits now waits for it.
func (r *run) watch() {
	if r.conn.wasMixed() {
		r.fail("two goroutines write at a time")
	}
	stats := r.session.Stats()
	if stats.Queued >= r.sc.queue || r.session.IsClosed() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		if c.name == "SendContext" && !c.returned && r.sc.queue > 0 {
			r.failLocked("%v waits, though only %d of %d places are taken", c, stats.Queued, r.sc.queue)
		}
	}
}

// settled is called when all actors are done and the library had time for the rest.
func (r *run) settled() {
	if waited := r.conn.longestWrite(); waited > 2*writeTimeout && r.server.WriteTimeout == writeTimeout {
		r.fail("a write waits for %v, beyond WriteTimeout", waited)
	}
	if stats := r.session.Stats(); stats.Queued > 0 && !r.conn.blocked() {
		r.fail("%d messages are queued, and nobody writes them", stats.Queued)
	}
}

// ended is called when the session is closed and everything has ended.
func (r *run) ended() {
	select {
	case <-r.session.Done():
	default:
		r.fail("a closed session is not done")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		if !c.returned {
			r.failLocked("%v does not return", c)
		}
	}
	r.countersLocked()
	r.wireLocked()
	if r.fault == "" && r.sc.check != nil {
		r.fault = r.sc.check(r)
	}
}

// countersLocked: what was accepted was written or discarded, to the message.
func (r *run) countersLocked() {
	stats := r.session.Stats()
	counted := int(stats.MessagesOut + stats.Discarded)
	if counted < r.accepted || counted > r.accepted+r.beats+r.unclear || stats.Queued != 0 || stats.QueuedBytes != 0 {
		r.failLocked("%d messages were accepted and up to %d more; %d were written, %d discarded and %d are queued",
			r.accepted, r.beats+r.unclear, stats.MessagesOut, stats.Discarded, stats.Queued)
	}
	if int(stats.BytesOut) != len(r.conn.wire) {
		r.failLocked("%d bytes were written, and %d counted", len(r.conn.wire), stats.BytesOut)
	}
	server := r.server.Stats()
	if server.Open != 0 || server.MessagesOut != stats.MessagesOut || server.Discarded != stats.Discarded {
		r.failLocked("the server has %+v of %+v", server, stats)
	}
}

// wireLocked: whole frames, as many as were counted, each sender's in its order.
func (r *run) wireLocked() {
	wire := r.conn.written()
	newest := make(map[byte]byte)
	frames := 0
	for ; len(wire) >= frameSize; frames++ {
		frame := wire[:frameSize]
		wire = wire[frameSize:]
		sender, number := frame[4], frame[5]
		switch {
		case binary.BigEndian.Uint32(frame) != frameSize-4:
			r.failLocked("no frame: %q", frame)
			return
		case newest[sender] >= number && sender != 'h':
			r.failLocked("%c's message %c comes behind %c", sender, number, newest[sender])
		}
		newest[sender] = number
	}
	if out := int(r.session.Stats().MessagesOut); frames != out {
		r.failLocked("%d frames were written, and %d counted", frames, out)
	}
}

// discardedNothing is a check for scenarios in which nothing but Shutdown ends the session in time.
func discardedNothing(r *run) string {
	for _, c := range r.calls {
		if c.name == "Shutdown" && c.err != nil {
			return "Shutdown: " + c.err.Error()
		}
	}
	if n := r.session.Stats().Discarded; n > 0 {
		return "messages were discarded that Shutdown should have delivered"
	}
	return ""
}

// refusedNothing is a check for sessions that drop their oldest messages.
func refusedNothing(r *run) string {
	for _, c := range r.calls {
		if c.err == libnet.ErrSessionBlocked {
			return c.String() + " found no room"
		}
	}
	return ""
}

const ever = time.Hour // for contexts that do not end within a run
