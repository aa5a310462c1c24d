package libnet_test

import (
	"errors"
	"net"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// grpConnected returns n TCP conns whose peers are in the backlogs of listeners that never accept: so they
// take no descriptors, and the kernel takes what is sent to them as long as it is little.
func grpConnected(t *testing.T, n int) []net.Conn {
	const backlog = 2000 // below the 4,096 that Linux allows and package net asks for
	conns := make([]net.Conn, 0, n)
	for len(conns) < n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		for range min(backlog, n-len(conns)) {
			conn, err := net.Dial("tcp", listener.Addr().String())
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				t.Skipf("this machine allows too few descriptors for %d conns", n)
			}
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
	}
	return conns
}

func TestABroadcastTo10000MembersAllocatesAtMost10Times(t *testing.T) {
	if testkit.Race || runtime.GOOS != "linux" {
		t.Skip("measured on Linux without the race detector, which allocates")
	}
	const members = 10_000
	srv := testkit.NewServer(t, testkit.Frames, 64)
	var group libnet.Group[int]
	var sessions []*libnet.Session
	for i, conn := range grpConnected(t, members) {
		s := testkit.Adopt(t, srv, conn)
		group.Put(i, s)
		sessions = append(sessions, s)
	}
	var msg any = make([]byte, 128)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection in the middle empties the pools
	for name, broadcast := range map[string]func() libnet.BroadcastResult{
		"Group":   func() libnet.BroadcastResult { return group.Broadcast(msg) },
		"Manager": func() libnet.BroadcastResult { return srv.Manager().Broadcast(msg) },
	} {
		round := func() {
			if result := broadcast(); result.Sent != members {
				t.Fatalf("%+v", result)
			}
			for _, s := range sessions {
				for s.Stats().Queued > 0 {
					runtime.Gosched()
				}
			}
		}
		for range 5 {
			round()
		}
		allocs := testing.AllocsPerRun(5, round)
		for try := 0; try < 3 && allocs > 10; try++ { // the pools are a processor's each: where goroutines run is not ours to say
			allocs = min(allocs, testing.AllocsPerRun(5, round))
		}
		t.Logf("%s.Broadcast: %v allocations", name, allocs)
		if allocs > 10 {
			t.Errorf("%s.Broadcast to %d members allocates %v times", name, members, allocs)
		}
	}
}
