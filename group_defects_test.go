package libnet_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// idleSession is a session of no connection.
func idleSession() *libnet.Session { return libnet.NewSession(&testkit.FuncCodec{}, 4) }

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
