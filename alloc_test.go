package libnet_test

import (
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
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
	near, far := testkit.ConnectTCP(t)
	s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, burst), near)
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

func TestReceiveAllocatesTheMessageAndReceiveIntoNothing(t *testing.T) {
	for name, test := range map[string]struct {
		want    float64
		receive func(s *libnet.Session, buf []byte) ([]byte, error)
	}{
		"Receive":     {1, func(s *libnet.Session, _ []byte) ([]byte, error) { return s.Receive() }},
		"ReceiveInto": {0, (*libnet.Session).ReceiveInto},
	} {
		for _, queue := range []int{0, 64} {
			near, far := testkit.ConnectTCP(t)
			s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, queue), near)
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
			testkit.Steady(t, "an echo with "+name, test.want, testkit.Request(t, far))
		}
	}
}
