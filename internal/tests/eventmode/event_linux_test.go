package eventmode

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// eventTagged is a message of a connection with this tag, which the first message of a session sets.
func eventTagged(tag uint64, size int) []byte {
	msg := binary.BigEndian.AppendUint64(nil, tag)
	for range size {
		msg = append(msg, byte(tag))
	}
	return msg
}

func eventHasTag(msg []byte, tag uint64) bool {
	if len(msg) < 8 || binary.BigEndian.Uint64(msg) != tag {
		return false
	}
	for _, b := range msg[8:] {
		if b != byte(tag) {
			return false
		}
	}
	return true
}

// Both sides close at any time, and the lowest free descriptor is the next connection's: an event, a read or
// a write that outlived its connection would show in another.
func TestNoByteOfAConnectionShowsUpInAnotherThatGotItsDescriptor(t *testing.T) {
	testkit.OverModes(t, testkit.LoopModes, func(t *testing.T, mode testkit.Mode) {
		const clients, rounds = 8, 40
		var served atomic.Int64
		r := mode.Start(t, func(srv *libnet.Server) { srv.SendBuffer = 8 << 10 }, func(s *libnet.Session, msg []byte) {
			if s.State == nil {
				s.State = binary.BigEndian.Uint64(msg)
			}
			tag := s.State.(uint64)
			if !eventHasTag(msg, tag) {
				t.Errorf("session %d of tag %x got %.32x", s.ID(), tag, msg)
			}
			served.Add(1)
			switch n := rand.IntN(40); {
			case n == 0:
				_ = s.Close()
			case n == 1:
				go s.Close()
			case n == 2: // more than the kernel takes: a waiting write is under way when the end comes
				for range 8 {
					_ = s.Send(eventTagged(tag, 30_000))
				}
			}
			go s.Send(bytes.Clone(msg)) // from elsewhere, perhaps after the end
			_ = s.Send(msg)
		})
		var tags atomic.Uint64
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				for range rounds {
					eventExchange(t, r, tags.Add(1)*0x0101)
				}
			})
		}
		wg.Wait()
		if served.Load() < clients*rounds {
			t.Errorf("only %d messages were served", served.Load())
		}
	})
}

// eventExchange is one connection's life: it ends when the server ends it, or in one of a client's ways.
func eventExchange(t *testing.T, r *testkit.Rig, tag uint64) {
	conn, err := r.Connect()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	for range 1 + rand.IntN(10) {
		msg := eventTagged(tag, rand.IntN(300))
		if _, err := conn.Write(testkit.Frame(string(msg))); err != nil {
			return
		}
		got, err := testkit.ReadFrame(conn)
		if err != nil {
			return
		}
		if !eventHasTag(got, tag) {
			t.Errorf("connection %x got %.32x", tag, got)
		}
	}
	if web, ok := conn.(*testkit.WebConn); ok {
		conn = web.Conn
	}
	if secured, ok := conn.(*tls.Conn); ok && rand.IntN(2) == 0 {
		conn = secured.NetConn() // the end is then no close_notify
		defer conn.Close()
	}
	if tcp, ok := conn.(*net.TCPConn); ok && rand.IntN(2) == 0 {
		_ = tcp.SetLinger(0) // a reset
	}
}

func TestAReconnectingFleetLeavesNoDescriptor(t *testing.T) {
	testkit.OverModes(t, testkit.LoopModes, func(t *testing.T, mode testkit.Mode) {
		r := mode.Start(t, nil, testkit.EchoMessage)
		testkit.Ask(t, r.Dial(), "so that what is made once exists")
		before := eventDescriptors(t)
		for range 500 {
			conn, err := r.Connect()
			if err != nil {
				t.Fatal(err)
			}
			testkit.Ask(t, conn, "x")
			_ = conn.Close()
		}
		testkit.Eventually(t, "the closing of 500 descriptors", func() bool { return eventDescriptors(t) <= before })
	})
}

func eventDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(entries)
}

func TestASessionOfServeMessagesHasOneDescriptor(t *testing.T) {
	testkit.OverModes(t, testkit.Modes[1:], func(t *testing.T, mode testkit.Mode) {
		if mode.Network == "pipe" {
			t.Skip("no descriptors at all")
		}
		const sessions = 20
		r := mode.Start(t, nil, testkit.EchoMessage)
		testkit.Ask(t, r.Dial(), "so that what is made once exists")
		before := eventDescriptors(t)
		for _, conn := range r.DialMany(sessions) {
			testkit.Ask(t, conn, "x")
		}
		testkit.Eventually(t, "one descriptor here and one at the peer", func() bool {
			return eventDescriptors(t)-before <= 2*sessions
		})
	})
}

