package cluster_test

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// counted is what came to a user's sessions, by the number that each message is.
type counted struct {
	mu    sync.Mutex
	times map[int]int
}

func (c *counted) note(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range bytes.Lines(p) {
		number, _ := strconv.Atoi(string(bytes.TrimSpace(line)))
		c.times[number]++
	}
}

// The node in the middle had a post, and the one before it says that the user has left: the next node must not be sent
// it again.
func TestAPostToAUserWhoMovesTwiceAtOnceComesOnceAtMost(t *testing.T) {
	nodes := mesh(t, 4)
	server := libnet.NewServer(libnettest.NewListener(), lines, 1<<14)
	server.Logger = quiet
	t.Cleanup(server.Stop)
	for round := range 40 {
		user := fmt.Sprint("u", round)
		got := &counted{times: make(map[int]int)}
		login := func(at int) {
			s, err := server.NewSession(newSink(got.note))
			if err != nil {
				t.Fatal(err)
			}
			bind(t, nodes[at], s, user)
		}
		login(1)
		login(2)
		const posted = 50
		for i := range posted {
			if err := nodes[0].Post(user, strconv.AppendInt(nil, int64(i), 10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := nodes[0].Conn().FlushWithContext(patience(t)); err != nil { // what comes to the next login, it has alone
			t.Fatal(err)
		}
		login(3)
		if err := nodes[0].Sync(patience(t)); err != nil {
			t.Fatal(err)
		}
		got.mu.Lock()
		for number, times := range got.times {
			if times > 1 {
				t.Errorf("round %d: post %d of %d came %d times", round, number, posted, times)
			}
		}
		got.mu.Unlock()
	}
}
