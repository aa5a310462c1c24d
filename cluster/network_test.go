package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/nats-io/nats.go"
)

// apart returns two nodes with a proxy between them.
func apart(tb testing.TB) (a, b *cluster.Node, between *proxy) {
	b = startNode(tb, cluster.Options{NodeID: "b", Listen: "127.0.0.1:0"})
	between = newProxy(tb, b.RouteAddr().String())
	a = startNode(tb, cluster.Options{NodeID: "a", Listen: "127.0.0.1:0", Routes: []string{between.addr()}})
	formed(tb, []*cluster.Node{a, b})
	return a, b, between
}

// tally is what came of sends to users who were online all the time.
type tally struct{ delivered, unknown, wrong atomic.Int64 }

// sendAll keeps sending to users on the other side until stop is closed.
func (c *tally) sendAll(tb testing.TB, from *cluster.Node, users []string, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := from.Send(ctx, users[i%len(users)], []byte("x"))
		cancel()
		switch {
		case err == nil:
			c.delivered.Add(1)
		case errors.Is(err, cluster.ErrDegraded), errors.Is(err, context.DeadlineExceeded):
			c.unknown.Add(1)
		default:
			c.wrong.Add(1)
			tb.Errorf("Send to %s, who was online: %v", users[i%len(users)], err)
		}
	}
}

// NATS itself says "no responders" of the other side's users from about 3 s after the route went dead.
func TestABlackHoledRouteNeverMakesAUserOfflineAndIsWholeAgainWhenItHeals(t *testing.T) {
	answers, _ := blackHole(t, 4500*time.Millisecond)
	if answers.unknown.Load() == 0 {
		t.Error("no answer said that anything was wrong")
	}
}

// blackHole has users of two nodes send to each other while the route between the nodes is dead, and returns
// what became of it and how long after the route healed messages arrived in both directions.
func blackHole(tb testing.TB, dead time.Duration) (answers *tally, whole time.Duration) {
	tb.Helper()
	a, b, between := apart(tb)
	server := libnet.NewServer(libnettest.NewListener(), lines, 1<<16)
	server.Logger = quiet
	tb.Cleanup(server.Stop)
	open := func() *libnet.Session {
		s, err := server.NewSession(newSink(nil))
		if err != nil {
			tb.Fatal(err)
		}
		return s
	}
	var atA, atB []string
	for i := range 20 {
		atA, atB = append(atA, fmt.Sprint("a", i)), append(atB, fmt.Sprint("b", i))
		bind(tb, a, open(), atA[i])
		bind(tb, b, open(), atB[i])
	}
	older, newer := open(), open()
	bind(tb, b, older, "twice")

	answers = new(tally)
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() { answers.sendAll(tb, a, atB, stop) })
		senders.Go(func() { answers.sendAll(tb, b, atA, stop) })
	}
	eventually(tb, "deliveries", func() bool { return answers.delivered.Load() > 100 })
	between.blackhole()
	over := time.After(dead)
	bind(tb, a, newer, "twice") // a login goes on; the other side cannot hear of it
	<-over
	close(stop)
	senders.Wait()

	between.heal()
	healed := time.Now()
	eventually(tb, "sends to arrive in both directions", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		return a.Send(ctx, "b0", []byte("x")) == nil && b.Send(ctx, "a0", []byte("x")) == nil
	})
	whole = time.Since(healed)
	for i := range atA {
		send(tb, a, atB[i], "x")
		send(tb, b, atA[i], "x")
	}
	wantClosed(tb, older, cluster.ErrReplaced)
	if newer.IsClosed() {
		tb.Errorf("the later login was closed: %v", newer.Err())
	}
	wantOffline(tb, a, "nobody")
	return answers, whole
}

func TestARouteThatBreaksAndComesBackGivesNoWrongAnswer(t *testing.T) {
	a, b, between := apart(t)
	server := newSessions(t, lines, func(s *libnet.Server) { s.SendQueue = 1 << 16 })
	session, err := server.NewSession(newSink(nil))
	if err != nil {
		t.Fatal(err)
	}
	bind(t, b, session, "u")
	var answers tally
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() { answers.sendAll(t, a, []string{"u"}, stop) })
	}
	for range 2 {
		between.sever()
		before := answers.unknown.Load()
		eventually(t, "an unknown answer", func() bool { return answers.unknown.Load() > before })
		between.heal()
		delivered := answers.delivered.Load()
		eventually(t, "deliveries", func() bool { return answers.delivered.Load() > delivered+10 })
	}
	close(stop)
	senders.Wait()
}

