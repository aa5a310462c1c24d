package libnet_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// listenOn returns a server on a network, "tcp", "unix", "tls" or "pipe", and what dials it.
func listenOn(t testing.TB, network string, queue int, set func(*libnet.Server)) (*libnet.Server, func() net.Conn) {
	t.Helper()
	var l net.Listener
	var err error
	switch network {
	case "pipe":
		l = libnettest.NewListener()
	case "unix":
		l, err = net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	default:
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	srv := libnet.NewServer(l, testkit.Frames, queue)
	srv.Logger = testkit.Quiet
	if network == "tls" {
		srv.TLSConfig = testkit.ServerTLS()
	}
	if set != nil {
		set(srv)
	}
	t.Cleanup(srv.Stop)
	return srv, func() net.Conn {
		conn, err := dialOn(network, l)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}

func dialOn(network string, l net.Listener) (net.Conn, error) {
	switch network {
	case "pipe":
		return l.(*libnettest.Listener).Dial()
	case "tls":
		return tls.Dial("tcp", l.Addr().String(), testkit.ClientTLS())
	}
	return net.Dial(network, l.Addr().String())
}

// serveEach serves in a mode, with a function for each message: its error ends the session.
func serveEach(srv *libnet.Server, mode string, each func(s *libnet.Session, msg []byte)) {
	if mode == "event" {
		_ = srv.ServeMessages(libnet.MessageHandlerFunc(each))
		return
	}
	_ = srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		for {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			each(s, msg)
		}
	}))
}

// A peer that writes and closes at once has its messages received though the replies to the first find nobody: what has
// arrived does not depend on what can be sent.
func TestMessagesThatArrivedAreReceivedThoughASendFails(t *testing.T) {
	const messages = 100
	for _, network := range []string{"tcp", "unix", "tls", "pipe"} {
		for _, queue := range []int{0, 64} {
			for _, mode := range []string{"serve", "event"} {
				t.Run(fmt.Sprint(network, ", queue ", queue, ", ", mode), func(t *testing.T) {
					srv, dial := listenOn(t, network, queue, nil)
					var got atomic.Int32
					go serveEach(srv, mode, func(s *libnet.Session, msg []byte) {
						time.Sleep(200 * time.Microsecond)
						_ = s.Send(msg)
						got.Add(1)
					})
					conn := dial()
					testkit.MustWrite(t, conn, bytes.Repeat(testkit.Frame("a request"), messages)) // in one segment: a reset loses what is not sent
					_ = conn.Close()
					testkit.Eventually(t, "the end", func() bool { st := srv.Stats(); return st.Accepted == 1 && st.Open == 0 })
					if n := got.Load(); n != messages {
						t.Errorf("received %d of %d messages that had arrived", n, messages)
					}
					if st := srv.Stats(); st.MessagesIn != messages {
						t.Errorf("Stats has %d messages in", st.MessagesIn)
					}
				})
			}
		}
	}
}

func TestHeartbeatsThatFailLoseNoMessageThatArrived(t *testing.T) {
	srv, dial := listenOn(t, "tcp", 8, func(srv *libnet.Server) {
		srv.Heartbeat = libnet.Heartbeat{Interval: time.Millisecond, Message: func(*libnet.Session) any { return []byte("beat") }}
	})
	var got atomic.Int32
	go serveEach(srv, "serve", func(*libnet.Session, []byte) { time.Sleep(time.Millisecond); got.Add(1) })
	conn := dial()
	testkit.MustWrite(t, conn, bytes.Repeat(testkit.Frame("a request"), 50))
	_ = conn.Close()
	testkit.Eventually(t, "the end", func() bool { st := srv.Stats(); return st.Accepted == 1 && st.Open == 0 })
	if n := got.Load(); n != 50 {
		t.Errorf("received %d of 50 messages that had arrived", n)
	}
}

func TestASessionWhoseOutputFailedEndsThoughNobodyReceives(t *testing.T) {
	for _, network := range []string{"tcp", "unix", "tls", "pipe"} {
		t.Run(network, func(t *testing.T) {
			srv, dial := listenOn(t, network, 8, func(srv *libnet.Server) { srv.Linger = 300 * time.Millisecond })
			made := make(chan *libnet.Session, 1)
			go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
				_ = s.Send([]byte("hello"))
				made <- s
				<-s.Done()
			}))
			conn := dial()
			testkit.MustWrite(t, conn, testkit.Frame("nobody receives this"))
			s := <-made
			_ = conn.Close()
			var err error
			testkit.Eventually(t, "an error of Send", func() bool { err = s.Send([]byte("x")); return err != nil })
			testkit.Await(t, testkit.Patience, "the end", s.Done())
			if s.Err() != err || errors.Is(err, libnet.ErrSessionClosed) {
				t.Errorf("Send = %v, and the session ended with %v", err, s.Err())
			}
		})
	}
}

