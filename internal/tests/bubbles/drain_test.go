package bubbles

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// A drainRig is a server in memory with clients of which each notes when it was ended.
type drainRig struct {
	srv    *libnet.Server
	served chan error
	ends   []chan time.Duration
	began  time.Time
}

func newDrainRig(t *testing.T, clients int) *drainRig {
	t.Helper()
	l := libnettest.NewListener()
	r := &drainRig{srv: libnet.NewServer(l, testkit.Frames, 16), served: make(chan error, 1), began: time.Now()}
	r.srv.Logger = testkit.Quiet
	go func() {
		r.served <- r.srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
			for msg := range s.Messages() {
				_ = s.SendBytes(msg)
			}
		}))
	}()
	for range clients {
		conn, err := l.Dial()
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan time.Duration, 1)
		r.ends = append(r.ends, end)
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			end <- time.Since(r.began)
			_ = conn.Close()
		}()
	}
	synctest.Wait()
	return r
}

func TestDrainSpreadsTheEndsEvenlyOverItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDrainRig(t, 60)
		testkit.WantErr(t, "Drain", r.srv.Drain(t.Context(), time.Minute), nil)
		testkit.WantErr(t, "Serve", <-r.served, libnet.ErrServerClosed)
		perSecond := make(map[int]int)
		for _, end := range r.ends {
			perSecond[int((<-end).Seconds())]++
		}
		for second := range 60 {
			if n := perSecond[second]; n != 1 {
				t.Errorf("%d clients were ended in second %d", n, second)
			}
		}
	})
}

func TestDrainEndsWithItsSessionsAndWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDrainRig(t, 3)
		go func() {
			time.Sleep(5 * time.Second)
			for s := range r.srv.Manager().All() {
				_ = s.Close()
			}
		}()
		testkit.WantErr(t, "Drain", r.srv.Drain(t.Context(), time.Hour), nil)
		if took := time.Since(r.began); took > 10*time.Second {
			t.Errorf("without a session it went on for %v", took)
		}
		<-r.served
	})
	synctest.Test(t, func(t *testing.T) {
		r := newDrainRig(t, 10)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		testkit.WantErr(t, "Drain", r.srv.Drain(ctx, time.Hour), nil)
		if took := time.Since(r.began); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("with 20 s it took %v", took)
		}
		<-r.served
	})
}

func TestASessionIsServedUntilItIsItsTurnToBeDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := libnettest.NewListener()
		srv := libnet.NewServer(l, testkit.Frames, 16)
		srv.Logger = testkit.Quiet
		go func() {
			_ = srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.SendBytes(msg) }))
		}()
		var conns []net.Conn
		for range 2 {
			conn, err := l.Dial()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conns = append(conns, conn)
		}
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- srv.Drain(t.Context(), 10*time.Second) }()
		time.Sleep(time.Second) // one has had its turn
		answered := 0
		for _, conn := range conns {
			_, _ = conn.Write(testkit.Frame("x"))
			if msg, err := testkit.ReadFrame(conn); string(msg) == "x" && err == nil {
				answered++
			}
			go func() { _, _ = io.Copy(io.Discard, conn); _ = conn.Close() }()
		}
		if answered != 1 {
			t.Errorf("after a tenth of the time %d of 2 sessions are served", answered)
		}
		testkit.WantErr(t, "Drain", <-drained, nil)
	})
}
