package eventmode

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

func TestEveryModeAccountsForEachAcceptedMessage(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		r := mode.Start(t, nil, testkit.EchoMessage)
		for round := range 10 {
			conn, s := r.Open()
			go testkit.Drain(conn)
			var accepted atomic.Uint64
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for !s.IsClosed() {
						if s.Send(make([]byte, 100)) == nil {
							accepted.Add(1)
						}
					}
				})
			}
			time.Sleep(time.Duration(round) * time.Millisecond / 2) // so that it ends at various points
			_ = s.Close()
			wg.Wait()
			if stats := s.Stats(); stats.MessagesOut+stats.Discarded != accepted.Load() || stats.Queued != 0 {
				t.Fatalf("accepted %d: %+v", accepted.Load(), stats)
			}
		}
	})
}

func TestEveryModeShutsDownWithoutLossWhilePeersGoOnSending(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		const clients = 4
		var accepted, got atomic.Int64
		r := mode.Start(t, func(srv *libnet.Server) { srv.SendQueue = 1 << 10 }, func(s *libnet.Session, msg []byte) {
			if s.Send(msg) == nil {
				accepted.Add(1)
			}
		})
		var wg sync.WaitGroup
		for range clients {
			conn := r.Dial()
			testkit.MustWrite(t, conn, testkit.Frame("first")) // completes a handshake
			testkit.WantFrame(t, conn, "first")
			got.Add(1)
			ended := make(chan struct{})
			wg.Go(func() {
				defer close(ended)
				for {
					if _, err := testkit.ReadFrame(conn); err != nil {
						if err != io.EOF {
							t.Errorf("the peer's end of the stream: %v", err)
						}
						return
					}
					got.Add(1)
				}
			})
			wg.Go(func() {
				for pair := append(testkit.Frame("one"), testkit.Frame("two")...); ; {
					select {
					case <-ended:
						_ = conn.Close()
						return
					default:
						_, _ = conn.Write(pair)
					}
				}
			})
		}
		testkit.Eventually(t, "messages", func() bool { return got.Load() > 30*clients })
		if err := r.Shutdown(testkit.TimeoutContext(t, testkit.Patience)); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		wg.Wait()
		if accepted.Load() != got.Load() {
			t.Errorf("Send took %d messages, the peers got %d", accepted.Load(), got.Load())
		}
	})
}

func TestEveryModeHasTimeouts(t *testing.T) {
	const short = 300 * time.Millisecond // enough for a handshake on a busy machine
	for name, test := range map[string]struct {
		configure func(*libnet.Server)
		sent      []byte
		reason    error
	}{
		"handshake":               {func(srv *libnet.Server) { srv.HandshakeTimeout = short }, testkit.Frame("x")[:4], libnet.ErrHandshakeTimeout},
		"idle":                    {func(srv *libnet.Server) { srv.IdleTimeout = short }, testkit.Frame("x"), libnet.ErrIdleTimeout},
		"idle without a message":  {func(srv *libnet.Server) { srv.IdleTimeout = short }, nil, libnet.ErrIdleTimeout},
		"frame":                   {func(srv *libnet.Server) { srv.FrameTimeout = short }, testkit.Frame("x")[:1], libnet.ErrFrameTimeout},
		"frame behind a message":  {func(srv *libnet.Server) { srv.FrameTimeout = short }, append(testkit.Frame("x"), 0), libnet.ErrFrameTimeout},
		"idle behind a heartbeat": {beat(short, short), nil, libnet.ErrIdleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.OverModesAtOnce(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
				r := mode.Start(t, test.configure, testkit.EchoMessage)
				conn, s := r.Open()
				testkit.MustWrite(t, conn, test.sent)
				r.WantClosed(s, test.reason)
			})
		})
	}
}

func beat(interval, idle time.Duration) func(*libnet.Server) {
	return func(srv *libnet.Server) {
		srv.Heartbeat = libnet.Heartbeat{Interval: interval, Message: func(*libnet.Session) any { return []byte("beat") }}
		srv.IdleTimeout = idle
	}
}

func TestEveryModeSendsHeartbeatsAndKeepsAPeerThatAnswersThem(t *testing.T) {
	testkit.OverModesAtOnce(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		r := mode.Start(t, beat(10*time.Millisecond, time.Second), func(*libnet.Session, []byte) {})
		conn, s := r.Open()
		for range 5 {
			testkit.WantFrame(t, conn, "beat")
			testkit.MustWrite(t, conn, testkit.Frame("answer"))
		}
		if s.IsClosed() {
			t.Errorf("closed: %v", s.Err())
		}
	})
}

