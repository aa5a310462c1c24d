//go:build schedules

package schedules

import (
	"io"
	"net"
	"testing"
	"testing/synctest"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// holdsOf counts how often f takes a lock of the class. Nobody else is at work.
func holdsOf(class string, f func()) (n int) {
	synctest.Wait()
	lock.Yield = func(op, of string, _ func() bool) {
		if op == "lock" && of == class {
			n++
		}
	}
	defer func() { lock.Yield = nil }()
	f()
	return n
}

// A message of a plain codec takes the queue's lock before its codec is called, with each of its writes, and behind it.
func TestAMessageOfAPlainCodecTakesTheQueuesLockFourTimesWithTwoWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return testkit.NewTwoWrites(rw) })
		srv := libnet.NewServer(libnettest.NewListener(), p, 8)
		srv.Logger = testkit.Quiet
		near, far := net.Pipe()
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		msg := []byte("a message")
		testkit.MustSend(t, s, msg) // which nobody reads: it is in flight
		if n := holdsOf("queueLock", func() { testkit.MustSend(t, s, msg) }); n != 4 {
			t.Errorf("a message takes the lock %d times", n)
		}
		if n := holdsOf("sessionLock", func() { testkit.MustSend(t, s, msg) }); n != 0 {
			t.Errorf("and the session's %d times", n)
		}
		_, _ = far.Close(), s.Close()
	})
}
