package directory_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet/cluster/internal/directory"
)

// Users log in and out at random, nodes come, go slow and are cut off, and messages are lost: nobody who is logged in
// all the time is ever said to be nowhere, and when all is over each user has one session at most, which all nodes
// know.
func TestWhateverHappensNobodyIsSaidToBeNowhereAndEachUserEndsWithOneSession(t *testing.T) {
	seeds := []uint64{1003, 1004} // a login that ends before it has told whom it replaced, and one that is told on a route that breaks
	for seed := range uint64(12) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		inBubble(t, seed, func(t *testing.T, n *network) {
			random := rand.New(rand.NewPCG(seed, 1))
			nodes := n.mesh(5)
			stays := nodes[0]
			for i := range 10 {
				if _, err := stays.login(fmt.Sprint("stays", i)); err != nil {
					t.Fatal(err)
				}
			}
			var calls sync.WaitGroup
			for range 300 {
				at, user := nodes[random.IntN(5)], fmt.Sprint("u", random.IntN(8))
				switch random.IntN(12) {
				case 0, 1, 2, 3:
					calls.Go(func() { _, _ = at.loginWithin(user, 3*time.Second) })
				case 4, 5:
					at.logout(user)
				case 6:
					n.disturb(nodes[random.IntN(5)].name, time.Duration(random.IntN(400))*time.Millisecond)
				case 7:
					cut := random.IntN(5)
					n.partition(nodes[:cut], nodes[cut:])
				case 8:
					n.heal()
				default:
					stayed := fmt.Sprint("stays", random.IntN(10))
					calls.Go(func() {
						if l, err := at.locate(stayed); err == nil && l.Node != stays.name || errors.Is(err, directory.ErrClosed) {
							t.Errorf("seed %d: %s is at %+v, %v", seed, stayed, l, err)
						}
					})
				}
				time.Sleep(time.Duration(random.IntN(120)) * time.Millisecond)
			}
			n.heal()
			for _, d := range nodes {
				n.disturb(d.name, 0)
			}
			calls.Wait()
			time.Sleep(5 * time.Second)
			for i := range 8 {
				user := fmt.Sprint("u", i)
				switch held := holders(nodes, user); len(held) {
				case 0:
				case 1:
					wantAt(t, nodes, user, held[0])
				default:
					t.Fatalf("seed %d: %s has %d sessions", seed, user, len(held))
				}
			}
		})
	}
}

func (n *network) disturb(name string, away time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slow[name] = away
}