func TestEveryModeEndsTheSessionOfAHandlerThatDoesNotReturnAsItShould(t *testing.T) {
	for name, test := range map[string]struct {
		handle func(s *libnet.Session)
		reason error
	}{
		"panics":             {func(*libnet.Session) { panic("no") }, libnet.ErrPanic},
		"ends its goroutine": {func(*libnet.Session) { runtime.Goexit() }, libnet.ErrSessionClosed},
		"closes":             {func(s *libnet.Session) { _ = s.Close() }, libnet.ErrSessionClosed},
		"shuts down":         {func(s *libnet.Session) { go s.Shutdown(context.Background()) }, libnet.ErrSessionClosed},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
				r := mode.Start(t, nil, func(s *libnet.Session, msg []byte) {
					if string(msg) == "end" {
						test.handle(s)
						return
					}
					_ = s.Send(msg)
				})
				other, _ := r.Open()
				conn, s := r.Open()
				testkit.Ask(t, conn, "before")
				testkit.MustWrite(t, conn, testkit.Frame("end"))
				if _, err := testkit.ReadFrame(conn); err == nil {
					t.Error("a message after the end")
				}
				_ = conn.Close()
				r.WantClosed(s, test.reason)
				testkit.Ask(t, other, "others go on")
			})
		})
	}
}

// faultyParser panics at a message of its own.
type faultyParser struct {
	libnet.Codec
	libnet.FrameParser
}

func (p faultyParser) ParseFrame(src []byte) ([]byte, int, error) {
	if bytes.Contains(src, []byte("panic")) {
		panic("cannot parse")
	}
	return p.FrameParser.ParseFrame(src)
}

func TestEveryModeEndsTheSessionOfACodecThatPanics(t *testing.T) {
	testkit.OverModes(t, testkit.Modes[:5], func(t *testing.T, mode testkit.Mode) {
		mode.Protocol = libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			codec := testkit.Frames.NewCodec(rw)
			return faultyParser{codec, codec.(libnet.FrameParser)}
		})
		r := mode.Start(t, nil, testkit.EchoMessage)
		conn, s := r.Open()
		testkit.Ask(t, conn, "before")
		testkit.MustWrite(t, conn, testkit.Frame("panic"))
		r.WantClosed(s, libnet.ErrPanic)
		if stats := r.Stats(); stats.Panics != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestEveryModeBroadcastsFromTheHandler(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		var room libnet.Group[string]
		r := mode.Start(t, nil, func(s *libnet.Session, msg []byte) {
			if s.State == nil {
				s.State = string(msg)
				room.Put(string(msg), s)
				_ = s.Send([]byte("welcome"))
				return
			}
			room.Broadcast(msg)
		})
		names := []string{"ann", "bob", "eve"}
		var conns []net.Conn
		for _, name := range names {
			conn := r.Dial()
			testkit.MustWrite(t, conn, testkit.Frame(name))
			testkit.WantFrame(t, conn, "welcome")
			conns = append(conns, conn)
		}
		testkit.MustWrite(t, conns[0], append(testkit.Frame("hello"), testkit.Frame("all")...))
		for _, conn := range conns {
			testkit.WantFrame(t, conn, "hello")
			testkit.WantFrame(t, conn, "all")
		}
		_ = conns[2].Close()
		testkit.Eventually(t, "eve to leave", func() bool { return room.Len() == 2 })
	})
}

func TestEveryModeServesOthersWhileAPeerDoesNotRead(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		const replies = 40
		r := mode.Start(t, func(srv *libnet.Server) { srv.SendBuffer, srv.SendQueueBytes = 32<<10, 4<<20 }, func(s *libnet.Session, msg []byte) {
			if string(msg) != "flood" {
				_ = s.Send(msg)
				return
			}
			for i := range replies { // more than the kernel takes
				if err := s.Send(testkit.Message(7, i, 50_000)); err != nil {
					t.Errorf("Send: %v", err)
				}
			}
		})
		slow, s := r.Open()
		testkit.MustWrite(t, slow, testkit.Frame("flood"))
		testkit.Eventually(t, "the flood", func() bool { return s.Stats().MessagesOut > 0 || s.Stats().Queued == replies })
		other, _ := r.Open()
		for range 10 {
			testkit.Ask(t, other, "not held up")
		}
		testkit.MustWrite(t, slow, testkit.Frame("late"))
		for i := range replies {
			msg, err := testkit.ReadFrame(slow)
			if err != nil {
				t.Fatal(err)
			}
			if _, number := testkit.ParseMessage(t, msg); number != i {
				t.Fatalf("reply %d came as number %d", number, i)
			}
		}
		testkit.WantFrame(t, slow, "late")
		testkit.Ask(t, slow, "as before")
	})
}

