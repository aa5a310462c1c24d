package cluster_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/libnet-go/libnet/cluster"
	"github.com/nats-io/nats.go"
)

// userSubject is what nodes subscribe to for a user.
func userSubject(user string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return "libnet." + encode([]byte("libnet")) + ".u." + encode([]byte(user))
}

// somebody takes what is sent to a user and answers with the function, nil for never.
func somebody(t *testing.T, node *cluster.Node, user string, answer func(*nats.Msg)) *nats.Subscription {
	t.Helper()
	conn, err := nats.Connect(node.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	sub, err := conn.Subscribe(userSubject(user), func(m *nats.Msg) {
		if answer != nil {
			answer(m)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.FlushWithContext(patience(t)); err != nil {
		t.Fatal(err)
	}
	return sub
}

func TestAMessageWhoseAnswerIsLostIsUnknownAndNotSentAgain(t *testing.T) {
	node := startNode(t, cluster.Options{})
	sub := somebody(t, node, "u", nil)
	if err := node.Send(patience(t), "u", []byte("x")); !errors.Is(err, cluster.ErrDegraded) {
		t.Errorf("Send without an answer: %v", err)
	}
	if err := node.Sync(patience(t)); err != nil {
		t.Fatal(err)
	}
	if count, err := sub.Delivered(); count != 1 || err != nil {
		t.Errorf("delivered %d times, %v", count, err)
	}
}

func TestAMessageToAUserWhoHasJustLeftIsSentAgain(t *testing.T) {
	node := startNode(t, cluster.Options{})
	session, client := newSessions(t, lines, nil).open()
	first := true
	somebody(t, node, "u", func(m *nats.Msg) {
		if !first {
			return
		}
		first = false
		if err := node.Bind(context.Background(), session, "u"); err != nil { // moves, and the old place says that he is gone
			t.Errorf("Bind: %v", err)
		}
		_ = m.Respond([]byte("g"))
	})
	if err := node.Send(patience(t), "u", []byte("x")); err != nil {
		t.Errorf("Send to a user who moves: %v", err)
	}
	read(t, client, "x\n")
}

func TestPostDoesNotWaitForAServerThatReadsNothing(t *testing.T) {
	_, far, between := external(t, cluster.Options{})
	between.blackhole()
	payload := make([]byte, far.MaxPayload())
	posted := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			err = far.Post("u", payload)
		}
		posted <- err
	}()
	select {
	case err := <-posted:
		if !errors.Is(err, cluster.ErrDisconnected) {
			t.Errorf("Post: %v", err)
		}
	case <-patience(t).Done():
		t.Errorf("Post still waits after %v", soon)
	}
	between.heal()
	eventually(t, "the connection", func() bool { return far.Sync(patience(t)) == nil })
}

// Servers that take a connection and say nothing cost 2 s each.
func TestNewReturnsWhenItsContextEndsThoughServersSayNothing(t *testing.T) {
	var silent []string
	for range 30 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		silent = append(silent, fmt.Sprint("nats://", listener.Addr()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := cluster.New(ctx, cluster.Options{Servers: silent, Logger: quiet})
		failed <- err
	}()
	cancel()
	select {
	case err := <-failed:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("New: %v", err)
		}
	case <-patience(t).Done():
		t.Fatalf("New still waits %v after its context ended", soon)
	}
}

func TestCloseReturnsAndLeavesNothingBehindThoughTheServerReadsNothing(t *testing.T) {
	_, far, between := external(t, cluster.Options{})
	session, _ := newSessions(t, lines, nil).bound(far, "u")
	between.blackhole()
	payload := make([]byte, far.MaxPayload())
	posting := make(chan struct{})
	posted := make(chan struct{})
	go func() {
		defer close(posted)
		_ = far.Post("u", payload)
		close(posting)
		for far.Post("u", payload) == nil {
		}
	}()
	<-posting
	closed := make(chan struct{})
	go func() {
		_ = far.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-patience(t).Done():
		t.Fatalf("Close still waits after %v", soon)
	}
	<-posted
	if session.IsClosed() {
		t.Errorf("Close closed a session: %v", session.Err())
	}
}