// A session waits for a slow peer, and a shutdown for each peer's end; for that, too, its one descriptor must do.
func TestAShutdownLosesNothingWhereNoDescriptorIsLeft(t *testing.T) {
	testkit.OverModes(t, testkit.Modes[:2], func(t *testing.T, mode testkit.Mode) {
		const size = 500_000 // more than the kernel's buffers hold
		r := mode.Start(t, nil, func(s *libnet.Session, msg []byte) {
			if string(msg) == "x" {
				_ = s.Send(msg)
			}
		})
		conns := r.DialMany(50)
		for _, conn := range conns {
			testkit.Ask(t, conn, "x")
		}
		fillDescriptors(t)
		for s := range r.Manager().All() {
			testkit.MustSend(t, s, make([]byte, size))
		}
		down := make(chan error, 1)
		go func() { down <- r.Shutdown(testkit.TimeoutContext(t, testkit.Patience)) }()
		var wg sync.WaitGroup
		for _, conn := range conns {
			wg.Go(func() {
				_, _ = conn.Write(testkit.Frame("unread, it would make the kernel reset the connection"))
				if all, err := io.ReadAll(conn); err != nil || len(all) != 4+size {
					t.Errorf("the peer got %d bytes, %v", len(all), err)
				}
				_ = conn.Close()
			})
		}
		wg.Wait()
		testkit.WantErr(t, "Shutdown", testkit.Await(t, testkit.Patience, "Shutdown", down), nil)
	})
}

// fillDescriptors leaves the process no descriptor until the test ends.
func fillDescriptors(t *testing.T) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(eventDescriptors(t) + 10)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) })
	for {
		f, err := os.Open(os.DevNull)
		if errors.Is(err, syscall.EMFILE) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
	}
}

func TestAnEchoInEventModeAllocatesNothing(t *testing.T) {
	boxes := sync.Pool{New: func() any { return new([]byte) }}
	echo := func(s *libnet.Session, msg []byte) {
		box := boxes.Get().(*[]byte) // to put a slice into Send's any would allocate
		*box = msg
		_ = s.Send(box)
		*box = nil
		boxes.Put(box)
	}
	testkit.OverModes(t, testkit.LoopModes[:3], func(t *testing.T, mode testkit.Mode) {
		want := 0.0
		if mode.Network == "tls" {
			want = 2 // crypto/tls's own: for each read of its conn, here and at the client
		}
		for _, queue := range []int{0, 64} {
			r := mode.Start(t, func(srv *libnet.Server) { srv.SendQueue = queue }, echo)
			testkit.Steady(t, "an echo in event mode", want, testkit.Request(t, r.Dial()))
		}
	})
}

func TestAPartialFrameKeepsLittleMoreThanItsOwnBytes(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector needs memory of its own")
	}
	const sessions = 1000
	r := testkit.LoopModes[0].Start(t, func(srv *libnet.Server) { srv.FrameTimeout = -1 }, testkit.EchoMessage)
	conns := make([]net.Conn, sessions)
	for i := range conns {
		conns[i], _ = r.Open()
		testkit.Ask(t, conns[i], "x") // makes everything that is not the frame's
	}
	var silent, partial runtime.MemStats
	testkit.ReadMemory(&silent)
	for _, conn := range conns {
		testkit.MustWrite(t, conn, testkit.Frame("one byte of this")[:1])
	}
	testkit.Eventually(t, "the bytes", func() bool { return r.Stats().BytesIn == sessions*6 })
	testkit.ReadMemory(&partial)
	if each := int64(partial.HeapAlloc-silent.HeapAlloc) / sessions; each > 700 {
		t.Errorf("a byte of a frame keeps %d bytes", each)
	}
	for _, conn := range conns {
		testkit.MustWrite(t, conn, testkit.Frame("one byte of this")[1:])
		testkit.WantFrame(t, conn, "one byte of this")
	}
	testkit.ReadMemory(&partial)
	if each := (int64(partial.HeapAlloc) - int64(silent.HeapAlloc)) / sessions; each > 100 {
		t.Errorf("after it %d bytes stay", each)
	}
}
