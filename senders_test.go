package libnet_test

import (
	"testing"

	"github.com/libnet-go/libnet"
)

// sendFromMany sends numbered messages from several goroutines, each its own, of sizes from none to more
// than a socket's buffer holds.
func sendFromMany(t *testing.T, s *libnet.Session, senders, messages int) {
	t.Helper()
	for sender := range senders {
		go func() {
			for i := range messages {
				size := i % 50
				if i%97 == 0 {
					size = 70_000
				}
				if err := s.Send(message(sender, i, size)); err != nil {
					t.Errorf("sender %d, message %d: %v", sender, i, err)
					_ = s.Close()
					return
				}
			}
		}()
	}
}

// receiveFromMany expects every message of sendFromMany whole, and each sender's in order.
func receiveFromMany(t *testing.T, s *libnet.Session, senders, messages int) {
	t.Helper()
	next := make([]int, senders)
	for received := range senders * messages {
		msg, err := s.Receive()
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", received, senders*messages, err)
		}
		sender, number := parseMessage(t, msg)
		if sender >= senders || number != next[sender] {
			t.Fatalf("received message %d of sender %d; want %v", number, sender, next)
		}
		next[sender]++
	}
}
