package ends

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// docs/ends.md: the peer half-closes: messages that Send had taken: all are delivered.
func halfClose(t *testing.T, connect testkit.Connector, queue, rounds int) {
	lostSessions, lost := 0, 0
	for range rounds {
		srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, queue)
		srv.Logger = testkit.Quiet
		near, far := connect(t)
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		var accepted atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() { // the receiver
			for {
				if _, err := s.Receive(); err != nil {
					return
				}
			}
		})
		for range 3 {
			wg.Go(func() { // pushes until it is told
				for i := 0; ; i++ {
					switch s.Send([]byte("0123456789")) {
					case nil:
						accepted.Add(1)
					case libnet.ErrSessionBlocked:
					default:
						return
					}
					for range i % 7 {
						runtime.Gosched()
					}
					_ = s.Err()
				}
			})
		}
		got := make(chan int, 1)
		go func() {
			data, _ := io.ReadAll(far)
			got <- len(data) / 14
		}()
		time.Sleep(200 * time.Microsecond)
		_ = far.(interface{ CloseWrite() error }).CloseWrite()
		wg.Wait()
		<-s.Done()
		n := <-got
		stats := s.Stats()
		if n != int(accepted.Load()) {
			lostSessions++
			lost += int(accepted.Load()) - n
		}
		if int64(stats.MessagesOut+stats.Discarded) != accepted.Load() && queue > 0 {
			t.Errorf("accepted %d: %+v", accepted.Load(), stats)
		}
		_ = far.Close()
		srv.Stop()
	}
	if lost > 0 {
		t.Errorf("%d accepted messages lost on %d of %d sessions whose peer only half-closed", lost, lostSessions, rounds)
	}
}

func TestWhatSendTookIsDeliveredToAPeerThatHalfCloses(t *testing.T) {
	for name, connect := range map[string]testkit.Connector{"TCP": testkit.ConnectTCP, "pipe": testkit.ConnectPipe} {
		t.Run(name, func(t *testing.T) { halfClose(t, connect, 64, 200) })
	}
}

// The peer half-closes after a request; the reply, sent by another goroutine, is queued before the end is seen.
func TestAReplyThatSendTookAfterAHalfCloseIsDelivered(t *testing.T) {
	for _, mode := range []string{"Serve", "ServeMessages"} {
		t.Run(mode, func(t *testing.T) {
			srv, err := libnet.Serve("tcp", "127.0.0.1:0", testkit.Frames, 8)
			if err != nil {
				t.Fatal(err)
			}
			srv.Logger = testkit.Quiet
			defer srv.Stop()
			var accepted atomic.Int64
			handle := func(s *libnet.Session, _ []byte) {
				go func() {
					if s.Send([]byte("reply")) == nil {
						accepted.Add(1)
					}
				}()
			}
			go func() {
				if mode == "ServeMessages" {
					_ = srv.ServeMessages(libnet.MessageHandlerFunc(handle))
					return
				}
				_ = testkit.ReceiveLoop(srv, libnet.MessageHandlerFunc(handle))
			}()
			var replies atomic.Int64
			var clients sync.WaitGroup
			ask := func() {
				conn, err := net.Dial("tcp", srv.Listener().Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = conn.Write(testkit.Frame("request"))
				_ = conn.(*net.TCPConn).CloseWrite()
				data, _ := io.ReadAll(conn)
				replies.Add(int64(len(data) / 9))
				_ = conn.Close()
			}
			for range 8 {
				clients.Go(func() {
					for range 200 {
						ask()
					}
				})
			}
			clients.Wait()
			testkit.Eventually(t, "as many replies as Send took", func() bool { return accepted.Load() == replies.Load() })
		})
	}
}

// wrappedConn is what a listener of a user's makes of a conn: it has no half-close of its own.
type wrappedConn struct{ net.Conn }

// A wrapper has the half-close of what it embeds: without one, what the peer has sent and nobody reads would have the
// kernel reset the connection, and the peer lose what was on its way.
func TestAShutdownOverAWrappedConnDeliversToAPeerThatSends(t *testing.T) {
	near, far := testkit.ConnectTCP(t)
	srv := testkit.NewServer(t, testkit.Frames, 1000)
	srv.SendQueueBytes = 32 << 20
	s := testkit.Adopt(t, srv, wrappedConn{near})
	_ = far.(*net.TCPConn).SetReadBuffer(32 << 10)
	const messages, size = 100, 30000
	testkit.MustWrite(t, far, bytes.Repeat(testkit.Frame("unread"), 100))
	for range messages {
		testkit.MustSend(t, s, make([]byte, size))
	}
	shut := make(chan error, 1)
	go func() { shut <- s.Shutdown(t.Context()) }()
	testkit.Eventually(t, "a session that refuses sends", s.IsClosed)
	n, err := io.Copy(io.Discard, far)
	_ = far.Close()
	if want := int64(messages * (size + len(testkit.Frame("")))); n != want || err != nil {
		t.Errorf("the peer got %d bytes of %d, %v", n, want, err)
	}
	if err := <-shut; err != nil {
		t.Error(err)
	}
}
