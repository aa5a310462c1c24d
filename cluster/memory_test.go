//go:build !race

package cluster_test

import (
	"math"
	"runtime"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/libnettest"
)

func TestAUserCostsNoGoroutineAndLittleMemory(t *testing.T) {
	nodes := mesh(t, 3)
	server := libnet.NewServer(libnettest.NewListener(), lines, 64)
	t.Cleanup(server.Stop)
	sessions := make([]*libnet.Session, 3000)
	for i := range sessions {
		var err error
		if sessions[i], err = server.NewSession(newSink(nil)); err != nil {
			t.Fatal(err)
		}
	}
	memory, goroutines := heap(), runtime.NumGoroutine()
	bindAll(t, sessions, nodes)
	each := int64(math.MaxInt64)
	for range 20 { // what the nodes are just doing is no user's
		each = min(each, (heap()-memory)/int64(len(sessions)))
	}
	t.Logf("%d bytes a user, in all three nodes and their servers together", each)
	if each > 4<<10 {
		t.Errorf("a user costs %d bytes, want at most 4 KB", each)
	}
	if more := runtime.NumGoroutine() - goroutines; more > 50 {
		t.Errorf("%d users brought %d goroutines", len(sessions), more)
	}
	runtime.KeepAlive(sessions)
}

func TestALoginThatIsTriedAgainAndAgainLeavesNothingBehind(t *testing.T) {
	_, far, between := external(t, cluster.Options{})
	server := newSessions(t, lines, nil)
	session, _ := server.open()
	between.sever()
	ctx := patience(t)
	try := func(times int) {
		for range times {
			if far.Bind(ctx, session, "u") == nil {
				t.Fatal("bound without a connection")
			}
		}
	}
	try(100)
	const times = 3000
	memory := heap()
	try(times)
	if each := (heap() - memory) / times; each > 100 {
		t.Errorf("each of %d logins that failed left %d bytes", times, each)
	}
	runtime.KeepAlive(session)
}
