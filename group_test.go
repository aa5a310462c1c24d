package libnet_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

func TestAGroupKnowsItsMembersByTheirKeys(t *testing.T) {
	var group libnet.Group[string]
	a, b := idleSession(), idleSession()
	defer a.Close()
	defer b.Close()
	if group.Get("a") != nil || group.Len() != 0 || len(maps.Collect(group.All())) != 0 {
		t.Error("the zero value is not empty")
	}
	group.Put("a", a)
	group.Put("b", b)
	group.Put("b again", b)
	all := maps.Collect(group.All())
	if want := map[string]*libnet.Session{"a": a, "b": b, "b again": b}; !maps.Equal(all, want) || group.Len() != 3 {
		t.Errorf("%d members: %v", group.Len(), all)
	}
	if group.Get("b") != b || group.Get("c") != nil {
		t.Error("Get")
	}
	if group.Remove("a", b) || !group.Remove("a", a) || group.Remove("a", a) {
		t.Error("Remove looks at the session, and removes it once")
	}
	if a.IsClosed() {
		t.Error("a session that is removed stays open")
	}
}

func TestTheLoopOverAGroupMayBeLeft(t *testing.T) {
	var group libnet.Group[int]
	for i := range 5 {
		group.Put(i, idleSession())
	}
	seen := 0
	for _, s := range group.All() {
		_ = s.Close()
		if seen++; seen == 2 {
			break
		}
	}
	if seen != 2 || group.Len() != 3 {
		t.Errorf("saw %d, %d are left", seen, group.Len())
	}
}

func TestAClosedGroupLeavesItsSessionsOpenAndTakesNoMore(t *testing.T) {
	var group libnet.Group[int]
	s := idleSession()
	group.Put(1, s)
	group.Close()
	group.Put(2, s)
	group.Close()
	if group.Len() != 0 || group.Get(1) != nil || group.Remove(1, s) || s.IsClosed() {
		t.Errorf("%d members, session closed: %v", group.Len(), s.IsClosed())
	}
	if result := group.Broadcast("anybody?"); result != (libnet.BroadcastResult{}) {
		t.Errorf("%+v", result)
	}
	ran := false
	s.OnClose(func() { ran = true })
	_ = s.Close()
	if !ran {
		t.Error("its close callbacks are gone")
	}
}

func TestClosingAGroupWhileSessionsComeAndGo(t *testing.T) {
	for range 200 {
		var group libnet.Group[int]
		var users sync.WaitGroup
		for k := range 4 {
			users.Go(func() {
				s := idleSession()
				for i := range 20 {
					group.Put(k+i%2, s)
					group.Broadcast("hello")
					group.Remove(k, s)
				}
				_ = s.Close()
			})
		}
		users.Go(group.Close)
		users.Wait()
		if group.Len() != 0 {
			t.Fatalf("%d members in a closed group", group.Len())
		}
	}
}

