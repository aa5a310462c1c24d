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
	Name   string  `json:"name"`
	Kind   rowKind `json:"kind"`
	Conns  int     `json:"connections"`
	Window int     `json:"window"` // messages under way on a connection
	Size   int     `json:"size"`   // bytes of payload, the most where they differ

	From int `json:"from,omitempty"` // bytes of the first payload of a window, which double from one to the next; 0 makes all equal
	Busy int `json:"busy,omitempty"` // so many connections have a window under way at a time, all in turn; 0 keeps all busy

	On    placement `json:"on,omitempty"`
	Base  string    `json:"base,omitempty"` // whose figures its ratios are to where -base names none of its servers
	quick bool      // -quick runs it
	only  []string
}

// eventPeers are the servers of the rows that ask how event mode isolates, growthPeers of those that ask how it grows.
var (
	eventPeers  = []string{"net", "netpoll", "libnet", "libnet-event", webSocketServer}
	growthPeers = append(slices.Clip(eventPeers), "gnet", "nbio")
)

// muxPeers are the servers of the rows that ask what routing and calls cost beyond bytes.
var muxPeers = []string{"net", "libnet", "libnet-event", "libnet-mux", "libnet-mux-event"}

// The servers of the rows over WebSocket, and of those over TLS and over WebSocket on TLS.
var (
	webSocketPeers = []string{"net", "libnet-event", webSocketServer, "libnet-ws", "gws", "nbio-ws"}
	broadcastPeers = []string{"net", "net-chan-batched", "libnet-event", webSocketServer, "libnet-ws", "gws"}
	securePeers    = []string{"net-tls", "libnet-tls", "libnet-tls-event", "libnet-wss", "libnet-wss-event", "gws-wss", "nbio-tls", "nbio-wss"}
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
	{Name: "pipelined-16x4-65000B", Kind: echoKind, Conns: 16, Window: 4, Size: 65000},
	{Name: "mixed", Kind: echoKind, Conns: 2000, Busy: 50, Window: 8, From: 32, Size: 4096},
	{Name: "churn", Kind: churnKind, Conns: 16, Window: 1, Size: 64, quick: true},
	{Name: "idle-1000", Kind: idleKind, Conns: 1000, Window: 1, Size: 64, only: growthPeers},
	{Name: "idle-5000", Kind: idleKind, Conns: 5000, Window: 1, Size: 64, only: growthPeers},
	{Name: "idle-10000", Kind: idleKind, Conns: 10000, Window: 1, Size: 64, quick: true},
	{Name: "idle-19000", Kind: idleKind, Conns: 19000, Window: 1, Size: 64, only: growthPeers},
	{Name: "sleepers", Kind: sleepKind, Conns: 200, Window: 1, Size: 64, only: eventPeers},
	{Name: "broadcast-single", Kind: broadcastKind, Conns: 1000, Window: 1, Size: 128, quick: true},
	{Name: "broadcast-burst-32", Kind: broadcastKind, Conns: 1000, Window: 32, Size: 128, quick: true},
	{Name: "slow-member", Kind: slowKind, Conns: 1000, Window: 1, Size: 128},

	{Name: "mux-ping-pong-64", Kind: echoKind, Conns: 64, Window: 1, Size: 64, only: muxPeers},
	{Name: "mux-pipelined-64x64", Kind: echoKind, Conns: 64, Window: 64, Size: 64, only: muxPeers},

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

// sizes are the payloads of a window.
func (r row) sizes() []int {
	sizes := slices.Repeat([]int{r.Size}, r.Window)
	for i, size := 0, r.From; size > 0 && i < len(sizes); i, size = i+1, min(2*size, r.Size) {
		sizes[i] = size
	}
	return sizes
}

func formatSize(n int) string {
	if n >= 1024 && n%1024 == 0 {
		return fmt.Sprintf("%d KiB", n/1024)
	}
	return fmt.Sprintf("%d B", n)
}

func (r row) describe() string {
	size := formatSize(r.Size)
	if r.From > 0 {
		size = formatSize(r.From) + " to " + size
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
	if r.Busy > 0 {
		about = fmt.Sprintf("connections: %d, of which %d at a time, all in turn, have %d messages of %s under way", r.Conns, r.Busy, r.Window, size)
	}
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
