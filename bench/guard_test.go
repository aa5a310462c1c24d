package main

import (
	"runtime/debug"
	"testing"
	"time"
)

// What a window of messages costs in allocations and in system calls is exact where times are not, so this file guards
// the rows: a change by which a message allocates, is read or is written once more fails here before anybody measures.

// The windows of the rows, on one connection. A client's window is one write, and in event mode one read.
var guardedWindows = []row{
	{Name: "ping-pong", Window: 1, Size: 64},
	{Name: "pipelined", Window: 64, Size: 64},
	{Name: "mixed", Window: 8, From: 32, Size: 4096},
}

const inexact = -1 // it differs from one window to the next

// A guard is what a server may cost in each of guardedWindows.
type guard struct {
	server      string
	allocations [3]float64
	reads       [3]int // those that find nothing included
	writes      [3]int
}

var guards = []guard{
	// Receive copies messages into storage that it makes for several, and Go allocates to make a slice an any for Send.
	{"libnet-sync", [3]float64{2, 64 + 4, inexact}, [3]int{2, 2, 2}, [3]int{1, 64, 8}},
	{"libnet", [3]float64{2, 64 + 4, inexact}, [3]int{2, 2, 2}, [3]int{1, 1, 1}},
	{"libnet-bytes", [3]float64{1, 4, inexact}, [3]int{2, 2, 2}, [3]int{1, 1, 1}},
	{"libnet-into", [3]float64{0, 0, 0}, [3]int{2, 2, 2}, [3]int{1, 1, 1}},
	// A handler's message lies where it was read: there is only the any.
	{"libnet-event", [3]float64{1, 64, 8}, [3]int{1, 1, 1}, [3]int{1, 1, 1}},
	{"libnet-event-bytes", [3]float64{0, 0, 0}, [3]int{1, 1, 1}, [3]int{1, 1, 1}},
	{"libnet-event-into", [3]float64{0, 0, 0}, [3]int{1, 1, 1}, [3]int{1, 1, 1}},
	{"libnet-ws", [3]float64{2, 64 + 4, inexact}, [3]int{2, 2, 2}, [3]int{1, 1, 1}},
	{"libnet-ws-event", [3]float64{1, 64, 8}, [3]int{1, 1, 1}, [3]int{1, 1, 1}},
	// A call is decoded into a body of its own, which is two allocations for this one.
	{"libnet-mux-event", [3]float64{2, 2 * 64, 2 * 8}, [3]int{1, 1, 1}, [3]int{1, 1, 1}},
	// The two more are crypto/tls's, one at each end; net-tls has them as well.
	{"libnet-tls-event", [3]float64{1 + 2, 64 + 2, 8 + 2}, [3]int{1, 1, 1}, [3]int{1, 1, 1}},
	{"libnet-wss-event", [3]float64{1 + 2, 64 + 2, 8 + 2}, [3]int{1, 1, 1}, [3]int{1, 1, 1}},
}

// A window is exchanged by a client that allocates nothing itself.
func windowOf(t *testing.T, s server, address string, r row) func() {
	t.Helper()
	c := &client{job: job{Row: r, Address: address, Patience: 20 * time.Second, Over: s.over}}
	t.Cleanup(c.closeAll)
	conns, err := c.dial(1)
	if err != nil {
		t.Fatal(err)
	}
	conns[0].SetDeadline(time.Time{})
	batch := c.batch(plainMark)
	reply := make([]byte, len(batch.back))
	return func() {
		if err := exchange(conns[0], batch, reply); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAWindowAllocatesAsOftenAsItsGuardSays(t *testing.T) {
	if raceDetector() {
		t.Skip("the race detector allocates, and has pools forget things")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection empties the pools
	for _, g := range guards {
		s, err := findServer(g.server)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range guardedWindows {
			want := g.allocations[i]
			if want == inexact {
				continue
			}
			address, err := s.start(echoKind)
			if err != nil {
				t.Fatal(err)
			}
			if got := leastAllocations(want, windowOf(t, s, address.String(), r)); got != want {
				t.Errorf("%s: a window of row %s allocates %v times, want %v", g.server, r.Name, got, want)
			}
		}
	}
}

// leastAllocations is the best of a few: other servers of this process allocate now and then as well.
func leastAllocations(want float64, window func()) float64 {
	for range 50 {
		window()
	}
	got := testing.AllocsPerRun(50, window)
	for try := 0; try < 20 && got > want; try++ {
		got = min(got, testing.AllocsPerRun(50, window))
	}
	return got
}

func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}
