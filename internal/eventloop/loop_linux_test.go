package eventloop_test

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/eventloop"
)

// patience is for what must happen soon.
const patience = 20 * time.Second

// A source is one end of a connection. Its handler returns whether there may be more to read.
type source struct {
	state eventloop.State
	id    uint64
	conn  *net.TCPConn
	raw   syscall.RawConn
	serve func(*source) (more bool)

	serving atomic.Int32
	served  chan int // what a read brought; 0 is nothing, or the end
}

func (s *source) ServeState() *eventloop.State { return &s.state }

// read reads once, n bytes at most, and waits for nothing.
func (s *source) read(n int) (got int) {
	_ = s.raw.Read(func(fd uintptr) bool {
		got, _, _ = syscall.Recvfrom(int(fd), make([]byte, n), syscall.MSG_DONTWAIT)
		return true
	})
	return max(got, 0)
}

// readAndReport reads once and reports what came.
func readAndReport(s *source) bool {
	s.served <- s.read(64)
	return false
}

// A host has its sources by their ids.
type host struct {
	t       testing.TB
	mu      sync.Mutex
	sources map[uint64]*source
}

func (h *host) Lookup(id uint64) eventloop.Source {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s, ok := h.sources[id]; ok {
		return s
	}
	return nil
}

func (h *host) Serve(src eventloop.Source) bool {
	s := src.(*source)
	if s.serving.Add(1) != 1 {
		h.t.Error("two serve one source")
	}
	defer s.serving.Add(-1)
	return s.serve(s)
}

func (h *host) forget(id uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sources, id)
}

// start makes a loop with one poller, so that its sources hold each other up.
func start(t testing.TB) (*eventloop.Loop, *host) {
	t.Helper()
	was := runtime.GOMAXPROCS(1)
	h := &host{t: t, sources: make(map[uint64]*source)}
	loop, err := eventloop.New(h)
	runtime.GOMAXPROCS(was)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loop.Close)
	return loop, h
}

// open makes a connection that the host has as a source and nobody serves yet.
func (h *host) open(id uint64, serve func(*source) bool) (s *source, peer net.Conn) {
	h.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	defer l.Close()
	peer, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		h.t.Fatal(err)
	}
	s = &source{id: id, conn: conn.(*net.TCPConn), serve: serve, served: make(chan int, 100)}
	if s.raw, err = s.conn.SyscallConn(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _, _ = conn.Close(), peer.Close() })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sources[id] = s
	return s, peer
}

// add is open, and has the loop serve it.
func (h *host) add(loop *eventloop.Loop, id uint64, serve func(*source) bool) (s *source, peer net.Conn) {
	h.t.Helper()
	s, peer = h.open(id, serve)
	s.state.Start(false)
	if err := loop.Register(id, s.raw); err != nil {
		h.t.Fatal(err)
	}
	loop.Release(s)
	return s, peer
}

func write(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// within returns what c brings.
func within[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("%s does not come", what)
	}
	return v
}

func TestEachSourceIsServedWhenSomethingArrives(t *testing.T) {
	loop, h := start(t)
	const large = 1<<40 + 7 // an event carries all 64 bits
	one, onePeer := h.add(loop, 3, readAndReport)
	other, otherPeer := h.add(loop, large, readAndReport)
	for range 3 {
		write(t, onePeer, "one")
		write(t, otherPeer, "another")
		if n := within(t, "the first's", one.served); n != 3 {
			t.Errorf("the first read %d bytes", n)
		}
		if n := within(t, "the other's", other.served); n != 7 {
			t.Errorf("the other read %d bytes", n)
		}
	}
}

func TestWhatArrivedBeforeASourceWasReleasedIsServed(t *testing.T) {
	loop, h := start(t)
	s, peer := h.open(1, readAndReport)
	s.state.Start(false)
	write(t, peer, "early")
	if err := loop.Register(s.id, s.raw); err != nil {
		t.Fatal(err)
	}
	other, otherPeer := h.add(loop, 2, readAndReport)
	write(t, otherPeer, "by then the poller has seen both")
	within(t, "the other's", other.served)
	if len(s.served) != 0 {
		t.Error("it was served while the one who had started it still did")
	}
	loop.Release(s)
	if n := within(t, "what came early", s.served); n != 5 {
		t.Errorf("%d bytes of it came", n)
	}
}

func TestASourceThatAlwaysHasMoreLetsOthersHaveTheirTurn(t *testing.T) {
	loop, h := start(t)
	var stop atomic.Bool
	_, endlessPeer := h.add(loop, 1, func(*source) bool { return !stop.Load() })
	defer stop.Store(true)
	s, peer := h.add(loop, 2, readAndReport)
	write(t, endlessPeer, "x")
	for range 3 {
		write(t, peer, "x")
		within(t, "the other's turn", s.served)
	}
}

func TestAHandlerThatBlocksHoldsNobodyUp(t *testing.T) {
	loop, h := start(t)
	for id := uint64(1); id < 20; id += 2 { // more than it takes to detach them
		release := make(chan bool)
		entered := make(chan bool, 10)
		_, blockedPeer := h.add(loop, id, func(*source) bool { entered <- true; <-release; return false })
		s, peer := h.add(loop, id+1, readAndReport)
		write(t, blockedPeer, "x")
		within(t, "the handler that blocks", entered)
		write(t, peer, "x")
		within(t, "what lies behind one that blocks", s.served)
		write(t, blockedPeer, "again")
		close(release)
		within(t, "what came while it blocked", entered)
	}
}

func TestAnEventOfASourceThatIsGoneIsDropped(t *testing.T) {
	loop, h := start(t)
	gone, gonePeer := h.add(loop, 1, readAndReport)
	s, peer := h.add(loop, 2, readAndReport)
	h.forget(gone.id)
	write(t, gonePeer, "x")
	write(t, peer, "x")
	within(t, "the other's", s.served)
	if len(gone.served) != 0 {
		t.Error("it was served")
	}
}

func TestAfterTheEndOfThePeerAllIsRead(t *testing.T) {
	loop, h := start(t)
	all := make(chan bool, 10)
	_, peer := h.add(loop, 1, func(s *source) bool {
		if s.read(64) > 0 {
			all <- s.state.ReadAll()
		}
		return s.state.ReadAll() && s.read(1) > 0
	})
	write(t, peer, "x")
	if within(t, "the first event", all) {
		t.Error("an event of input alone asks for all to be read")
	}
	s, peer := h.open(2, func(s *source) bool { all <- s.state.ReadAll(); return false })
	write(t, peer, "the last")
	_ = peer.(*net.TCPConn).CloseWrite()
	s.state.Start(false)
	if err := loop.Register(s.id, s.raw); err != nil {
		t.Fatal(err)
	}
	loop.Release(s)
	for !within(t, "the event of the end", all) {
	}
}

func TestADescriptorThatCannotBeWaitedForIsRefused(t *testing.T) {
	loop, _ := start(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "a file is always ready"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	raw, err := file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := loop.Register(1, raw); err == nil {
		t.Error("it was not")
	}
	_ = file.Close()
	if err := loop.Register(1, raw); err == nil {
		t.Error("a closed one was not")
	}
}

func TestAClosedLoopRefusesSources(t *testing.T) {
	loop, h := start(t)
	s, _ := h.open(1, readAndReport)
	loop.Close()
	if err := loop.Register(s.id, s.raw); err == nil {
		t.Error("it took one")
	}
}
