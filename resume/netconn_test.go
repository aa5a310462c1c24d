package resume_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
	"github.com/libnet-go/libnet/resume"
)

type question struct{ N int }

// A Mux, its calls both ways, and a Group know nothing of the connections that end below.
func TestAMuxServesSessionsThatOutliveTheirConnections(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		far, near := mux.New(mux.JSON), mux.New(mux.JSON)
		var members libnet.Group[string]
		mux.Handle(far, "enter", func(_ context.Context, s *libnet.Session, q *question) (*question, error) {
			members.Put("near", s)
			return q, nil
		})
		var heard []int
		mux.On(near, "news", func(_ context.Context, _ *libnet.Session, q *question) error {
			heard = append(heard, q.N)
			return nil
		})
		app := libnet.NewServer(libnettest.NewListener(), codec.New(codec.Uint32BE, far), 64)
		app.Logger = testkit.Quiet
		defer app.Stop()
		r := newRig(t, func(s *resume.Server) {})
		r.server.Handler = func(s *resume.Session) { _ = app.ServeConn(s.NetConn(), far) }
		below := new(resume.Client).Start(r.over())
		s := overNetConn(t, below, near)
		peer := near.Start(s)
		for i := range 5 {
			if got, err := mux.Call[question, question](t.Context(), peer, "enter", &question{i}); err != nil || got.N != i {
				t.Fatal(got, err)
			}
			r.cut(below)
			if got := members.Broadcast(mux.Message{Kind: "news", Body: &question{i}}); got.Sent != 1 {
				t.Errorf("%+v", got)
			}
			r.up()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !slices.Equal(heard, []int{0, 1, 2, 3, 4}) || below.Stats().Resumes != 5 {
			t.Errorf("heard %v, %+v", heard, below.Stats())
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		wantEnd(t, below, libnet.ErrSessionClosed, 0)
		synctest.Wait()
		if stats := app.Stats(); stats.Open != 0 || stats.Closed["eof"] != 1 || members.Len() != 0 {
			t.Errorf("%+v, %d members", stats, members.Len())
		}
	})
}

func overNetConn(t testing.TB, s *resume.Session, marshaler codec.Marshaler) *libnet.Session {
	t.Helper()
	d := &libnet.Dialer{Protocol: codec.New(codec.Uint32BE, marshaler)}
	d.SendQueue, d.Logger = 64, testkit.Quiet
	made, err := d.NewSession(s.NetConn())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = made.Close() })
	return made
}

func TestAMessageOfANetConnIsAcknowledgedWhenItsHandlerHasReturned(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.AckDelay = -1 })
		near, far := r.start(new(resume.Client))
		above := overNetConn(t, far, codec.Bytes)
		work := make(chan bool)
		go func() {
			for range above.Messages() {
				<-work
			}
		}()
		send(t, near, "1", "2")
		synctest.Wait()
		if n := near.Stats().Acknowledged; n != 0 {
			t.Errorf("%d were acknowledged", n)
		}
		work <- true
		synctest.Wait()
		if n := near.Stats().Acknowledged; n != 1 {
			t.Errorf("%d were acknowledged", n)
		}
		_ = near.Close() // what is at work is not taken
		wantEnd(t, near, libnet.ErrSessionClosed, 1)
		close(work)
		testkit.Await(t, testkit.Patience, "the end", above.Done())
		if !errors.Is(above.Err(), io.EOF) {
			t.Error(above.Err())
		}
	})
}

func TestANetConnKeepsItsDeadlinesAndItsBounds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.MaxMessages = 2 })
		near, far := r.start(new(resume.Client))
		conn := near.NetConn()
		begin := time.Now()
		_ = conn.SetDeadline(begin.Add(time.Second))
		if _, err := conn.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Second {
			t.Error(err, time.Since(begin))
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		frames := []byte{0, 0, 0, 1, 'a', 0, 0, 0, 0, 0, 0, 0, 1, 'b'}
		var n int
		for _, part := range [][]byte{frames[:2], frames[2:5], frames[5:]} { // in pieces
			k, err := conn.Write(part)
			if n += k; err != nil && (!errors.Is(err, os.ErrDeadlineExceeded) || n != 9) {
				t.Error(n, err)
			}
		}
		if time.Since(begin) != 2*time.Second {
			t.Error("the third message did not wait for room")
		}
		receive(t, far, "a", "")
		_ = conn.SetWriteDeadline(time.Time{})
		if k, err := conn.Write(frames[n:]); k != 5 || err != nil {
			t.Error(k, err)
		}
		receive(t, far, "b")
		send(t, far, "xyz")
		_ = conn.SetReadDeadline(time.Time{})
		got := make([]byte, 7)
		for i := range got { // bytes by bytes
			if _, err := io.ReadFull(conn, got[i:i+1]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, []byte{0, 0, 0, 3, 'x', 'y', 'z'}) || conn.RemoteAddr() == nil || conn.LocalAddr() == nil {
			t.Errorf("%q, %v", got, conn.RemoteAddr())
		}
		_ = conn.Close()
		if _, err := conn.Read(got); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err := conn.Write(frames[:5]); !errors.Is(err, libnet.ErrSessionClosed) {
			t.Error(err)
		}
	})
}

// A shutdown reads on to the peer's end; what it drops is not taken.
func TestWhatAShutdownDropsOfANetConnIsNotAcknowledged(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.AckDelay = -1 })
		near, far := r.start(new(resume.Client))
		send(t, far, "not acknowledged yet") // so that the shutdown waits
		above := overNetConn(t, far, codec.Bytes)
		send(t, near, "1")
		synctest.Wait()
		msg, err := above.Receive()
		if string(msg) != "1" || err != nil {
			t.Fatal(msg, err)
		}
		go func() { _ = above.Shutdown(t.Context()) }()
		synctest.Wait()
		send(t, near, "2")
		synctest.Wait()
		receive(t, near, "not acknowledged yet")
		wantEnd(t, near, io.EOF, 2) // the shutdown came before Receive was called for more than "1"
		wantEnd(t, far, libnet.ErrSessionClosed, 0)
	})
}
