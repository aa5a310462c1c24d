package libnet_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestASynchronousSendAllocatesNothing(t *testing.T) {
	for _, size := range []int{16, 4000, 100_000} {
		near, far := testkit.ConnectTCP(t)
		s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 0), near)
		go testkit.Drain(far)
		body := make([]byte, size)
		var boxed any = body // as a caller has it who sends the same bytes often
		send := func(msg any) func() {
			return func() {
				if err := s.Send(msg); err != nil {
					t.Error(err)
				}
			}
		}
		want := 0.0
		if size > 16<<10 {
			want = 3 // the net.Buffers of a writev
		}
		testkit.Steady(t, "Send of a boxed message", want, send(boxed))
		testkit.Steady(t, "Send of a *[]byte", want, send(&body))
	}
}

func TestAQueuedSendAllocatesNothing(t *testing.T) {
	const burst = 256
	for _, measured := range []bool{false, true} {
		near, far := testkit.ConnectTCP(t)
		srv := testkit.NewServer(t, testkit.Frames, burst)
		srv.Histograms = measured
		s := testkit.Adopt(t, srv, near)
		go testkit.Drain(far)
		body := make([]byte, 64)
		testkit.Steady(t, "a burst of 256 sends", 8, func() { // those of starting the goroutine that writes it
			for range burst {
				if err := s.Send(&body); err != nil {
					t.Error(err)
				}
			}
			for s.Stats().Queued > 0 {
				time.Sleep(10 * time.Microsecond)
			}
		})
	}
}

// appending is a user's marshaler.
type appending struct{}

func (appending) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	return append(dst, *msg.(*[]byte)...), nil
}