func TestEveryModeEndsASessionWhosePeerNeverReads(t *testing.T) {
	testkit.OverModesAtOnce(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		for name, queue := range map[string]int{"synchronous": -1, "queued": 200} {
			t.Run(name, func(t *testing.T) {
				r := mode.Start(t, func(srv *libnet.Server) {
					srv.SendQueue, srv.SendQueueBytes, srv.SendBuffer, srv.WriteTimeout = queue, -1, 4<<10, 40*time.Millisecond
				}, func(s *libnet.Session, msg []byte) {
					for range 200 {
						if s.Send(make([]byte, 64<<10)) != nil {
							return
						}
					}
				})
				conn, s := r.Open()
				testkit.MustWrite(t, conn, testkit.Frame("go on"))
				r.WantClosed(s, libnet.ErrWriteTimeout)
			})
		}
	})
}

func TestEveryModeSendsSynchronously(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		for name, configure := range map[string]func(*libnet.Server){
			"without a queue":       func(srv *libnet.Server) { srv.SendQueue = 0 },
			"waiting for the queue": func(srv *libnet.Server) { srv.SendQueue = 1 },
			"waiting for its bytes": func(srv *libnet.Server) { srv.SendQueueBytes = 1 },
		} {
			t.Run(name, func(t *testing.T) {
				r := mode.Start(t, configure, func(s *libnet.Session, msg []byte) {
					for range 10 {
						if err := s.SendContext(t.Context(), msg); err != nil {
							t.Errorf("SendContext: %v", err)
						}
					}
				})
				conn := r.Dial()
				testkit.MustWrite(t, conn, bytes.Repeat(testkit.Frame("ten times"), 3))
				for range 30 {
					testkit.WantFrame(t, conn, "ten times")
				}
			})
		}
	})
}

func TestEveryModeLetsAHandlerAppendToItsMessage(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		r := mode.Start(t, nil, func(s *libnet.Session, msg []byte) { _ = s.Send(append(msg, " and more than a header"...)) })
		conn := r.Dial()
		testkit.MustWrite(t, conn, append(append(testkit.Frame("one"), testkit.Frame("two")...), testkit.Frame("three")...)) // which arrive together
		for _, msg := range []string{"one", "two", "three"} {
			testkit.WantFrame(t, conn, msg+" and more than a header")
		}
	})
}

// What has arrived when a shutdown begins is served, by pollers, too, and no shutdown waits for a receiver that has
// nothing to do.
func TestServeArrivedServesWhatHasArrivedInEveryMode(t *testing.T) {
	testkit.OverModes(t, append(testkit.Modes[:4:4], testkit.Modes[6]), func(t *testing.T, mode testkit.Mode) {
		for range 20 {
			r := mode.Start(t, func(srv *libnet.Server) { srv.ServeArrived, srv.Linger = true, time.Minute },
				func(s *libnet.Session, msg []byte) { _ = s.Send(msg) })
			var conns []net.Conn
			var sessions []*libnet.Session
			for range 5 {
				conn, s := r.Open()
				testkit.Ask(t, conn, "first") // the session waits from here on
				conns, sessions = append(conns, conn), append(sessions, s)
			}
			for _, conn := range conns {
				testkit.MustWrite(t, conn, testkit.Frame("x"))
			}
			shut := make(chan error, 1)
			go func() { shut <- r.Shutdown(t.Context()) }()
			for _, conn := range conns {
				testkit.WantFrame(t, conn, "x")
				_ = conn.Close()
			}
			if err := testkit.Await(t, testkit.Patience, "Shutdown", shut); err != nil {
				t.Error(err)
			}
			for _, s := range sessions {
				<-s.Done()
			}
		}
	})
}
