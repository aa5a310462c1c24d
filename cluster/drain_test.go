package cluster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/libnettest"
)

func TestADrainedNodeHasNoUsersTakesNoneAndStillSends(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, nil)
	session, client := server.bound(nodes[0], "u")
	if err := nodes[0].Join(session, "g"); err != nil {
		t.Fatal(err)
	}
	_, other := server.bound(nodes[1], "v")
	for range 2 {
		if err := nodes[0].Drain(patience(t)); err != nil {
			t.Fatalf("Drain: %v", err)
		}
	}
	if stats := nodes[0].Stats(); stats.Users != 0 || stats.Groups != 0 {
		t.Errorf("after Drain: %+v", stats)
	}
	if err := nodes[0].Bind(patience(t), session, "u"); err != cluster.ErrDraining {
		t.Errorf("Bind after Drain: %v", err)
	}
	if err := nodes[0].Join(session, "g"); err != cluster.ErrDraining {
		t.Errorf("Join after Drain: %v", err)
	}
	wantOffline(t, nodes[1], "u")
	eventually(t, "the other node to know", func() bool { return nodes[1].Nodes()[0].Draining })

	send(t, nodes[0], "v", "from a drained node")
	read(t, other, "from a drained node\n")
	// The same user elsewhere leaves the old session alone: its queue is being delivered.
	elsewhere, _ := server.bound(nodes[1], "u")
	if err := session.Send("goodbye"); err != nil {
		t.Errorf("the drained node's session: %v", err)
	}
	read(t, client, "goodbye\n")
	if elsewhere.IsClosed() {
		t.Error(elsewhere.Err())
	}
}

// access is one access server: it binds whoever says a name.
type access struct {
	node     *cluster.Node
	server   *libnet.Server
	listener *libnettest.Listener
	served   chan error
}

func startAccess(t *testing.T, id string, routes []string) *access {
	a := &access{
		node:     startNode(t, cluster.Options{NodeID: id, Listen: "127.0.0.1:0", Routes: routes}),
		listener: libnettest.NewListener(),
		served:   make(chan error, 1),
	}
	a.server = libnet.NewServer(a.listener, lines, 1<<12)
	a.server.Logger = quiet
	go func() { a.served <- a.server.Serve(libnet.HandlerFunc(a.serve)) }()
	t.Cleanup(a.server.Stop)
	return a
}

func (a *access) serve(s *libnet.Session) {
	name, err := s.Receive()
	if err != nil {
		return
	}
	if err := a.node.Bind(context.Background(), s, string(name)); err != nil {
		return
	}
	for err == nil {
		_, err = s.Receive()
	}
}

// stop is how a server leaves: nothing that was acknowledged is lost.
func (a *access) stop(t *testing.T) {
	if err := a.node.Drain(patience(t)); err != nil {
		t.Errorf("Drain: %v", err)
	}
	if err := a.server.Shutdown(patience(t)); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	<-a.served
	_ = a.node.Close()
}

// A fleet is access servers that are replaced one after the other, and clients that find those that are up.
type fleet struct {
	mu sync.Mutex
	up []*access // guarded by mu

	stop    chan struct{}
	clients sync.WaitGroup
	senders sync.WaitGroup
	acked   []sync.Map // by user: the messages that Send said were queued
	got     []sync.Map // by user: those that arrived
	online  atomic.Int64
	sent    atomic.Int64
}

func (f *fleet) any() *access {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.up[rand.IntN(len(f.up))]
}

func (f *fleet) stopping() bool {
	select {
	case <-f.stop:
		return true
	default:
		return false
	}
}

// client stays logged in until the fleet stops, and reads what it is sent.
func (f *fleet) client(user int) {
	for !f.stopping() {
		conn, err := f.any().listener.Dial()
		if err != nil {
			continue
		}
		f.session(user, conn)
		conn.Close()
	}
}

func (f *fleet) session(user int, conn net.Conn) {
	if _, err := fmt.Fprintln(conn, "user", user); err != nil {
		return
	}
	f.online.Add(1)
	in := bufio.NewScanner(conn)
	for in.Scan() {
		f.got[user].Store(in.Text(), true)
	}
}

func (f *fleet) sender(number int) {
	for i := 0; !f.stopping(); i++ {
		user := rand.IntN(len(f.acked))
		text := fmt.Sprint(number, "-", i)
		if f.any().node.Send(context.Background(), fmt.Sprint("user ", user), []byte(text)) == nil {
			f.acked[user].Store(text, true)
			f.sent.Add(1)
		}
	}
}

func TestARollingRestartOfThreeNodesLosesNoAcknowledgedMessage(t *testing.T) {
	const servers = 3
	users := servers * size(60, 1000)
	f := &fleet{stop: make(chan struct{}), acked: make([]sync.Map, users), got: make([]sync.Map, users)}
	routes := func() (list []string) {
		for _, a := range f.up {
			list = append(list, a.node.RouteAddr().String())
		}
		return list
	}
	for i := range servers {
		f.up = append(f.up, startAccess(t, fmt.Sprint("n", i), routes()))
	}
	for user := range users {
		f.clients.Go(func() { f.client(user) })
	}
	eventually(t, "all clients", func() bool { return f.online.Load() >= int64(users) })
	for i := range 8 {
		f.senders.Go(func() { f.sender(i) })
	}
	moreSent := func(n int64) {
		before := f.sent.Load()
		eventually(t, "messages to be acknowledged", func() bool { return f.sent.Load() > before+n })
	}
	for i := range servers {
		moreSent(int64(users))
		f.mu.Lock()
		old := f.up[0]
		f.up = f.up[1:]
		f.mu.Unlock()
		old.stop(t)
		fresh := startAccess(t, fmt.Sprint("n", i), routes())
		f.mu.Lock()
		f.up = append(f.up, fresh)
		f.mu.Unlock()
	}
	moreSent(int64(users))
	close(f.stop)
	f.senders.Wait()
	for _, a := range f.up {
		a.stop(t)
	}
	f.clients.Wait()
	lost := 0
	for user := range users {
		f.acked[user].Range(func(text, _ any) bool {
			if _, ok := f.got[user].Load(text); !ok {
				lost++
			}
			return true
		})
	}
	t.Logf("%d clients, %d messages acknowledged, %d lost", users, f.sent.Load(), lost)
	if lost > 0 {
		t.Errorf("%d acknowledged messages were lost", lost)
	}
}

func TestADrainThatRunsOutOfTimeSaysSo(t *testing.T) {
	node := startNode(t, cluster.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := node.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Drain: %v", err)
	}
	if err := node.Drain(patience(t)); err != nil {
		t.Fatalf("the second Drain: %v", err)
	}
}