// A session is closing before its queue refuses: who is refused learns why, whatever fails at the time.
func TestSendHasTheReasonOfAnEndThatNobodyAskedFor(t *testing.T) {
	for _, queue := range []int{0, 4} {
		for range 60 {
			near, far := libnettest.Pipe()
			s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, queue), near)
			refused := make(chan error, 4)
			for range cap(refused) {
				go func() {
					for {
						if err := s.Send(make([]byte, 100)); err != nil && err != libnet.ErrSessionBlocked {
							refused <- err
							return
						}
					}
				}()
			}
			go io.Copy(io.Discard, far)
			_ = far.(*libnettest.PipeConn).Reset()
			for range cap(refused) {
				if err := <-refused; errors.Is(err, net.ErrClosed) {
					t.Fatalf("Send = %v, and nobody has closed the session, which ended with %v", err, s.Err())
				}
			}
		}
	}
}

func TestSilentPeersOfATLSServerEnd(t *testing.T) {
	for name, set := range map[string]func(*libnet.Server) libnet.HandlerFunc{
		"the handler sends and returns": func(*libnet.Server) libnet.HandlerFunc {
			return func(s *libnet.Session) { _ = s.Send([]byte("hello")) }
		},
		"without HandshakeTimeout": func(srv *libnet.Server) libnet.HandlerFunc {
			srv.HandshakeTimeout = 0
			return func(s *libnet.Session) { _ = s.Send([]byte("hello")); _, _ = s.Receive() }
		},
		"without WriteTimeout": func(srv *libnet.Server) libnet.HandlerFunc {
			srv.WriteTimeout = -1
			return func(s *libnet.Session) { _ = s.Send([]byte("hello")) }
		},
		"OnSession refuses with a word": func(srv *libnet.Server) libnet.HandlerFunc {
			srv.OnSession = func(s *libnet.Session) error { _ = s.Send([]byte("no")); return errors.New("refused") }
			return func(*libnet.Session) {}
		},
		"the handler asks for the certificate": func(*libnet.Server) libnet.HandlerFunc {
			return func(s *libnet.Session) { _, _ = s.TLS(); <-s.Done() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			var handler libnet.HandlerFunc
			srv, _ := listenOn(t, "tls", 8, func(srv *libnet.Server) {
				srv.HandshakeTimeout, srv.WriteTimeout, srv.Linger = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
				handler = set(srv)
			})
			go srv.Serve(handler)
			silentPeers(t, srv, 5)
			testkit.Eventually(t, "the end of all", func() bool { st := srv.Stats(); return st.Accepted == 5 && st.Open == 0 })
		})
	}
}

func TestAShutdownWithoutAnEndOfItsOwnEndsSilentTLSPeers(t *testing.T) {
	srv, _ := listenOn(t, "tls", 8, func(srv *libnet.Server) { srv.WriteTimeout, srv.Linger = 300*time.Millisecond, 300*time.Millisecond })
	go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) { _ = s.Send([]byte("hello")); _, _ = s.Receive() }))
	silentPeers(t, srv, 5)
	testkit.Eventually(t, "sessions", func() bool { return srv.Stats().Open == 5 })
	testkit.Within(t, testkit.Patience, "Shutdown", func() { _ = srv.Shutdown(t.Context()) })
}

func silentPeers(t *testing.T, srv *libnet.Server, n int) {
	t.Helper()
	for range n {
		conn, err := net.Dial("tcp", srv.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
}

// The kernel calls a socket writable when a third to three quarters of its buffer are free: a peer that reads slowly
// makes progress long before.
func TestAPeerThatReadsSlowlyIsNotTakenForOneThatDoesNot(t *testing.T) {
	testkit.Slow(t)
	for _, network := range []string{"tcp", "unix", "tls"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			srv, dial := listenOn(t, network, 64, func(srv *libnet.Server) {
				srv.WriteTimeout, srv.Linger, srv.SendQueueBytes = 600*time.Millisecond, 200*time.Millisecond, 16<<20
			})
			made := make(chan *libnet.Session, 1)
			go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) { made <- s; _, _ = s.Receive() }))
			conn := dial()
			s := <-made
			for range 16 {
				testkit.MustSend(t, s, make([]byte, 256<<10))
			}
			sip := make([]byte, 12<<10) // 150 KB in a WriteTimeout: a receiver's window opens by 64 KB on a loopback interface
			for begun := time.Now(); time.Since(begun) < 3*time.Second; time.Sleep(50 * time.Millisecond) {
				if _, err := io.ReadFull(conn, sip); err != nil {
					t.Fatalf("after %v: %v, %v", time.Since(begun), err, s.Err())
				}
			}
			if s.IsClosed() {
				t.Fatalf("ended: %v", s.Err())
			}
			wantEnd(t, s, libnet.ErrWriteTimeout)
		})
	}
}
