package main

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

// A rowKind says what the client does in a row, and with it what it asks of a server.
type rowKind string

const (
	echoKind      rowKind = "echo"      // each connection keeps one window of messages under way
	churnKind     rowKind = "churn"     // connect, one echo, close
	idleKind      rowKind = "idle"      // what a silent connection costs, then a few busy among them
	broadcastKind rowKind = "broadcast" // one sends a window, all receive it
	slowKind      rowKind = "slow"      // broadcast without and with one that never reads
	sleepKind     rowKind = "sleep"     // echo without and with handlers that sleep
)

func (k rowKind) broadcasts() bool { return k == broadcastKind || k == slowKind }

// disturbed rows measure twice: without and with what disturbs.
func (k rowKind) disturbed() bool { return k == slowKind || k == sleepKind }

// unit is what a row counts.
func (k rowKind) unit() string {
	switch {
	case k == churnKind:
		return "connection"
	case k.broadcasts():
		return "delivery"
	}
	return "message"
}

// A row is one line of work that every server is given alike.
type row struct {
	Name   string    `json:"name"`
	Kind   rowKind   `json:"kind"`
	Conns  int       `json:"connections"`
	Window int       `json:"window"` // messages under way on a connection
	Size   int       `json:"size"`   // bytes of payload
	On     placement `json:"on,omitempty"`
	Base   string    `json:"base,omitempty"` // whose figures its ratios are to where -base names none of its servers
	quick  bool      // -quick runs it
	only   []string
}

// eventPeers are the servers of the rows that ask how event mode grows and isolates.
var eventPeers = []string{"net", "netpoll", "libnet", "libnet-event", webSocketServer}

// The servers of the rows over WebSocket, and of those over TLS and over WebSocket on TLS.
var (
	webSocketPeers = []string{"net", "libnet-event", webSocketServer, "libnet-ws", "gws"}
	broadcastPeers = []string{"net", "net-chan-batched", "libnet-event", webSocketServer, "libnet-ws", "gws"}
	securePeers    = []string{"net-tls", "libnet-tls", "libnet-tls-event", "libnet-wss", "libnet-wss-event", "gws-wss"}
	idlePeers      = append(slices.Clip(securePeers), "libnet-wss-monitored")
)

var rows = []row{
	{Name: "ping-pong-1", Kind: echoKind, Conns: 1, Window: 1, Size: 64, quick: true},
	{Name: "ping-pong-1-apart", Kind: echoKind, Conns: 1, Window: 1, Size: 64, On: apart},
	{Name: "ping-pong-1-together", Kind: echoKind, Conns: 1, Window: 1, Size: 64, On: together},
	{Name: "ping-pong-64", Kind: echoKind, Conns: 64, Window: 1, Size: 64, quick: true},
	{Name: "ping-pong-2000", Kind: echoKind, Conns: 2000, Window: 1, Size: 64, quick: true},
	{Name: "pipelined-64x64", Kind: echoKind, Conns: 64, Window: 64, Size: 64, quick: true},
	{Name: "pipelined-64x16-1KiB", Kind: echoKind, Conns: 64, Window: 16, Size: 1024},
	{Name: "churn", Kind: churnKind, Conns: 16, Window: 1, Size: 64, quick: true},
	{Name: "idle-1000", Kind: idleKind, Conns: 1000, Window: 1, Size: 64, only: eventPeers},
	{Name: "idle-5000", Kind: idleKind, Conns: 5000, Window: 1, Size: 64, only: eventPeers},
	{Name: "idle-10000", Kind: idleKind, Conns: 10000, Window: 1, Size: 64, quick: true},
	{Name: "idle-19000", Kind: idleKind, Conns: 19000, Window: 1, Size: 64, only: eventPeers},
	{Name: "sleepers", Kind: sleepKind, Conns: 200, Window: 1, Size: 64, only: eventPeers},
	{Name: "broadcast-single", Kind: broadcastKind, Conns: 1000, Window: 1, Size: 128, quick: true},
	{Name: "broadcast-burst-32", Kind: broadcastKind, Conns: 1000, Window: 32, Size: 128, quick: true},
	{Name: "slow-member", Kind: slowKind, Conns: 1000, Window: 1, Size: 128},

	{Name: "ws-ping-pong-64", Kind: echoKind, Conns: 64, Window: 1, Size: 64, quick: true, only: webSocketPeers},
	{Name: "ws-pipelined-64x64", Kind: echoKind, Conns: 64, Window: 64, Size: 64, quick: true, only: webSocketPeers},
	{Name: "ws-idle-4000", Kind: idleKind, Conns: 4000, Window: 1, Size: 64, only: webSocketPeers},
	{Name: "ws-idle-8000", Kind: idleKind, Conns: 8000, Window: 1, Size: 64, only: webSocketPeers},
	{Name: "ws-broadcast-burst-16", Kind: broadcastKind, Conns: 1000, Window: 16, Size: 128, only: broadcastPeers},

	{Name: "tls-ping-pong-64", Kind: echoKind, Conns: 64, Window: 1, Size: 64, Base: "net-tls", quick: true, only: securePeers},
	{Name: "tls-pipelined-64x64", Kind: echoKind, Conns: 64, Window: 64, Size: 64, Base: "net-tls", only: securePeers},
	{Name: "tls-idle-4000", Kind: idleKind, Conns: 4000, Window: 1, Size: 64, Base: "net-tls", only: securePeers},
	{Name: "tls-idle-8000", Kind: idleKind, Conns: 8000, Window: 1, Size: 64, Base: "net-tls", only: idlePeers},
	{Name: "tls-idle-4000-16KiB", Kind: idleKind, Conns: 4000, Window: 1, Size: largeRecord, Base: "net-tls", only: securePeers},
}

