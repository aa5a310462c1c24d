package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/libnettest"
)

// stuck returns a bound session whose peer reads nothing.
func stuck(t *testing.T, node *cluster.Node, configure func(*libnet.Server)) *libnet.Session {
	server := newSessions(t, lines, configure)
	client, conn := libnettest.PipeSize(1)
	t.Cleanup(func() { client.Close() })
	session, err := server.NewSession(conn)
	if err != nil {
		t.Fatal(err)
	}
	bind(t, node, session, "u")
	return session
}

func TestAFullQueueIsErrBlockedAndNothingAcknowledgedWasRefused(t *testing.T) {
	nodes := mesh(t, 2)
	session := stuck(t, nodes[0], func(s *libnet.Server) { s.SendQueue = 4 })
	acknowledged := 0
	for {
		err := nodes[1].Send(patience(t), "u", []byte("a message"))
		if err != nil {
			if err != cluster.ErrBlocked || !errors.Is(err, libnet.ErrSessionBlocked) {
				t.Fatalf("Send to a full queue: %v", err)
			}
			break
		}
		acknowledged++
	}
	session.Close()
	if stats := session.Stats(); stats.MessagesOut+stats.Discarded != uint64(acknowledged) || acknowledged < 4 {
		t.Errorf("%d were acknowledged; the session had %d and discarded %d", acknowledged, stats.MessagesOut, stats.Discarded)
	}
	if stats := nodes[0].Stats(); stats.Delivered != uint64(acknowledged) || stats.Blocked != 1 {
		t.Errorf("the node's counters: %+v", stats)
	}
}

func TestASessionWithoutAQueueTakesOneMessageAndDelaysNobody(t *testing.T) {
	nodes := mesh(t, 2)
	stuck(t, nodes[0], func(s *libnet.Server) { s.SendQueue = 0 })
	blocked := 0
	for range 4 {
		switch err := nodes[1].Send(patience(t), "u", []byte("a message")); err {
		case nil:
		case cluster.ErrBlocked:
			blocked++
		default:
			t.Fatal(err)
		}
	}
	if blocked == 0 {
		t.Error("a session without a queue took 4 messages that nobody reads")
	}
	// Whichever dispatcher has the stuck one, others are on it, too.
	server := newSessions(t, lines, nil)
	for i := range 8 {
		user := fmt.Sprint("other ", i)
		_, client := server.bound(nodes[0], user)
		send(t, nodes[1], user, "not delayed")
		read(t, client, "not delayed\n")
	}
}

func TestASlowConsumerThatIsClosedForItIsOffline(t *testing.T) {
	nodes := mesh(t, 2)
	session := stuck(t, nodes[0], func(s *libnet.Server) { s.SendQueue, s.OnFull = 2, libnet.CloseSession })
	callback := make(chan struct{}) // a close callback that waits delays only itself
	session.OnClose(func() { <-callback })
	defer close(callback)
	var err error
	for err == nil {
		err = nodes[1].Send(patience(t), "u", []byte("a message"))
	}
	if !errors.Is(err, cluster.ErrOffline) && !errors.Is(err, cluster.ErrDegraded) {
		t.Fatalf("Send to a session that was closed for being slow: %v", err)
	}
	server := newSessions(t, lines, nil)
	_, client := server.bound(nodes[0], "other")
	send(t, nodes[1], "other", "not delayed")
	read(t, client, "not delayed\n")
}

func TestAClosedSessionIsOfflineThoughACloseCallbackWaits(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, nil)
	session, _ := server.open()
	callback := make(chan struct{})
	session.OnClose(func() { <-callback }) // registered before Bind's own, so it runs first
	bind(t, nodes[0], session, "u")
	closed := make(chan struct{})
	go func() {
		session.Close()
		close(closed)
	}()
	<-session.Done()
	wantOffline(t, nodes[1], "u")
	close(callback)
	<-closed
}

func TestAPayloadThatTheReceivingSessionCannotEncodeIsRejectedAndItStaysOpen(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, func(s *libnet.Server) { s.MaxMessage = 16 })
	session, client := server.bound(nodes[0], "u")
	for _, payload := range []string{"longer than sixteen bytes", "two\nlines"} {
		if err := nodes[1].Send(patience(t), "u", []byte(payload)); err != cluster.ErrRejected {
			t.Errorf("Send of %q: %v", payload, err)
		}
	}
	if session.IsClosed() {
		t.Fatal(session.Err())
	}
	send(t, nodes[1], "u", "fits")
	read(t, client, "fits\n")
}

func TestMessagesOfOneSenderToAUserArriveInOrder(t *testing.T) {
	nodes := mesh(t, 3)
	server := newSessions(t, lines, func(s *libnet.Server) { s.SendQueue = 1 << 16 })
	const senders, messages = 3, 300
	var wg sync.WaitGroup
	for user := range 4 {
		name := fmt.Sprint("u", user)
		session, client := server.open()
		bind(t, nodes[user%3], session, name)
		wg.Go(func() { readInOrder(t, client, senders, messages) })
		for sender := range senders {
			wg.Go(func() {
				for i := range messages {
					text := fmt.Appendf(nil, "%d %06d", sender, i)
					var err error
					if i%2 == 0 {
						err = nodes[sender].Post(name, text)
					} else {
						err = nodes[sender].Send(context.Background(), name, text)
					}
					if err != nil {
						t.Errorf("message %d: %v", i, err)
					}
				}
			})
		}
	}
	wg.Wait()
}
