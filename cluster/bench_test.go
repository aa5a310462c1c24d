package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/libnettest"
)

// These measure the column "measured" of README.md, which has the commands: those that time one message at a
// time want thousands of iterations, the others do their work once, whatever b.N is.
//
// Three nodes, each with its embedded server, are in this one process, so each figure is for what all three
// cost together. Their routes are TCP over loopback.

// BenchmarkMesh is the time from the start of three nodes to the moment each hears both others.
func BenchmarkMesh(b *testing.B) {
	var took []time.Duration
	for range min(b.N, 20) {
		begin := time.Now()
		nodes := mesh(b, 3)
		took = append(took, time.Since(begin))
		for _, n := range nodes {
			_ = n.Close()
		}
	}
	report(b, took, time.Millisecond, "ms")
}

// BenchmarkLoginsAtOnce is the time from the moment at which 1,000 users log in on two nodes at once to the one
// at which each has exactly one session.
func BenchmarkLoginsAtOnce(b *testing.B) {
	var took []time.Duration
	for range min(b.N, 20) {
		nodes := mesh(b, 2)
		begin := time.Now()
		logins := logInOnTwoNodes(b, nodes, 1000)
		eventually(b, "exactly one session of each user", logins.single)
		took = append(took, time.Since(begin))
		for _, n := range nodes {
			_ = n.Close()
		}
	}
	report(b, took, time.Millisecond, "ms")
}

// BenchmarkBlackHole is what users of two nodes are told while the route between the nodes is dead for 10 s, and
// how long after it heals messages arrive in both directions again.
func BenchmarkBlackHole(b *testing.B) {
	answers, whole := blackHole(b, 10*time.Second)
	b.ReportMetric(float64(answers.unknown.Load()), "unknown")
	b.ReportMetric(float64(answers.wrong.Load()), "wrong")
	b.ReportMetric(whole.Seconds(), "s-until-whole")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRollingRestart replaces three nodes with 1,000 clients each, one after the other, while eight senders
// send as fast as they can.
func BenchmarkRollingRestart(b *testing.B) {
	acknowledged, lost := rollingRestart(b, 1000)
	b.ReportMetric(float64(acknowledged), "acknowledged")
	b.ReportMetric(float64(lost), "lost")
	b.ReportMetric(0, "ns/op")
}

// report replaces the time per iteration by two percentiles.
func report(b *testing.B, d []time.Duration, unit time.Duration, name string) {
	b.ReportMetric(float64(percentile(d, 0.50))/float64(unit), name+"-p50")
	b.ReportMetric(float64(percentile(d, 0.99))/float64(unit), name+"-p99")
	b.ReportMetric(0, "ns/op")
}

var payload128 = make([]byte, 128)

// A stampCodec tells when a message leaves its session's queue.
type stampCodec struct{ arrived chan<- time.Time }

func (c stampCodec) Receive() ([]byte, error) { return nil, errors.New("nothing is ever received") }
func (c stampCodec) Close() error             { return nil }
func (c stampCodec) Send(any) error {
	c.arrived <- time.Now()
	return nil
}

// BenchmarkOneWay is the time from Post on one node to the message's leaving the session's queue on another,
// one message at a time.
func BenchmarkOneWay(b *testing.B) {
	nodes := mesh(b, 3)
	arrived := make(chan time.Time, 1)
	session := libnet.NewSession(stampCodec{arrived}, 16)
	defer session.Close()
	bind(b, nodes[1], session, "u")
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		begin := time.Now()
		if err := nodes[0].Post("u", payload128); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-arrived).Sub(begin))
	}
	report(b, took, time.Microsecond, "µs")
}

// BenchmarkAcknowledged is the time of a Send to a user of another node, one at a time.
func BenchmarkAcknowledged(b *testing.B) {
	nodes := mesh(b, 3)
	server := libnet.NewServer(libnettest.NewListener(), lines, 1<<16)
	defer server.Stop()
	session, err := server.NewSession(newSink(nil))
	if err != nil {
		b.Fatal(err)
	}
	bind(b, nodes[1], session, "u")
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		begin := time.Now()
		if err := nodes[0].Send(context.Background(), "u", payload128); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	report(b, took, time.Microsecond, "µs")
}