// A session in a room for a day enters and leaves other rooms a million times.
func TestComingAndGoingLeavesNothingWithTheSession(t *testing.T) {
	s := idleSession()
	defer s.Close()
	var groups [3]libnet.Group[int]
	comeAndGo := func(n int) {
		for i := range n {
			group := &groups[i%3]
			group.Put(i%7, s)
			group.Put(i%7, s) // which replaces the first
			group.Remove(i%7, s)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	comeAndGo(1000)
	before := heap()
	comeAndGo(100_000)
	if grown := int64(heap()) - int64(before); grown > 1<<20 {
		t.Errorf("100,000 times left %d bytes", grown)
	}
}

// Broadcast works on a snapshot. It must be made anew whenever the members change.
func TestABroadcastReachesExactlyTheMembersOfTheMoment(t *testing.T) {
	var group libnet.Group[string]
	var received [3]atomic.Int32
	sessions := make([]*libnet.Session, 3)
	for i := range sessions {
		sessions[i] = libnet.NewSession(&testkit.FuncCodec{OnSend: func(any) error { received[i].Add(1); return nil }}, 4)
		defer sessions[i].Close()
	}
	for step, test := range []struct {
		change func()
		want   [3]int32
	}{
		{func() {}, [3]int32{0, 0, 0}},
		{func() { group.Put("a", sessions[0]) }, [3]int32{1, 0, 0}},
		{func() { group.Put("b", sessions[1]) }, [3]int32{2, 1, 0}},
		{func() { group.Put("a", sessions[2]) }, [3]int32{2, 2, 1}},
		{func() { group.Remove("b", sessions[1]) }, [3]int32{2, 2, 2}},
		{func() { group.Put("c", sessions[2]) }, [3]int32{2, 2, 4}}, // under two keys: twice
		{func() { _ = sessions[2].Close() }, [3]int32{2, 2, 4}},
	} {
		test.change()
		group.Broadcast(fmt.Sprint("step ", step))
		testkit.Eventually(t, fmt.Sprint("step ", step), func() bool {
			return test.want == [3]int32{received[0].Load(), received[1].Load(), received[2].Load()}
		})
	}
}

func TestS9C3AGroupHoldsNoClosedSession(t *testing.T) {
	var group libnet.Group[int]
	for round := range 2000 {
		s := idleSession()
		var both sync.WaitGroup
		both.Go(func() { group.Put(round, s) })
		both.Go(func() { _ = s.Close() })
		both.Wait()
		if group.Get(round) != nil || group.Len() != 0 {
			t.Fatalf("round %d: the group holds a closed session", round)
		}
	}
	closed := idleSession()
	_ = closed.Close()
	group.Put(1, closed)
	if group.Len() != 0 {
		t.Error("a closed session was put into the group")
	}
}

func TestS10PutRemoveAndCloseDoNotDeadlock(t *testing.T) {
	var groups [2]libnet.Group[int]
	testkit.Within(t, testkit.Patience, "groups and sessions used at random", func() {
		for range 50 {
			sessions := []*libnet.Session{idleSession(), idleSession(), idleSession()}
			var users sync.WaitGroup
			for range 4 {
				users.Go(func() {
					for range 50 {
						group, s, key := &groups[rand.IntN(2)], sessions[rand.IntN(3)], rand.IntN(4)
						switch rand.IntN(8) {
						case 0:
							group.Remove(key, s)
						case 1:
							for _, member := range group.All() {
								group.Remove(key, member)
							}
						case 2:
							group.Broadcast("hello")
						case 3:
							s.OnClose(func() { group.Put(key, sessions[0]); group.Len() })
						default:
							group.Put(key, s)
						}
					}
				})
			}
			users.Go(func() {
				for _, s := range sessions {
					_ = s.Close()
				}
			})
			users.Wait()
			for i := range groups {
				for key, s := range groups[i].All() {
					t.Errorf("group %d still holds session %d under %d; closed: %v", i, s.ID(), key, s.IsClosed())
				}
			}
		}
	})
}

func TestS11ASessionUnderTwoKeysLeavesBoth(t *testing.T) {
	var group libnet.Group[string]
	s := idleSession()
	for _, key := range []string{"a", "b", "c"} {
		group.Put(key, s)
	}
	if !group.Remove("a", s) || group.Remove("a", s) {
		t.Error("Remove must report true once")
	}
	if group.Len() != 2 || group.Get("b") != s {
		t.Errorf("%d keys are left; want b and c", group.Len())
	}
	_ = s.Close()
	if group.Len() != 0 {
		t.Errorf("%d keys hold the session after its close", group.Len())
	}
}

func TestS12RemovingWhatIsNotThereIsHarmless(t *testing.T) {
	var group libnet.Group[int]
	s, other := idleSession(), idleSession()
	defer s.Close()
	defer other.Close()
	if group.Remove(1, s) {
		t.Error("an empty group removed a session")
	}
	group.Put(1, other)
	if group.Remove(1, s) || group.Remove(2, other) || group.Get(1) != other {
		t.Error("Remove touched another session, or another key")
	}
	group.Close()
	if group.Remove(1, other) || group.Len() != 0 || other.IsClosed() {
		t.Error("a closed group must be empty, and its sessions open")
	}
	if group.Put(1, s); group.Len() != 0 {
		t.Error("a closed group took a session")
	}
}

func TestC2TheEndOfAReplacedSessionLeavesItsSuccessorAlone(t *testing.T) {
	var group libnet.Group[string]
	for range 500 {
		old, successor := idleSession(), idleSession()
		group.Put("user", old)
		var both sync.WaitGroup
		both.Go(func() { group.Put("user", successor) })
		both.Go(func() { _ = old.Close() })
		both.Wait()
		if group.Get("user") != successor {
			t.Fatal("the session that came back was evicted by the end of the one before")
		}
		if group.Remove("user", old) {
			t.Fatal("the old session removed the new one")
		}
		_ = successor.Close()
	}
}

func TestC4ClosingAndRegroupingInsideAnIterationWorks(t *testing.T) {
	var group libnet.Group[int]
	for i := range 50 {
		group.Put(i, idleSession())
	}
	testkit.Within(t, testkit.Patience, "closing members inside All", func() {
		seen := 0
		for key, s := range group.All() {
			seen++
			switch key % 3 {
			case 0:
				_ = s.Close()
			case 1:
				group.Remove(key, s)
				t.Cleanup(func() { _ = s.Close() })
			default:
				group.Put(key+100, s)
				t.Cleanup(func() { _ = s.Close() })
			}
		}
		if seen != 50 {
			t.Errorf("the iteration saw %d of 50", seen)
		}
	})
	if n := group.Len(); n != 32 {
		t.Errorf("%d keys are left; want 32", n)
	}
}

func TestCloseCallbacksRunAfterTheSessionLeftItsGroups(t *testing.T) {
	var before, after libnet.Group[string]
	s := idleSession()
	before.Put("k", s)
	var seen string
	s.OnClose(func() { seen = fmt.Sprint(before.Len(), after.Len()) })
	after.Put("k", s)
	_ = s.Close()
	if seen != "0 0" {
		t.Errorf("a close callback saw %s members", seen)
	}
}

func TestPutOfAClosedSessionChangesNothing(t *testing.T) {
	var group libnet.Group[string]
	open, closed := idleSession(), idleSession()
	defer open.Close()
	group.Put("user", open)
	_ = closed.Close()
	if group.Put("user", closed); group.Get("user") != open {
		t.Errorf("the key has %v", group.Get("user"))
	}
}

func TestAKeyThatNoMapTakesLeavesTheGroupAsItWas(t *testing.T) {
	var group libnet.Group[any]
	s := idleSession()
	group.Put("key", s)
	for what, f := range map[string]func(){
		"Put":    func() { group.Put([]int{1}, s) },
		"Get":    func() { group.Get([]int{1}) },
		"Remove": func() { group.Remove([]int{1}, s) },
	} {
		if !panics(f) {
			t.Errorf("%s does not panic", what)
		}
		testkit.Within(t, testkit.Patience, "the group after "+what, func() {
			if group.Get("key") != s || group.Len() != 1 {
				t.Errorf("after %s: %d keys", what, group.Len())
			}
		})
	}
	if group.Put(math.NaN(), s); group.Len() != 1 {
		t.Error("a key that nobody can find was added")
	}
	_ = s.Close()
	if group.Len() != 0 {
		t.Error("the session has not left")
	}
}

func TestWhoeverWaitedForDoneFindsTheSessionInNoGroup(t *testing.T) {
	s := idleSession()
	groups := make([]libnet.Group[int], 10_000)
	for i := range groups {
		groups[i].Put(i, s)
	}
	done := s.Done()
	go s.Close()
	<-done
	for i := len(groups) - 1; i >= 0; i-- { // they are left from the first on
		if n := groups[i].Len(); n != 0 {
			t.Fatalf("group %d of %d: %d members", i, len(groups), n)
		}
	}
}