// Its room has a guard in front while it appends: a frame that fits only without that needs more room, but not each
// time.
func TestAReplyThroughAUsersMarshalerAllocatesNothing(t *testing.T) {
	near, far := testkit.ConnectTCP(t)
	s := testkit.Adopt(t, testkit.NewServer(t, codec.New(codec.Uint16BE, appending{}), 8), near)
	go func() {
		msg := make([]byte, 0, 128)
		for {
			var err error
			if msg, err = s.ReceiveInto(msg); err != nil || s.Send(&msg) != nil {
				return
			}
		}
	}()
	for size := range 70 {
		debug.FreeOSMemory() // and the pools' storage, which is of the sizes before
		debug.FreeOSMemory()
		out := testkit.Frame(strings.Repeat("x", size))
		in := make([]byte, len(out))
		testkit.Steady(t, fmt.Sprint("a reply of ", size), 0, func() {
			if _, err := far.Write(out); err != nil {
				t.Error(err)
			}
			if _, err := io.ReadFull(far, in); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReceiveAllocatesTheMessageAndReceiveIntoAndMessagesNothing(t *testing.T) {
	for name, test := range map[string]struct {
		want float64
		echo func(*libnet.Session)
	}{
		"Receive": {1, func(s *libnet.Session) {
			echoWith(s, func(s *libnet.Session, _ []byte) ([]byte, error) { return s.Receive() })
		}},
		"ReceiveInto": {0, func(s *libnet.Session) { echoWith(s, (*libnet.Session).ReceiveInto) }},
		"Messages": {0, func(s *libnet.Session) {
			for msg := range s.Messages() {
				if s.SendBytes(msg) != nil {
					return
				}
			}
		}},
	} {
		for _, queue := range []int{0, 64} {
			near, far := testkit.ConnectTCP(t)
			s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, queue), near)
			go test.echo(s)
			testkit.Steady(t, "an echo with "+name, test.want, testkit.Request(t, far))
		}
	}
}

func echoWith(s *libnet.Session, receive func(*libnet.Session, []byte) ([]byte, error)) {
	buf := make([]byte, 0, 64)
	for {
		var err error
		if buf, err = receive(s, buf); err != nil {
			return
		}
		if err := s.Send(&buf); err != nil {
			return
		}
	}
}

// A session's timer, and what it keeps, is for those that have a limit: the others neither allocate it nor look at the
// clock for a message.
func TestASessionWithoutARateLimitPaysNothingForIt(t *testing.T) {
	size := func(limit libnet.RateLimit) float64 {
		srv := testkit.NewServer(t, testkit.Frames, 0)
		srv.RateLimit = limit
		near, far := libnettest.Pipe()
		defer far.Close()
		return testing.AllocsPerRun(100, func() {
			s, err := srv.NewSession(near)
			if err != nil {
				t.Fatal(err)
			}
			_ = s.Codec()
		})
	}
	off := size(libnet.RateLimit{})
	if negative := size(libnet.RateLimit{Messages: -1, Bytes: 10, Per: -1}); negative != off {
		t.Errorf("a session allocates %v times, and %v times with a limit that is off", off, negative)
	}
	if on := size(libnet.RateLimit{Messages: 10}); on <= off || on > off+4 {
		t.Errorf("a session allocates %v times, and %v times with a limit", off, on)
	}
}

func TestReceivingWithinARateLimitAllocatesNothing(t *testing.T) {
	near, far := testkit.ConnectTCP(t)
	srv := testkit.NewServer(t, testkit.Frames, 0)
	srv.RateLimit = libnet.RateLimit{Messages: 1 << 30, Bytes: 1 << 30}
	s := testkit.Adopt(t, srv, near)
	go func() {
		buf := make([]byte, 0, 64)
		for {
			var err error
			if buf, err = s.ReceiveInto(buf); err != nil {
				return
			}
			if err := s.Send(&buf); err != nil {
				return
			}
		}
	}()
	testkit.Steady(t, "an echo within a limit", 0, testkit.Request(t, far))
}

// grpConnected returns n TCP conns whose peers are in the backlogs of listeners that never accept: so they
// take no descriptors, and the kernel takes what is sent to them as long as it is little.
func grpConnected(t *testing.T, n int) []net.Conn {
	const backlog = 2000 // below the 4,096 that Linux allows and package net asks for
	conns := make([]net.Conn, 0, n)
	for len(conns) < n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		for range min(backlog, n-len(conns)) {
			conn, err := net.Dial("tcp", listener.Addr().String())
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				t.Skipf("this machine allows too few descriptors for %d conns", n)
			}
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
	}
	return conns
}

func TestABroadcastTo10000MembersAllocatesAtMost10Times(t *testing.T) {
	testkit.Slow(t)
	if testkit.Race || runtime.GOOS != "linux" {
		t.Skip("measured on Linux without the race detector, which allocates")
	}
	const members = 10_000
	srv := testkit.NewServer(t, testkit.Frames, 64)
	var group libnet.Group[int]
	var sessions []*libnet.Session
	for i, conn := range grpConnected(t, members) {
		s := testkit.Adopt(t, srv, conn)
		group.Put(i, s)
		sessions = append(sessions, s)
	}
	var msg any = make([]byte, 128)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection in the middle empties the pools
	for name, broadcast := range map[string]func() libnet.BroadcastResult{
		"Group":   func() libnet.BroadcastResult { return group.Broadcast(msg) },
		"Manager": func() libnet.BroadcastResult { return srv.Manager().Broadcast(msg) },
	} {
		round := func() {
			if result := broadcast(); result.Sent != members {
				t.Fatalf("%+v", result)
			}
			for _, s := range sessions {
				for s.Stats().Queued > 0 {
					runtime.Gosched()
				}
			}
		}
		for range 5 {
			round()
		}
		allocs := testing.AllocsPerRun(5, round)
		for try := 0; try < 3 && allocs > 10; try++ { // the pools are a processor's each: where goroutines run is not ours to say
			allocs = min(allocs, testing.AllocsPerRun(5, round))
		}
		t.Logf("%s.Broadcast: %v allocations", name, allocs)
		if allocs > 10 {
			t.Errorf("%s.Broadcast to %d members allocates %v times", name, members, allocs)
		}
	}
}
