package testkit

import (
	"encoding/binary"
	"testing"

	"github.com/libnet-go/libnet"
)

// Message is numbered and has a body that tells if bytes of two messages were mixed.
func Message(sender, number, size int) []byte {
	msg := make([]byte, 8, 8+size)
	binary.BigEndian.PutUint32(msg, uint32(sender))
	binary.BigEndian.PutUint32(msg[4:], uint32(number))
	for i := range size {
		msg = append(msg, byte(sender*31+number+i))
	}
	return msg
}

// ParseMessage fails the test for what Message did not make.
func ParseMessage(t testing.TB, msg []byte) (sender, number int) {
	t.Helper()
	if len(msg) < 8 {
		t.Fatalf("received %d bytes that nobody sent: %q", len(msg), msg)
	}
	sender = int(binary.BigEndian.Uint32(msg))
	number = int(binary.BigEndian.Uint32(msg[4:]))
	for i, b := range msg[8:] {
		if b != byte(sender*31+number+i) {
			t.Fatalf("message %d of sender %d is torn at byte %d of %d", number, sender, i, len(msg)-8)
		}
	}
	return sender, number
}

// SendFromMany sends numbered messages from several goroutines, each its own, of sizes from none to more
// than a socket's buffer holds.
func SendFromMany(t *testing.T, s *libnet.Session, senders, messages int) {
	t.Helper()
	for sender := range senders {
		go func() {
			for i := range messages {
				size := i % 50
				if i%97 == 0 {
					size = 70_000
				}
				if err := s.Send(Message(sender, i, size)); err != nil {
					t.Errorf("sender %d, message %d: %v", sender, i, err)
					_ = s.Close()
					return
				}
			}
		}()
	}
}

// ReceiveFromMany expects every message of SendFromMany whole, and each sender's in order.
func ReceiveFromMany(t *testing.T, s *libnet.Session, senders, messages int) {
	t.Helper()
	next := make([]int, senders)
	for received := range senders * messages {
		msg, err := s.Receive()
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", received, senders*messages, err)
		}
		sender, number := ParseMessage(t, msg)
		if sender >= senders || number != next[sender] {
			t.Fatalf("received message %d of sender %d; want %v", number, sender, next)
		}
		next[sender]++
	}
}
