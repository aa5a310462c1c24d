package cluster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
)

// soon is how long tests wait for what takes milliseconds when the machine has nothing else to do.
const soon = time.Minute

var quiet = slog.New(slog.DiscardHandler)

// lines is most tests' protocol.
var lines = codec.New(codec.Lines, codec.Bytes)

// startNode starts a node that is closed when the test ends.
func startNode(tb testing.TB, o cluster.Options) *cluster.Node {
	tb.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	node, err := cluster.New(ctx, o)
	if err != nil {
		tb.Fatalf("New: %v", err)
	}
	tb.Cleanup(func() { _ = node.Close() })
	return node
}

// mesh starts count nodes, each with an embedded server, that all know each other.
func mesh(tb testing.TB, count int) []*cluster.Node {
	tb.Helper()
	var nodes []*cluster.Node
	for i := range count {
		nodes = append(nodes, startNode(tb, cluster.Options{
			NodeID: fmt.Sprint("n", i+1), Listen: "127.0.0.1:0", Routes: routesTo(nodes),
		}))
	}
	formed(tb, nodes)
	return nodes
}

func routesTo(nodes []*cluster.Node) (routes []string) {
	for _, n := range nodes {
		routes = append(routes, n.RouteAddr().String())
	}
	return routes
}

// formed waits until each of the nodes hears all others.
func formed(tb testing.TB, nodes []*cluster.Node) {
	tb.Helper()
	for _, n := range nodes {
		eventually(tb, "the mesh", func() bool { return alive(n) == len(nodes) })
	}
}

func alive(n *cluster.Node) (count int) {
	for _, info := range n.Nodes() {
		if info.Alive {
			count++
		}
	}
	return count
}

// eventually is for states that no channel announces.
func eventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(soon); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited %v for %s", soon, what)
		}
	}
}

// patience is bounded by the test's patience.
func patience(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	tb.Cleanup(cancel)
	return ctx
}

// sessions makes sessions over pipes.
type sessions struct {
	*libnet.Server
	tb testing.TB
}

func newSessions(tb testing.TB, protocol libnet.Protocol, configure func(*libnet.Server)) *sessions {
	s := libnet.NewServer(libnettest.NewListener(), protocol, 64)
	s.Logger = quiet
	if configure != nil {
		configure(s)
	}
	tb.Cleanup(s.Stop)
	return &sessions{s, tb}
}

// open returns both ends of a new session. The client's is closed when the test ends.
func (s *sessions) open() (*libnet.Session, net.Conn) {
	s.tb.Helper()
	client, server := libnettest.Pipe()
	session, err := s.NewSession(server)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { client.Close() })
	return session, client
}

// bound is open for a session that is bound to user.
func (s *sessions) bound(node *cluster.Node, user string) (*libnet.Session, net.Conn) {
	s.tb.Helper()
	session, client := s.open()
	bind(s.tb, node, session, user)
	return session, client
}

func bind(tb testing.TB, node *cluster.Node, s *libnet.Session, user string) {
	tb.Helper()
	if err := node.Bind(patience(tb), s, user); err != nil {
		tb.Fatalf("Bind of %q: %v", user, err)
	}
}

func send(tb testing.TB, node *cluster.Node, user, payload string) {
	tb.Helper()
	if err := node.Send(patience(tb), user, []byte(payload)); err != nil {
		tb.Fatalf("Send to %q: %v", user, err)
	}
}

// read wants the bytes next.
func read(tb testing.TB, conn net.Conn, want string) {
	tb.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(soon))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		tb.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

// wantOffline wants ErrOffline; a heartbeat may be late on a busy machine, and then ErrDegraded is right.
func wantOffline(tb testing.TB, node *cluster.Node, user string) {
	tb.Helper()
	var err error
	eventually(tb, "a certain answer", func() bool {
		err = node.Send(patience(tb), user, []byte("x"))
		return !errors.Is(err, cluster.ErrDegraded)
	})
	if err != cluster.ErrOffline {
		tb.Fatalf("Send to %q, who is offline: %v", user, err)
	}
}

func wantClosed(tb testing.TB, s *libnet.Session, reason error) {
	tb.Helper()
	select {
	case <-s.Done():
	case <-time.After(soon):
		tb.Fatalf("the session is still open, want it closed for %v", reason)
	}
	if !errors.Is(s.Err(), reason) {
		tb.Fatalf("the session closed for %v, want %v", s.Err(), reason)
	}
}

// A sink is a conn that takes everything at once and never says anything.
type sink struct {
	net.Conn // nil
	once     sync.Once
	closed   chan struct{}
	written  atomic.Int64
	onWrite  func([]byte)
}

func newSink(onWrite func([]byte)) *sink { return &sink{closed: make(chan struct{}), onWrite: onWrite} }

func (s *sink) Read([]byte) (int, error) {
	<-s.closed
	return 0, net.ErrClosed
}

func (s *sink) Write(p []byte) (int, error) {
	s.written.Add(int64(len(p)))
	if s.onWrite != nil {
		s.onWrite(p)
	}
	return len(p), nil
}

func (s *sink) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *sink) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (s *sink) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (s *sink) SetDeadline(time.Time) error      { return nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

// percentile sorts d.
func percentile(d []time.Duration, p float64) time.Duration {
	slices.Sort(d)
	return d[min(len(d)-1, int(float64(len(d))*p))]
}

// readInOrder reads lines of the form "<sender> <number>" and wants each sender's numbers in order.
func readInOrder(tb testing.TB, conn net.Conn, senders, messages int) {
	_ = conn.SetReadDeadline(time.Now().Add(2 * soon))
	next := make([]int, senders)
	in := bufio.NewScanner(conn)
	for range senders * messages {
		if !in.Scan() {
			tb.Errorf("ended after %v: %v", next, in.Err())
			return
		}
		var sender, number int
		if _, err := fmt.Sscanf(in.Text(), "%d %d", &sender, &number); err != nil || number != next[sender] {
			tb.Errorf("%q arrived, want number %d of that sender", in.Text(), next[sender])
			return
		}
		next[sender]++
	}
}

// readAll wants the bytes and then the end.
func readAll(tb testing.TB, conn net.Conn, want string) {
	tb.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(soon))
	got, err := io.ReadAll(conn)
	conn.Close()
	if string(got) != want || err != nil {
		tb.Errorf("read %q, %v; want %q and the end", got, err, want)
	}
}
