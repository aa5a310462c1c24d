package pick_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libnet-go/libnet/examples/im/internal/pick"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// from returns a picker whose list is what the pointer holds.
func from(servers ...registry.Server) (*pick.Picker, *atomic.Pointer[registry.Snapshot]) {
	var list atomic.Pointer[registry.Snapshot]
	list.Store(registry.SnapshotOf(servers...))
	return pick.New(list.Load), &list
}

func server(id string, sessions, capacity int) registry.Server {
	return registry.Server{ID: id, Addr: id + ":7000", Sessions: sessions, Capacity: capacity}
}

// count picks n times and returns how often each server was chosen.
func count(t testing.TB, p *pick.Picker, n int) map[string]int {
	t.Helper()
	chosen := make(map[string]int)
	for range n {
		s, ok := p.Pick(nil)
		if !ok {
			t.Fatal("no server")
		}
		chosen[s.ID]++
	}
	return chosen
}

func ExamplePicker_Pick() {
	list := registry.SnapshotOf(
		registry.Server{ID: "a", Addr: "10.0.0.1:7000", Capacity: 1000, Sessions: 700},
		registry.Server{ID: "b", Addr: "10.0.0.2:7000", Capacity: 1000, Sessions: 300},
		registry.Server{ID: "c", Addr: "10.0.0.3:7000", Capacity: 1000, Draining: true},
	)
	picker := pick.New(func() *registry.Snapshot { return list })
	server, ok := picker.Pick(nil)
	fmt.Println(server.Addr, ok)
	// Output: 10.0.0.2:7000 true
}

func TestWithoutAReportThePicksAreSpreadEvenly(t *testing.T) {
	p, _ := from(server("a", 0, 10000), server("b", 0, 10000), server("c", 0, 10000))
	chosen := count(t, p, 3000)
	most := max(chosen["a"], chosen["b"], chosen["c"])
	least := min(chosen["a"], chosen["b"], chosen["c"])
	if len(chosen) != 3 || float64(most) > 1.05*float64(least) {
		t.Errorf("3,000 picks went to %v", chosen)
	}
}

func TestTheLessLoadedOfTwoIsChosenUntilTheyAreEven(t *testing.T) {
	p, _ := from(server("busy", 500, 1000), server("idle", 0, 1000))
	if chosen := count(t, p, 500); chosen["idle"] != 500 {
		t.Errorf("500 picks went to %v", chosen)
	}
	if chosen := count(t, p, 500); chosen["idle"] < 240 || chosen["idle"] > 260 {
		t.Errorf("500 picks between two that are even went to %v", chosen)
	}
}

func TestLoadIsAPartOfTheCapacity(t *testing.T) {
	p, _ := from(server("large", 0, 3000), server("small", 0, 1000))
	if chosen := count(t, p, 400); chosen["large"] < 290 || chosen["large"] > 310 {
		t.Errorf("400 picks among a server of 3,000 and one of 1,000 went to %v", chosen)
	}
}

func TestAReportTakesThePlaceOfTheOwnPicks(t *testing.T) {
	p, list := from(server("a", 0, 1000), server("b", 0, 1000))
	count(t, p, 100)
	// a reports that it has none of its 50: they went elsewhere. b has not reported.
	reported := server("a", 0, 1000)
	reported.Report = 1
	list.Store(registry.SnapshotOf(reported, server("b", 0, 1000)))
	if chosen := count(t, p, 40); chosen["a"] != 40 {
		t.Errorf("40 picks went to %v", chosen)
	}
}

func TestADrainingServerIsNeverChosen(t *testing.T) {
	draining := server("draining", 0, 1000)
	draining.Draining = true
	p, list := from(draining, server("a", 900, 1000), server("b", 900, 1000))
	if chosen := count(t, p, 200); chosen["draining"] != 0 {
		t.Errorf("200 picks went to %v", chosen)
	}
	list.Store(registry.SnapshotOf(draining))
	if s, ok := p.Pick(nil); ok {
		t.Errorf("%v was chosen, and there is none", s)
	}
}

func TestAFullServerIsChosenWhenAllAreFull(t *testing.T) {
	p, _ := from(server("full", 1000, 1000), server("overfull", 2000, 1000))
	if chosen := count(t, p, 10); chosen["full"] != 10 {
		t.Errorf("10 picks went to %v", chosen)
	}
}

func TestOnlyServersThatSuitAreChosen(t *testing.T) {
	web := server("web", 900, 1000)
	web.WebSocket = "ws://web/ws"
	p, _ := from(web, server("a", 0, 1000), server("b", 0, 1000))
	hasWebSocket := func(s registry.Server) bool { return s.WebSocket != "" }
	for range 20 {
		if s, ok := p.Pick(hasWebSocket); !ok || s.ID != "web" {
			t.Fatalf("%v, %v", s, ok)
		}
	}
	if s, ok := p.Pick(func(registry.Server) bool { return false }); ok {
		t.Errorf("%v suits nobody", s)
	}
}

func TestG9PicksGoOnWhileTheListChanges(t *testing.T) {
	p, list := from(server("a", 0, 1000))
	stop := make(chan struct{})
	var changing, picking sync.WaitGroup
	changing.Go(func() {
		for report := int64(1); ; report++ {
			a, b := server("a", 0, 1000), server("b", 0, 1000)
			a.Report, b.Report = report, report
			if report%2 == 0 {
				list.Store(registry.SnapshotOf(a, b))
			} else {
				list.Store(registry.SnapshotOf(a))
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for range 4 {
		picking.Go(func() {
			for range 2000 {
				if s, ok := p.Pick(nil); !ok || s.ID != "a" && s.ID != "b" {
					t.Errorf("%v, %v", s, ok)
				}
			}
		})
	}
	picking.Wait()
	close(stop)
	changing.Wait()
}
