package handover

import (
	"net"
	"sync/atomic"
	"testing"
	"time"
)

func linked(t *testing.T) (l *link, far *net.UnixConn) {
	t.Helper()
	near, file, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		t.Fatal(err)
	}
	return newLink(near), conn.(*net.UnixConn)
}

// The other process serves once that word is written: who overlooks it has both serve.
func TestTheWordThatDecidesIsSeenWhateverContextsEnd(t *testing.T) {
	var current atomic.Pointer[link]
	stopped := make(chan struct{})
	done := make(chan struct{})
	go func() { // contexts of which one after the other ends
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			default:
			}
			if l := current.Load(); l != nil {
				_ = l.conn.SetDeadline(time.Unix(1, 0))
			}
		}
	}()
	for range 1000 {
		l, far := linked(t)
		_ = l.conn.SetDeadline(time.Unix(1, 0))
		current.Store(l)
		if _, err := far.Write([]byte{byte(kindTaken), 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		err := (&giving{link: l}).awaitTaken()
		_, _ = far.Close(), l.conn.Close()
		if err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	<-stopped
}
