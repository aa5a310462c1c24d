package cluster_test

import (
	"bufio"
	"context"
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

// rollingRestart replaces three servers, with a number of clients each, one after the other under load.
func rollingRestart(tb testing.TB, each int) (acknowledged, lost int) {
	tb.Helper()
	const servers = 3
	f := newFleet(servers * each)
	for i := range servers {
		f.start(tb, i)
	}
	for user := range f.got {
		f.clients.Go(func() { f.client(user) })
	}
	eventually(tb, "all clients", func() bool { return f.online.Load() >= int64(len(f.got)) })
	for i := range 8 {
		f.senders.Go(func() { f.sender(i) })
	}
	for i := range servers {
		f.moreSent(tb)
		f.mu.Lock()
		old := f.up[0]
		f.up = f.up[1:]
		f.mu.Unlock()
		old.stop(tb)
		f.start(tb, i)
	}
	f.moreSent(tb)
	close(f.stop)
	f.senders.Wait()
	for _, a := range f.up {
		a.stop(tb)
	}
	f.clients.Wait()
	return f.count()
}

// access is one access server: it binds whoever says a name.
type access struct {
	node     *cluster.Node
	server   *libnet.Server
	listener *libnettest.Listener
	served   chan error
}

func startAccess(tb testing.TB, id string, routes []string) *access {
	a := &access{
		node:     startNode(tb, cluster.Options{NodeID: id, Listen: "127.0.0.1:0", Routes: routes}),
		listener: libnettest.NewListener(),
		served:   make(chan error, 1),
	}
	a.server = libnet.NewServer(a.listener, lines, 1<<12)
	a.server.Logger = quiet
	go func() { a.served <- a.server.Serve(libnet.HandlerFunc(a.serve)) }()
	tb.Cleanup(a.server.Stop)
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
func (a *access) stop(tb testing.TB) {
	if err := a.node.Drain(patience(tb)); err != nil {
		tb.Errorf("Drain: %v", err)
	}
	if err := a.server.Shutdown(patience(tb)); err != nil {
		tb.Errorf("Shutdown: %v", err)
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

func newFleet(users int) *fleet {
	return &fleet{stop: make(chan struct{}), acked: make([]sync.Map, users), got: make([]sync.Map, users)}
}

// start adds a server.
func (f *fleet) start(tb testing.TB, number int) {
	var routes []string
	for _, a := range f.up { // only this goroutine changes it
		routes = append(routes, a.node.RouteAddr().String())
	}
	fresh := startAccess(tb, fmt.Sprint("n", number), routes)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up = append(f.up, fresh)
}

// moreSent waits until as many more messages are acknowledged as there are users.
func (f *fleet) moreSent(tb testing.TB) {
	before := f.sent.Load()
	eventually(tb, "messages to be acknowledged", func() bool { return f.sent.Load() > before+int64(len(f.got)) })
}

// count compares what was acknowledged with what arrived.
func (f *fleet) count() (acknowledged, lost int) {
	for user := range f.acked {
		f.acked[user].Range(func(text, _ any) bool {
			acknowledged++
			if _, ok := f.got[user].Load(text); !ok {
				lost++
			}
			return true
		})
	}
	return acknowledged, lost
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
