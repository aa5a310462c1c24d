package libnet_test

import (
	"testing"

	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestK9AWriteThatFailsIsReportedWhereverItFails(t *testing.T) {
	for _, p := range testkit.Protocols {
		t.Run(p.Name, func(t *testing.T) {
			libnettest.Sweep(t, libnettest.OpWrite, libnettest.SingleFaults()[:3], func(t *testing.T, faults *libnettest.Faults) {
				near, far := testkit.ConnectPipe(t)
				s := testkit.Adopt(t, testkit.NewServer(t, p.Protocol, 0), faults.Wrap(near))
				sent := 0
				for sent < 4 && s.Send(testkit.Message(1, sent, 10)) == nil {
					sent++
				}
				_ = s.Close()
				peer := testkit.NewTwoWrites(far)
				for i := range sent {
					msg, err := peer.Receive()
					if err != nil {
						t.Fatalf("Send returned nil for %d messages, the peer got %d: %v", sent, i, err)
					}
					testkit.ParseMessage(t, msg)
				}
				if msg, err := peer.Receive(); err == nil {
					t.Errorf("the peer got %q although its Send had failed", msg)
				}
			})
		})
	}
}

func TestK12ABatchOfMessagesIsFewWritesAndReads(t *testing.T) {
	const messages = 1000
	for _, p := range testkit.Protocols {
		t.Run(p.Name, func(t *testing.T) {
			near, far := testkit.ConnectPipe(t)
			var out, in libnettest.Faults
			a := testkit.Adopt(t, testkit.NewServer(t, p.Protocol, messages), out.Wrap(near))
			b := testkit.Adopt(t, testkit.NewServer(t, p.Protocol, messages), in.Wrap(far))
			far.(*libnettest.PipeConn).Unplug() // so that all of it is there when the first read takes place
			for i := range messages {
				testkit.MustSend(t, a, testkit.Message(0, i, 16))
			}
			testkit.Eventually(t, "written", func() bool { return a.Stats().Queued == 0 })
			far.(*libnettest.PipeConn).Plug()
			for i := range messages {
				msg, err := b.Receive()
				if err != nil {
					t.Fatal(err)
				}
				if _, number := testkit.ParseMessage(t, msg); number != i {
					t.Fatalf("received message %d; want %d", number, i)
				}
			}
			if n := in.Calls(libnettest.OpRead); n > messages/20 {
				t.Errorf("%d messages took %d reads", messages, n)
			}
			if n := out.Calls(libnettest.OpWrite); n > messages/2 {
				t.Errorf("%d messages took %d writes", messages, n)
			}
		})
	}
}
