package libnet_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
)

// steady measures allocations a call in the whole process, once pools and buffers have been filled.
func steady(t *testing.T, what string, want float64, call func()) {
	t.Helper()
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	for range 200 {
		call()
	}
	// A garbage collection in the middle empties the pools: so the best of a few.
	got := testing.AllocsPerRun(500, call)
	for range 5 {
		if got <= want {
			break
		}
		got = min(got, testing.AllocsPerRun(500, call))
	}
	if got > want {
		t.Errorf("%s allocates %v times; want %v", what, got, want)
	}
}

// drain reads what comes and makes nothing of it.
func drain(conn net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}

func TestASynchronousSendAllocatesNothing(t *testing.T) {
	for _, size := range []int{16, 4000, 100_000} {
		near, far := connectTCP(t)
		s := adopt(t, newServer(t, frames, 0), near)
		go drain(far)
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
		steady(t, "Send of a boxed message", want, send(boxed))
		steady(t, "Send of a *[]byte", want, send(&body))
	}
}

func TestAQueuedSendAllocatesNothing(t *testing.T) {
	const burst = 256
	near, far := connectTCP(t)
	s := adopt(t, newServer(t, frames, burst), near)
	go drain(far)
	body := make([]byte, 64)
	steady(t, "a burst of 256 sends", 8, func() { // those of starting the goroutine that writes it
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

// request writes a frame to a session and reads one back, on a plain conn that allocates nothing.
func request(t *testing.T, far net.Conn) func() {
	out := frame("0123456789abcdef")
	in := make([]byte, len(out))
	return func() {
		if _, err := far.Write(out); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(far, in); err != nil {
			t.Error(err)
		}
	}
}

func TestReceiveAllocatesTheMessageAndReceiveIntoNothing(t *testing.T) {
	for name, test := range map[string]struct {
		want    float64
		receive func(s *libnet.Session, buf []byte) ([]byte, error)
	}{
		"Receive":     {1, func(s *libnet.Session, _ []byte) ([]byte, error) { return s.Receive() }},
		"ReceiveInto": {0, (*libnet.Session).ReceiveInto},
	} {
		for _, queue := range []int{0, 64} {
			near, far := connectTCP(t)
			s := adopt(t, newServer(t, frames, queue), near)
			go func() {
				buf := make([]byte, 0, 64)
				for {
					var err error
					if buf, err = test.receive(s, buf); err != nil {
						return
					}
					if err := s.Send(&buf); err != nil {
						return
					}
				}
			}()
			steady(t, "an echo with "+name, test.want, request(t, far))
		}
	}
}
