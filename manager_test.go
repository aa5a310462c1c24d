package libnet_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestM1M2NoSessionSurvivesADisposeThatItRacesWith(t *testing.T) {
	for range 200 {
		manager := libnet.NewManager()
		var opened sync.Map
		var callbacks atomic.Int32
		var makers sync.WaitGroup
		for range 4 {
			makers.Go(func() {
				for range 20 {
					s := manager.NewSession(&testkit.FuncCodec{}, 0)
					s.OnClose(func() { callbacks.Add(1) })
					opened.Store(s, true)
				}
			})
		}
		manager.Dispose()
		makers.Wait()
		for s := range opened.Range {
			s := s.(*libnet.Session)
			testkit.Await(t, testkit.Patience, "Done", s.Done())
			if s.Err() != libnet.ErrServerClosed || manager.GetSession(s.ID()) != nil {
				t.Fatalf("Err = %v; found by id: %v", s.Err(), manager.GetSession(s.ID()) != nil)
			}
		}
		testkit.Eventually(t, "80 callbacks", func() bool { return callbacks.Load() == 80 })
		if manager.Len() != 0 {
			t.Fatalf("%d sessions are left", manager.Len())
		}
	}
}

func TestM2ASessionMadeAfterDisposeIsClosed(t *testing.T) {
	manager := libnet.NewManager()
	manager.Dispose()
	closed := false
	s := manager.NewSession(&testkit.FuncCodec{OnClose: func() error { closed = true; return nil }}, 4)
	if !s.IsClosed() || !closed || s.Err() != libnet.ErrServerClosed {
		t.Errorf("closed %v, its codec closed %v, Err %v", s.IsClosed(), closed, s.Err())
	}
	testkit.WantErr(t, "Send", s.Send("x"), libnet.ErrServerClosed)
	manager.Dispose()
}

func TestM3ACloseCallbackMayUseTheManager(t *testing.T) {
	manager := libnet.NewManager()
	var sessions []*libnet.Session
	var looked atomic.Int32
	for range 100 {
		s := manager.NewSession(&testkit.FuncCodec{}, 0)
		sessions = append(sessions, s)
		s.OnClose(func() {
			for _, other := range sessions {
				if manager.GetSession(other.ID()) == nil {
					looked.Add(1)
				}
			}
			for range manager.All() {
				looked.Add(1)
			}
			manager.NewSession(&testkit.FuncCodec{}, 0)
			manager.Broadcast("x")
		})
	}
	testkit.Within(t, testkit.Patience, "Dispose with callbacks that use the manager", manager.Dispose)
	if looked.Load() < 100*100 || manager.Len() != 0 {
		t.Errorf("%d lookups, %d sessions are left", looked.Load(), manager.Len())
	}
}

func TestM3ASlowCloseBlocksNoLookup(t *testing.T) {
	manager := libnet.NewManager()
	release := make(chan struct{})
	closing := make(chan struct{}, 1)
	slow := manager.NewSession(&testkit.FuncCodec{OnClose: func() error {
		closing <- struct{}{}
		<-release
		return nil
	}}, 0)
	disposed := make(chan struct{})
	go func() {
		defer close(disposed)
		manager.Dispose()
	}()
	testkit.Await(t, testkit.Patience, "the slow close", closing)
	testkit.Within(t, time.Second, "lookups, iterations and new sessions while one session closes slowly", func() {
		for id := slow.ID(); id < slow.ID()+64; id++ {
			manager.GetSession(id)
		}
		manager.Len()
		for range manager.All() {
		}
		manager.NewSession(&testkit.FuncCodec{}, 0)
	})
	close(release)
	testkit.Await(t, testkit.Patience, "Dispose", disposed)
}

func TestM4ALookupFindsOpenSessionsOnly(t *testing.T) {
	manager := libnet.NewManager()
	s := manager.NewSession(&testkit.FuncCodec{}, 0)
	if manager.GetSession(s.ID()) != s || manager.GetSession(s.ID()+1<<40) != nil || manager.Len() != 1 {
		t.Error("the manager does not know its session, or knows another")
	}
	s.OnClose(func() {
		if manager.GetSession(s.ID()) != nil || manager.Len() != 0 {
			t.Error("a close callback still finds the session")
		}
	})
	_ = s.Close()
	other := manager.NewSession(&testkit.FuncCodec{}, 0)
	manager.Dispose()
	if manager.GetSession(s.ID()) != nil || manager.GetSession(other.ID()) != nil {
		t.Error("a lookup found a closed session")
	}
}

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

// A callback that blocks keeps no other session open.
func TestDisposeClosesTheOthersThoughOneBlocks(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	m := libnet.NewManager()
	var sessions []*libnet.Session
	for range 10 {
		s := m.NewSession(&testkit.FuncCodec{}, 4)
		s.OnClose(func() { <-release })
		sessions = append(sessions, s)
	}
	go m.Dispose()
	testkit.Eventually(t, "all sessions closed", func() bool {
		return !slices.ContainsFunc(sessions, func(s *libnet.Session) bool { return !s.IsClosed() })
	})
}

func TestASessionIsFoundUntilItHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := testkit.ConnectPipe(t)
		srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 8)
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		go srv.Shutdown(t.Context())
		synctest.Wait() // the shutdown waits for the peer's end
		if got := srv.Manager().GetSession(s.ID()); got != s || srv.Manager().Len() != 1 {
			t.Errorf("GetSession found %v, of %d", got, srv.Manager().Len())
		}
		_ = far.Close()
		<-s.Done()
		if got := srv.Manager().GetSession(s.ID()); got != nil {
			t.Errorf("GetSession found %v, which has ended", got)
		}
	})
}
