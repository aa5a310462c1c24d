package main

import (
	"fmt"
	"time"

	"github.com/libnet-go/libnet"
)

// An account is what one life of a station came to.
type account struct {
	Station     string            `json:"station"`
	Accepted    uint64            `json:"accepted"` // sessions
	Sent        uint64            `json:"sent"`     // messages that Send or Broadcast took
	Out         uint64            `json:"out"`
	Discarded   uint64            `json:"discarded"`
	Undelivered uint64            `json:"undelivered"` // what Shutdown said
	Forced      int               `json:"forced"`
	Closed      map[string]uint64 `json:"closed"`
	Took        time.Duration     `json:"took"`
	Faults      []string          `json:"faults,omitempty"`
}

func (a *account) fault(format string, args ...any) {
	a.Faults = append(a.Faults, a.Station+": "+fmt.Sprintf(format, args...))
}

// account checks the figures of a server that was shut down. before are those when the Shutdown began.
func (l *life) account(before libnet.ServerStats) account {
	stats := l.server.Stats()
	a := account{
		Station: l.name, Accepted: stats.Accepted, Sent: l.sent.Load(),
		Out: stats.MessagesOut, Discarded: stats.Discarded, Closed: stats.Closed,
	}
	written, beats := a.Out+a.Discarded, l.beats.Load()
	if written < a.Sent || written > a.Sent+beats {
		a.fault("Send took %d messages and heartbeats at most %d, but %d were written and %d discarded", a.Sent, beats, a.Out, a.Discarded)
	}
	closed := uint64(0)
	for _, n := range stats.Closed {
		closed += n
	}
	if stats.Open != 0 || closed != stats.Accepted {
		a.fault("%d sessions accepted, %d closed, %d open", stats.Accepted, closed, stats.Open)
	}
	if n := l.members.Len(); n != 0 {
		a.fault("%d members are left in the group", n)
	}
	if stats.Panics != 0 {
		a.fault("%d panics", stats.Panics)
	}
	if stats.MessagesOut < before.MessagesOut || stats.Discarded < before.Discarded || stats.Accepted < before.Accepted {
		a.fault("counters went down")
	}
	return a
}
