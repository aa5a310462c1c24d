package libnet_test

import (
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

func TestK9AWriteThatFailsIsReportedWhereverItFails(t *testing.T) {
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			libnettest.Sweep(t, libnettest.OpWrite, libnettest.SingleFaults()[:3], func(t *testing.T, faults *libnettest.Faults) {
				near, far := connectPipe(t)
				s := adopt(t, newServer(t, p.protocol, 0), faults.Wrap(near))
				sent := 0
				for sent < 4 && s.Send(message(1, sent, 10)) == nil {
					sent++
				}
				_ = s.Close()
				peer := &twoWrites{far}
				for i := range sent {
					msg, err := peer.Receive()
					if err != nil {
						t.Fatalf("Send returned nil for %d messages, the peer got %d: %v", sent, i, err)
					}
					parseMessage(t, msg)
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
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			near, far := connectPipe(t)
			var out, in libnettest.Faults
			a := adopt(t, newServer(t, p.protocol, messages), out.Wrap(near))
			b := adopt(t, newServer(t, p.protocol, messages), in.Wrap(far))
			far.(*libnettest.PipeConn).Unplug() // so that all of it is there when the first read takes place
			for i := range messages {
				mustSend(t, a, message(0, i, 16))
			}
			eventually(t, "written", func() bool { return a.Stats().Queued == 0 })
			far.(*libnettest.PipeConn).Plug()
			for i := range messages {
				msg, err := b.Receive()
				if err != nil {
					t.Fatal(err)
				}
				if _, number := parseMessage(t, msg); number != i {
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
