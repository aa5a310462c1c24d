package directory_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/cluster/internal/directory"
)

// inBubble runs f with a network whose goroutines end with it.
func inBubble(t *testing.T, seed uint64, f func(t *testing.T, n *network)) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, seed)
		f(t, n)
	})
}

func TestEachNodeKnowsWhereAUserIsAndThatNobodyHoldsOneWhoIsNowhere(t *testing.T) {
	for _, count := range []int{1, 2, 3, 7} {
		inBubble(t, 1, func(t *testing.T, n *network) {
			nodes := n.mesh(count)
			for i := range 20 {
				user, at := fmt.Sprint("u", i), nodes[i%count]
				if _, err := at.login(user); err != nil {
					t.Fatal(err)
				}
				wantAt(t, nodes, user, at)
				at.logout(user)
				time.Sleep(10 * time.Millisecond)
				for _, d := range nodes {
					if l, err := d.locate(user); err != nil || l.Node != "" {
						t.Fatalf("after the logout %s has it at %+v, %v", d.name, l, err)
					}
				}
			}
		})
	}
}

func TestALoginTakesSixMessagesAtMostWhateverTheNumberOfNodes(t *testing.T) {
	for _, count := range []int{3, 10, 40} {
		inBubble(t, 1, func(t *testing.T, n *network) {
			nodes := n.mesh(count)
			few, logins := 0, 0
			for i := range 100 {
				for _, at := range []*node{nodes[i%count], nodes[(i+1)%count]} { // the second takes the user from the first
					n.mu.Lock()
					n.sent = 0
					n.mu.Unlock()
					if _, err := at.login(fmt.Sprint("u", i)); err != nil {
						t.Fatal(err)
					}
					time.Sleep(10 * time.Millisecond)
					n.mu.Lock()
					sent := n.sent
					n.mu.Unlock()
					if logins++; sent <= 6 {
						few++
					}
				}
			}
			if few < logins*8/10 { // twice a second nodes say which lost users they have heard of, those of all logins together
				t.Errorf("%d of %d logins on %d nodes took more than six messages", logins-few, logins, count)
			}
		})
	}
}

func TestTheLaterLoginWinsThoughTheClockOfAnEarlierOneIsADayAhead(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"ahead": 24 * time.Hour, "behind": -24 * time.Hour, "nowhere": -100 * 365 * 24 * time.Hour} {
		inBubble(t, 1, func(t *testing.T, n *network) {
			nodes := n.mesh(5)
			directory.SetClock(nodes[0].Directory, ahead)
			for i := range 50 {
				user := fmt.Sprint("u", i)
				for _, at := range []*node{nodes[0], nodes[i%4+1], nodes[0], nodes[(i+1)%4+1]} {
					if _, err := at.login(user); err != nil {
						t.Fatal(err)
					}
					if held := holders(nodes, user); len(held) != 1 {
						t.Fatalf("%s: %s has %d sessions when the login on %s returns", name, user, len(held), at.name)
					}
					wantAt(t, nodes, user, at)
				}
			}
		})
	}
}

func TestLoginsAtOnceEndWithExactlyOneSession(t *testing.T) {
	for seed := range uint64(20) {
		inBubble(t, seed, func(t *testing.T, n *network) {
			nodes := n.mesh(5)
			var logins sync.WaitGroup
			const users = 50
			for i := range users {
				for _, at := range nodes[:2+i%4] {
					logins.Go(func() {
						if _, err := at.login(fmt.Sprint("u", i)); err != nil && !errors.Is(err, directory.ErrReplaced) {
							t.Errorf("login: %v", err)
						}
					})
				}
			}
			logins.Wait()
			time.Sleep(100 * time.Millisecond)
			for i := range users {
				user := fmt.Sprint("u", i)
				held := holders(nodes, user)
				if len(held) != 1 {
					t.Fatalf("%s has %d sessions", user, len(held))
				}
				wantAt(t, nodes, user, held[0])
			}
		})
	}
}

// Where answers are late because there is much to do, asking as often as before is more of that: of enough logins at
// once none would end.
func TestWhatIsLateForAllIsAskedLessAndLessOften(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *network) {
		nodes := n.mesh(3)
		n.mu.Lock()
		for _, d := range nodes {
			n.slow[d.name] = 400 * time.Millisecond // a question and its answer take 1.6 s
		}
		n.sent = 0
		n.mu.Unlock()
		const logins = 20
		var binding sync.WaitGroup
		for i := range logins {
			binding.Go(func() {
				if _, err := nodes[i%3].loginWithin(fmt.Sprint("u", i), 20*time.Second); err != nil {
					t.Errorf("login %d: %v", i, err)
				}
			})
		}
		binding.Wait()
		n.mu.Lock()
		sent := n.sent
		n.mu.Unlock()
		if each := sent / logins; each > 60 {
			t.Errorf("a login took %d messages", each)
		}
	})
}

func TestASlowOrStoppedNodeDelaysNoLoginAndNoAnswerOfOthers(t *testing.T) {
	for name, hurt := range map[string]func(n *network){
		"slow":    func(n *network) { n.mu.Lock(); n.slow["N0"] = 300 * time.Millisecond; n.mu.Unlock() },
		"stopped": func(n *network) { n.kill("N0") },
	} {
		inBubble(t, 1, func(t *testing.T, n *network) {
			nodes := n.mesh(10)
			hurt(n)
			for i := range 200 {
				user, at, from := fmt.Sprint("u", i), nodes[1+i%9], nodes[1+(i+1)%9]
				begin := time.Now()
				if _, err := at.login(user); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took > 50*time.Millisecond {
					t.Errorf("%s: a login took %v", name, took)
				}
				begin = time.Now()
				if l, err := from.locate(user); err != nil || l.Node != at.name {
					t.Fatalf("%+v, %v", l, err)
				}
				if took := time.Since(begin); took > 50*time.Millisecond {
					t.Errorf("%s: an answer took %v", name, took)
				}
			}
		})
	}
}