// largeRecord is as much payload as a record of TLS has room for behind the headers of all framings.
const largeRecord = 16<<10 - 16

// What rows of some kinds fix for themselves.
const (
	walkers   = 64  // of an idle row: so many connections are busy at a time, all of them in turn
	sleeperIn = 100 // of a sleep row: one connection in so many has a handler that sleeps
)

func (r row) describe() string {
	size := fmt.Sprintf("%d B", r.Size)
	if r.Size >= 1024 && r.Size%1024 == 0 {
		size = fmt.Sprintf("%d KiB", r.Size/1024)
	}
	switch r.Kind {
	case churnKind:
		return fmt.Sprintf("%d at a time connect, echo one message of %s and close", r.Conns, size)
	case idleKind:
		return fmt.Sprintf("%d connections after one message of %s each; then %d at a time echo one, all in turn", r.Conns, size, walkers)
	case broadcastKind:
		return fmt.Sprintf("one of %d sends messages of %s, %d at a time, and all receive them", r.Conns, size, r.Window)
	case slowKind:
		return fmt.Sprintf("one of %d sends a message of %s, all receive it, while one more never reads", r.Conns, size)
	case sleepKind:
		return fmt.Sprintf("%d connections echo messages of %s; one handler in %d sleeps %v a message, the figures are the others'", r.Conns, size, sleeperIn, napTime)
	}
	about := fmt.Sprintf("connections: %d, messages of %s under way on each: %d", r.Conns, size, r.Window)
	switch r.On {
	case apart:
		about += "; server and client on a processor each"
	case together:
		about += "; server and client on one processor"
	}
	return about
}

// runs reports whether the row is for this server.
func (r row) runs(s server) bool {
	if r.only == nil {
		return s.can(r.Kind) && !s.named
	}
	return s.can(r.Kind) && slices.Contains(r.only, s.name)
}

// A plan is what one invocation measures, and for how long.
type plan struct {
	rows    []row
	servers []server
	rounds  int
	warm    time.Duration // before each measured window
	window  time.Duration
}

// choose narrows the plan to the rows and servers whose names match; an empty pattern matches all.
func (p *plan) choose(rowPattern, serverPattern string) error {
	rowMatch, err := regexp.Compile(rowPattern)
	if err != nil {
		return err
	}
	serverMatch, err := regexp.Compile(serverPattern)
	if err != nil {
		return err
	}
	p.rows = slices.DeleteFunc(slices.Clone(p.rows), func(r row) bool { return !rowMatch.MatchString(r.Name) })
	p.servers = slices.DeleteFunc(slices.Clone(p.servers), func(s server) bool { return !serverMatch.MatchString(s.name) })
	if p.measurements() == 0 {
		return fmt.Errorf("no row matches -rows %q for a server that matches -servers %q", rowPattern, serverPattern)
	}
	return nil
}

// serversOf are the plan's servers that the row is for.
func (p *plan) serversOf(r row) []server {
	return slices.DeleteFunc(slices.Clone(p.servers), func(s server) bool { return !r.runs(s) })
}

func (p *plan) measurements() int {
	n := 0
	for _, r := range p.rows {
		n += p.rounds * len(p.serversOf(r))
	}
	return n
}

// quicken makes it a first look: one short round, and of the rows only the main ones, unless the
// user names others.
func (p *plan) quicken(mainRowsOnly bool) {
	p.rounds, p.warm, p.window = 1, 50*time.Millisecond, 200*time.Millisecond
	if mainRowsOnly {
		p.rows = slices.DeleteFunc(slices.Clone(p.rows), func(r row) bool { return !r.quick })
	}
}
