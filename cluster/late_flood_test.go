package cluster_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
)

var inLibnet = "libnet." + base64.RawURLEncoding.EncodeToString([]byte("libnet"))

// follow publishes a post that follows another one of a node that nobody knows, which never comes.
func follow(tb testing.TB, node *cluster.Node, user string, number int) {
	data := append(binary.BigEndian.AppendUint64([]byte("A"), uint64(number)), "nlate"...)
	to := inLibnet + ".u." + base64.RawURLEncoding.EncodeToString([]byte(user))
	if err := node.Conn().PublishRequest(to, fmt.Sprintf("%s.r.NOBODY.-.%d", inLibnet, number+1), data); err != nil {
		tb.Error(err)
	}
}

// A barrier waits for what was held when it came, and not for what is held afterwards.
func TestBarriersPassThoughMessagesAreHeldAllTheTime(t *testing.T) {
	node := startNode(t, cluster.Options{})
	server := newSessions(t, lines, func(s *libnet.Server) { s.SendQueue = 1 << 16 })
	for i := range 100 {
		server.bound(node, fmt.Sprint("u", i))
	}
	stop := make(chan struct{})
	var flood sync.WaitGroup
	flood.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				follow(t, node, fmt.Sprint("u", i%100), 1000+2*i)
			}
		}
	})
	synced := make(chan error, 1)
	time.Sleep(50 * time.Millisecond) // some are held
	go func() { synced <- node.Sync(patience(t)) }()
	select {
	case err := <-synced:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second): // fifty times what one message is held
		t.Error("Sync waits for ever")
	}
	close(stop)
	flood.Wait()
}

// What it costs to hold a message does not depend on how many are held.
func BenchmarkPostsWhileManyMessagesAreHeld(b *testing.B) {
	node := startNode(b, cluster.Options{})
	server := newSessions(b, lines, func(s *libnet.Server) { s.SendQueue, s.SendQueueBytes = 1<<20, 1<<30 })
	session, err := server.NewSession(newSink(nil))
	if err != nil {
		b.Fatal(err)
	}
	bind(b, node, session, "u")
	bind(b, node, session, "v")
	number := 1000
	for b.Loop() {
		for range 2000 {
			number += 2
			follow(b, node, "u", number)
		}
		for range 2000 {
			if err := node.Post("v", []byte("x")); err != nil {
				b.Fatal(err)
			}
		}
		if err := node.Sync(patience(b)); err != nil {
			b.Fatal(err)
		}
	}
}
