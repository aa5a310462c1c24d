package libnet_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestAServerRemembersTheSessionsThatClosedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		if last := srv.LastClosed(); len(last) != 0 {
			t.Errorf("before any session: %v", last)
		}
		reason := errors.New("a reason of the test's")
		var ids []uint64
		for i := range 100 {
			near, far := libnettest.Pipe()
			s := testkit.Adopt(t, srv, near)
			testkit.MustWrite(t, far, testkit.Frame("hello"))
			testkit.MustReceive(t, s, "hello")
			time.Sleep(time.Second)
			_ = s.CloseWithError(reason)
			_ = far.Close()
			ids = append(ids, s.ID())
			last := srv.LastClosed()
			if len(last) != min(i+1, 64) {
				t.Fatalf("%d closed, %d remembered", i+1, len(last))
			}
			for j, c := range last {
				if c.ID != ids[i-j] {
					t.Fatalf("after %d: number %d is session %d; want %d", i+1, j, c.ID, ids[i-j])
				}
			}
			c := last[0]
			if c.Err != reason || !c.Closed.Equal(time.Now()) || c.RemoteAddr != near.RemoteAddr() || c.Stats != s.Stats() || c.Stats.MessagesIn != 1 {
				t.Fatalf("%+v", c)
			}
		}
	})
}

// addrPanics is a conn of a user's that cannot say who is at its other end.
type addrPanics struct{ net.Conn }

func (addrPanics) RemoteAddr() net.Addr { panic("no address") }

func TestAConnWhoseAddressPanicsIsRememberedWithoutOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		near, far := libnettest.Pipe()
		defer far.Close()
		_ = testkit.Adopt(t, srv, addrPanics{near}).Close()
		if last := srv.LastClosed(); len(last) != 1 || last[0].RemoteAddr != nil || srv.Stats().Open != 0 {
			t.Errorf("remembered %+v, %d open", last, srv.Stats().Open)
		}
	})
}

func TestStoppingIsClosedWhenAShutdownBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		near, far := libnettest.Pipe()
		defer far.Close()
		s := testkit.Adopt(t, srv, near)
		select {
		case <-srv.Stopping():
			t.Fatal("stopping before anybody asked for it")
		default:
		}
		ended := make(chan error, 1)
		go func() { ended <- srv.Shutdown(context.Background()) }()
		<-srv.Stopping() // while the session still waits for its peer's end
		synctest.Wait()
		select {
		case <-s.Done():
			t.Error("the session has ended before its peer")
		case <-ended:
			t.Error("the shutdown has ended before the session")
		default:
		}
		_ = far.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if last := srv.LastClosed(); len(last) != 1 || libnet.CloseReason(last[0].Err) != "server_closed" {
			t.Errorf("remembered %+v", last)
		}
	})
}