// BenchmarkOffline is the time of a Send to a user who is nowhere, until that is certain.
func BenchmarkOffline(b *testing.B) {
	nodes := mesh(b, 3)
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		begin := time.Now()
		err := nodes[0].Send(context.Background(), "nobody", payload128)
		if !errors.Is(err, cluster.ErrOffline) && !errors.Is(err, cluster.ErrDegraded) {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	report(b, took, time.Microsecond, "µs")
}

const crowd = 20000

// bindCrowd binds 20,000 users, spread over the nodes.
func bindCrowd(tb testing.TB, server *libnet.Server, nodes []*cluster.Node) (took time.Duration) {
	sessions := make([]*libnet.Session, crowd)
	for i := range sessions {
		var err error
		if sessions[i], err = server.NewSession(newSink(nil)); err != nil {
			tb.Fatal(err)
		}
	}
	return bindAll(tb, sessions, nodes)
}

func bindAll(tb testing.TB, sessions []*libnet.Session, nodes []*cluster.Node) time.Duration {
	begin := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 512 { // logins at a time, as after a restart
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(sessions); i = int(next.Add(1)) - 1 {
				if err := nodes[i%len(nodes)].Bind(context.Background(), sessions[i], fmt.Sprint("user-", i)); err != nil {
					tb.Errorf("Bind: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(begin)
}

// BenchmarkBind20000 is the time to bind 20,000 users on three nodes, and what one costs in memory, the
// directory of all three embedded servers included, and in goroutines.
func BenchmarkBind20000(b *testing.B) {
	nodes := mesh(b, 3)
	server := libnet.NewServer(libnettest.NewListener(), lines, 64)
	defer server.Stop()
	sessions := make([]*libnet.Session, crowd)
	for i := range sessions {
		var err error
		if sessions[i], err = server.NewSession(newSink(nil)); err != nil {
			b.Fatal(err)
		}
	}
	before, goroutines := heap(), runtime.NumGoroutine()
	took := bindAll(b, sessions, nodes)
	b.ReportMetric(took.Seconds(), "s")
	b.ReportMetric(float64(heap()-before)/crowd, "B/user")
	b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/crowd, "goroutines/user")
	b.ReportMetric(0, "ns/op")
}

func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc + stats.StackInuse)
}

// BenchmarkDistinctUsers posts to, and in a second run sends with acknowledgement to, 20,000 users in turn who
// are all on other nodes, and counts what their sessions' queues took.
func BenchmarkDistinctUsers(b *testing.B) {
	nodes := mesh(b, 3)
	server := libnet.NewServer(libnettest.NewListener(), lines, 1<<12)
	defer server.Stop()
	bindCrowd(b, server, nodes[1:])
	users := make([]string, crowd)
	for i := range users {
		users[i] = fmt.Sprint("user-", i)
	}
	b.Run("posted", func(b *testing.B) {
		distinct(b, nodes, b.N, 1, func(i int) error { return nodes[0].Post(users[i%crowd], payload128) })
	})
	b.Run("acknowledged", func(b *testing.B) {
		distinct(b, nodes, b.N, 256, func(i int) error {
			return nodes[0].Send(context.Background(), users[i%crowd], payload128)
		})
	})
}

func distinct(b *testing.B, nodes []*cluster.Node, count, senders int, send func(int) error) {
	delivered := func() (n uint64) {
		for _, node := range nodes {
			n += node.Stats().Delivered
		}
		return n
	}
	before := delivered()
	begin := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				if err := send(i); err != nil {
					b.Errorf("message %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := nodes[0].Sync(context.Background()); err != nil { // all was handled
		b.Fatal(err)
	}
	took := time.Since(begin)
	b.ReportMetric(float64(count)/took.Seconds(), "msg/s")
	b.ReportMetric(float64(count)-float64(delivered()-before), "lost")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkGroupOf100000 is the time from a Broadcast to a group of 100,000 members on four nodes until each of their
// sessions has written it.
func BenchmarkGroupOf100000(b *testing.B) {
	const members = 100_000
	nodes := mesh(b, 4)
	server := libnet.NewServer(libnettest.NewListener(), lines, 64)
	server.Logger = quiet
	defer server.Stop()
	var written atomic.Int64
	for i := range members {
		session, err := server.NewSession(newSink(func([]byte) { written.Add(1) }))
		if err == nil {
			err = nodes[i%len(nodes)].Join(session, "g")
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	for _, n := range nodes {
		if err := n.Sync(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	var took []time.Duration
	for range min(b.N, 20) {
		due := written.Load() + members
		begin := time.Now()
		if err := nodes[0].Broadcast("g", payload128); err != nil {
			b.Fatal(err)
		}
		eventually(b, "all members to have it", func() bool { return written.Load() == due })
		took = append(took, time.Since(begin))
	}
	report(b, took, time.Millisecond, "ms")
}
