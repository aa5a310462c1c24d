package libnet_test

import (
	"sync"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// Every lookup here runs beside others' changes of the same shards, which now and then move all sessions.
func TestALookupFindsEachOpenSessionWhileOthersComeAndGo(t *testing.T) {
	manager := libnet.NewManager()
	lasting := manager.NewSession(&testkit.FuncCodec{}, 0)
	var changers sync.WaitGroup
	for range 4 {
		changers.Go(func() {
			var open []*libnet.Session
			for i := range 10_000 {
				s := manager.NewSession(&testkit.FuncCodec{}, 0)
				if manager.GetSession(s.ID()) != s || manager.GetSession(lasting.ID()) != lasting {
					t.Errorf("session %d: an open session was not found", s.ID())
					return
				}
				if other := manager.GetSession(s.ID() + 1); other != nil && other.ID() != s.ID()+1 {
					t.Errorf("a lookup of %d found %d", s.ID()+1, other.ID())
					return
				}
				if open = append(open, s); i%3 == 0 {
					continue
				}
				old := open[i%len(open)]
				open[i%len(open)] = open[len(open)-1]
				open = open[:len(open)-1]
				_ = old.Close()
				if manager.GetSession(old.ID()) != nil {
					t.Errorf("session %d was found after it closed", old.ID())
					return
				}
			}
		})
	}
	changers.Wait()
	seen := make(map[uint64]bool)
	for s := range manager.All() {
		if s.IsClosed() || seen[s.ID()] {
			t.Fatalf("session %d: closed %v, seen before %v", s.ID(), s.IsClosed(), seen[s.ID()])
		}
		seen[s.ID()] = true
	}
	if want := 1 + 4*3334; len(seen) != want || manager.Len() != want {
		t.Errorf("All saw %d sessions, Len is %d; want %d", len(seen), manager.Len(), want)
	}
	if manager.GetSession(0) != nil {
		t.Error("there is a session 0")
	}
	manager.Dispose()
	if manager.Len() != 0 {
		t.Errorf("%d sessions are left", manager.Len())
	}
}