func TestANodeThatWasToldOfOthersAndMetNoneDoesNotSayOffline(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	o := cluster.Options{Listen: "127.0.0.1:0", Routes: []string{closed.Addr().String()}}
	if err := startNode(t, o).Send(patience(t), "u", nil); !errors.Is(err, cluster.ErrDegraded) {
		t.Fatalf("Send: %v", err)
	}
	o.ForgetAfter = time.Second
	wantOffline(t, startNode(t, o), "u") // once it may forget them
}

// external returns two nodes that share a server, the second through a proxy.
func external(t *testing.T, o cluster.Options) (near, far *cluster.Node, between *proxy) {
	t.Helper()
	server, err := cluster.NewServer(patience(t), cluster.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	direct, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	between = newProxy(t, direct.Host)
	o.NodeID, o.Servers = "near", []string{server.URL()}
	near = startNode(t, o)
	direct.Host = between.addr()
	o.NodeID, o.Servers = "far", []string{direct.String()}
	far = startNode(t, o)
	formed(t, []*cluster.Node{near, far})
	return near, far, between
}

func TestNodesOnAnExternalServerReachEachOtherAndReconnect(t *testing.T) {
	near, far, between := external(t, cluster.Options{
		NATS: []nats.Option{nats.NoReconnect(), nats.NoEcho(), nats.DisconnectErrHandler(nil)}, // what a node needs it has all the same
	})
	server := newSessions(t, lines, nil)
	session, client := server.bound(far, "u")
	for _, node := range []*cluster.Node{near, far} {
		send(t, node, "u", "before")
		read(t, client, "before\n")
	}

	between.sever()
	eventually(t, "the far node to notice", func() bool { return errors.Is(far.Post("x", nil), cluster.ErrDisconnected) })
	if err := near.Send(patience(t), "u", []byte("x")); !errors.Is(err, cluster.ErrDegraded) {
		t.Errorf("Send to a user whose node is cut off: %v", err)
	}
	other, _ := server.open()
	if err := far.Bind(patience(t), other, "v"); !errors.Is(err, cluster.ErrDisconnected) {
		t.Errorf("Bind without a connection: %v", err)
	}
	newer, _ := server.bound(near, "u") // the far node does not hear of it yet
	between.heal()
	wantClosed(t, session, cluster.ErrReplaced)
	if newer.IsClosed() {
		t.Errorf("the later login was closed: %v", newer.Err())
	}
	if users := far.Stats().Users; users != 0 {
		t.Errorf("%d users at the far node, want none", users)
	}
	wantOffline(t, near, "v")
}

func TestANodeThatCrashedIsUnknownUntilItComesBackOrIsForgotten(t *testing.T) {
	near, _, between := external(t, cluster.Options{ForgetAfter: 3 * time.Second})
	between.sever()
	begin := time.Now()
	eventually(t, "the silence to be noticed", func() bool { return alive(near) == 1 })
	if err := near.Send(patience(t), "u", nil); !errors.Is(err, cluster.ErrDegraded) {
		t.Errorf("Send while a node is missing: %v", err)
	}
	wantOffline(t, near, "u") // nobody took its place: forgotten
	if waited := time.Since(begin); waited < 2*time.Second {
		t.Errorf("forgotten after %v, want 3 s", waited)
	}
}

func TestANodeThatComesBackUnderItsIDTakesThePlaceOfTheOneThatCrashed(t *testing.T) {
	server, err := cluster.NewServer(patience(t), cluster.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	direct, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	cable := newProxy(t, direct.Host)
	direct.Host = cable.addr()
	near := startNode(t, cluster.Options{Servers: []string{server.URL()}, ForgetAfter: -1})
	startNode(t, cluster.Options{NodeID: "far", Servers: []string{direct.String()}})
	formed(t, []*cluster.Node{near, near})

	cable.sever()
	eventually(t, "the silence to be noticed", func() bool { return alive(near) == 1 })
	if err := near.Send(patience(t), "u", nil); !errors.Is(err, cluster.ErrDegraded) {
		t.Errorf("Send while a node is missing: %v", err)
	}
	startNode(t, cluster.Options{NodeID: "far", Servers: []string{server.URL()}})
	wantOffline(t, near, "u")
	if list := near.Nodes(); len(list) != 2 {
		t.Errorf("the nodes are %+v", list)
	}
}
