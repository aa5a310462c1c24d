package faults

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// kernelTCP returns how many bytes the kernel holds for TCP, as /proc/net/sockstat gives it in pages.
func kernelTCP(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(text), "\nTCP:")
	_, mem, found := strings.Cut(line, " mem ")
	var pages int64
	if _, err := fmt.Sscan(mem, &pages); !found || err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return pages * int64(os.Getpagesize())
}

// askOften has each client ask for a while, and returns how long the answers took, sorted.
func askOften(t *testing.T, conns []net.Conn, d time.Duration) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	for _, conn := range conns {
		wg.Go(func() {
			var took []time.Duration
			for end := time.Now().Add(d); time.Now().Before(end); {
				begin := time.Now()
				_, err := conn.Write(testkit.Frame("healthy"))
				if err == nil {
					_, err = testkit.ReadFrame(conn)
				}
				if err != nil {
					t.Errorf("a healthy client: %v", err)
					return
				}
				took = append(took, time.Since(begin))
				time.Sleep(5 * time.Millisecond)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all
}

func TestC49C50SlowConsumersCostWhatIsDocumentedAndNobodyElseAnything(t *testing.T) {
	const queueBytes, sendBuffer = 64 << 10, 128 << 10 // the latter is Config's default
	slow, healthy, phase := testkit.Size(200, 2000), testkit.Size(20, 200), time.Duration(testkit.Size(500, 5000))*time.Millisecond
	r := testkit.Serve(t, "tcp", func(srv *libnet.Server) {
		// Below PeerTimeout, at which the kernel would end them for another reason.
		srv.SendQueue, srv.SendQueueBytes, srv.WriteTimeout = 1000, queueBytes, time.Duration(testkit.Size(2, 12))*time.Second
	}, testkit.EchoWhileThereIsRoom)
	var good []net.Conn
	for range healthy {
		conn, _ := r.Open()
		good = append(good, conn)
	}
	alone := askOften(t, good, phase)

	var before, during, after runtime.MemStats
	testkit.ReadMemory(&before)
	kernelBefore := kernelTCP(t)
	var group libnet.Group[int]
	for i := range slow {
		_, s := r.Open()
		group.Put(i, s)
	}
	msg := make([]byte, 3<<10)
	for blocked := 0; blocked < 3*slow && group.Len() > 0; { // until nobody takes another
		result := group.Broadcast(msg)
		if blocked += result.Blocked; result.Sent > 0 {
			blocked = 0
		}
		time.Sleep(10 * time.Millisecond)
	}
	beside := askOften(t, good, phase)
	p99 := func(d []time.Duration) time.Duration { return d[len(d)*99/100] }
	bound := func() time.Duration { return 10*p99(alone) + 50*time.Millisecond }
	for range 3 { // a machine that others keep busy is slow at times
		if p99(beside) <= bound() || group.Len() < slow {
			break
		}
		beside = askOften(t, good, phase)
	}
	testkit.ReadMemory(&during)
	heap := (int64(during.HeapAlloc) - int64(before.HeapAlloc)) / int64(slow)
	kernel := (kernelTCP(t) - kernelBefore) / int64(slow)
	queued := 0
	for s := range r.Manager().All() {
		queued = max(queued, s.Stats().QueuedBytes)
	}
	t.Logf("%d that never read cost %d bytes of heap and %d of the kernel's each", slow, heap, kernel)
	t.Logf("%d healthy: p50 %v, p99 %v alone; p50 %v, p99 %v beside them", healthy, alone[len(alone)/2], p99(alone), beside[len(beside)/2], p99(beside))
	// A slice that grows has up to twice the room it needs; the session and its goroutine come on top.
	if queued > queueBytes || heap > 2*queueBytes+16<<10 {
		t.Errorf("a queue of %d bytes, %d of heap each; SendQueueBytes is %d", queued, heap, queueBytes)
	}
	// The kernel counts twice what was set, for its own records, the peer's half is here, too, and so is what other
	// programs on this machine hold. Without SendBuffer it would be 4 MB.
	if kernel > 2*sendBuffer+512<<10 {
		t.Errorf("%d bytes of the kernel's each, SendBuffer is %d", kernel, sendBuffer)
	}
	if p99(beside) > bound() {
		t.Errorf("healthy clients' p99 went from %v to %v", p99(alone), p99(beside))
	}

	testkit.Eventually(t, "the slow ones to be given up", func() bool { return r.Stats().Closed["write_timeout"] == uint64(slow) })
	testkit.ReadMemory(&after)
	if left := int64(after.HeapAlloc) - int64(before.HeapAlloc); left > int64(slow)*4<<10+1<<20 {
		t.Errorf("%d bytes of heap are left", left)
	}
	if stats := r.Stats(); stats.Open != healthy {
		t.Errorf("%d open, %v", stats.Open, stats.Closed)
	}
}