func TestAUserWhoseHomesDieOneAfterAnotherStaysKnown(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *network) {
		nodes := n.mesh(8)
		const users = 3000
		for i := range users {
			if _, err := nodes[i%2].login(fmt.Sprint("u", i)); err != nil {
				t.Fatal(err)
			}
		}
		for len(nodes) > 2 {
			last := nodes[len(nodes)-1]
			nodes = nodes[:len(nodes)-1]
			n.kill(last.name)
			for range 30 { // answers on the way are right, or unknown
				for i := range 20 {
					if l, err := nodes[0].locate(fmt.Sprint("u", i)); err == nil && l.Node != nodes[i%2].name {
						t.Fatalf("u%d is at %+v", i, l)
					}
				}
				time.Sleep(beat / 5)
			}
			if l, err := nodes[0].locate("nobody"); !errors.Is(err, directory.ErrUnknown) {
				t.Fatalf("nobody, while a node is silent: %+v, %v", l, err)
			}
			for _, d := range nodes {
				d.forget(last.name)
			}
			for i := range users {
				if l, err := nodes[1].locate(fmt.Sprint("u", i)); err != nil || l.Node != nodes[i%2].name {
					t.Fatalf("u%d is at %+v, %v", i, l, err)
				}
			}
			if l, err := nodes[0].locate("nobody"); err != nil || l.Node != "" {
				t.Fatalf("nobody: %+v, %v", l, err)
			}
		}
	})
}

func TestANodeThatJoinsLearnsOfItsUsers(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *network) {
		nodes := n.mesh(3)
		const users = 2000
		for i := range users {
			if _, err := nodes[i%3].login(fmt.Sprint("u", i)); err != nil {
				t.Fatal(err)
			}
		}
		for j := range 3 {
			nodes = append(nodes, n.start(fmt.Sprint("J", j))...)
			for i := range users {
				if l, err := nodes[3+j].locate(fmt.Sprint("u", i)); err != nil || l.Node != nodes[i%3].name {
					t.Fatalf("u%d is at %+v, %v", i, l, err)
				}
			}
		}
		sum := 0
		for _, d := range nodes {
			_, records := d.Stats()
			sum += records
		}
		if sum != 3*users {
			t.Errorf("%d records of %d users, want three each", sum, users)
		}
	})
}

func TestWhoLogsInOnBothSidesOfAPartitionHasOneSessionWhenItHeals(t *testing.T) {
	for seed := range uint64(10) {
		inBubble(t, seed, func(t *testing.T, n *network) {
			nodes := n.mesh(6)
			if _, err := nodes[0].login("before"); err != nil {
				t.Fatal(err)
			}
			n.partition(nodes[:3], nodes[3:])
			if _, err := nodes[4].login("before"); err != nil { // that is the later one, whatever the numbers before
				t.Fatal(err)
			}
			for i := range 30 {
				for _, at := range []*node{nodes[i%3], nodes[3+i%3]} {
					if _, err := at.login(fmt.Sprint("u", i)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if _, err := nodes[1].locate("nobody"); !errors.Is(err, directory.ErrUnknown) {
				t.Fatalf("nobody, in half a cluster: %v", err)
			}
			n.heal()
			time.Sleep(2 * time.Second)
			wantAt(t, nodes, "before", nodes[4])
			for i := range 30 {
				user := fmt.Sprint("u", i)
				held := holders(nodes, user)
				if len(held) != 1 {
					t.Fatalf("%s has %d sessions", user, len(held))
				}
				wantAt(t, nodes, user, held[0])
			}
		})
	}
}

// Heartbeats go on in one direction: only one side sees the other go and come.
func TestANodeThatOthersLostForAWhileRegistersAgainThoughItNeverLostThem(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *network) {
		nodes := n.mesh(4)
		const users = 200
		for i := range users {
			if _, err := nodes[0].login(fmt.Sprint("u", i)); err != nil {
				t.Fatal(err)
			}
		}
		n.mu.Lock()
		for _, d := range nodes[1:] {
			n.cut[[2]string{"N0", d.name}] = true
		}
		n.mu.Unlock()
		time.Sleep(2 * silence)
		n.heal()
		for range 50 {
			for i := range users {
				if l, err := nodes[1+i%3].locate(fmt.Sprint("u", i)); err == nil && l.Node != "N0" {
					t.Fatalf("u%d is at %+v, %v", i, l, err)
				}
			}
			time.Sleep(beat / 10)
		}
		for i := range users {
			wantAt(t, nodes, fmt.Sprint("u", i), nodes[0])
		}
	})
}

func TestALoginWhoseHomeDiesMeanwhileEndsWellOrWithItsContext(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, n *network) {
		nodes := n.mesh(3)
		n.kill("N1")
		n.kill("N2")
		ctx, cancel := context.WithTimeout(context.Background(), silence/2)
		defer cancel()
		nodes[0].Hold("early", 1)
		if err := nodes[0].Register(ctx, "early", 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("with two of three homes dead: %v", err)
		}
		nodes[0].Unhold("early", 1)
		begin := time.Now()
		if _, err := nodes[0].login("u"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > silence {
			t.Errorf("that took %v", took)
		}
		wantAt(t, nodes[:1], "u", nodes[0])
	})
}
