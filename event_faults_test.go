package libnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
)

func TestEveryModeAccountsForEachAcceptedMessage(t *testing.T) {
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		r := mode.start(t, nil, eventEcho)
		for round := range 10 {
			conn, s := r.open()
			go drain(conn)
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
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		const clients = 4
		var accepted, got atomic.Int64
		r := mode.start(t, func(srv *libnet.Server) { srv.SendQueue = 1 << 10 }, func(s *libnet.Session, msg []byte) {
			if s.Send(msg) == nil {
				accepted.Add(1)
			}
		})
		var wg sync.WaitGroup
		for range clients {
			conn := r.dial()
			mustWrite(t, conn, frame("first")) // completes a handshake
			eventWant(t, conn, "first")
			got.Add(1)
			ended := make(chan struct{})
			wg.Go(func() {
				defer close(ended)
				for {
					if _, err := eventRead(conn); err != nil {
						if err != io.EOF {
							t.Errorf("the peer's end of the stream: %v", err)
						}
						return
					}
					got.Add(1)
				}
			})
			wg.Go(func() {
				for pair := append(frame("one"), frame("two")...); ; {
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
		eventually(t, "messages", func() bool { return got.Load() > 30*clients })
		if err := r.Shutdown(timeoutContext(t, patience)); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		wg.Wait()
		if accepted.Load() != got.Load() {
			t.Errorf("Send took %d messages, the peers got %d", accepted.Load(), got.Load())
		}
	})
}

func TestEveryModeHasTimeouts(t *testing.T) {
	const short = 40 * time.Millisecond
	for name, test := range map[string]struct {
		configure func(*libnet.Server)
		sent      []byte
		reason    error
	}{
		"handshake":               {func(srv *libnet.Server) { srv.HandshakeTimeout = short }, frame("x")[:4], libnet.ErrHandshakeTimeout},
		"idle":                    {func(srv *libnet.Server) { srv.IdleTimeout = short }, frame("x"), libnet.ErrIdleTimeout},
		"idle without a message":  {func(srv *libnet.Server) { srv.IdleTimeout = short }, nil, libnet.ErrIdleTimeout},
		"frame":                   {func(srv *libnet.Server) { srv.FrameTimeout = short }, frame("x")[:1], libnet.ErrFrameTimeout},
		"frame behind a message":  {func(srv *libnet.Server) { srv.FrameTimeout = short }, append(frame("x"), 0), libnet.ErrFrameTimeout},
		"idle behind a heartbeat": {eventBeat(short, short), nil, libnet.ErrIdleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
				r := mode.start(t, test.configure, eventEcho)
				conn, s := r.open()
				mustWrite(t, conn, test.sent)
				r.wantClosed(s, test.reason)
			})
		})
	}
}

func eventBeat(interval, idle time.Duration) func(*libnet.Server) {
	return func(srv *libnet.Server) {
		srv.Heartbeat = libnet.Heartbeat{Interval: interval, Message: func(*libnet.Session) any { return []byte("beat") }}
		srv.IdleTimeout = idle
	}
}

func TestEveryModeSendsHeartbeatsAndKeepsAPeerThatAnswersThem(t *testing.T) {
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		r := mode.start(t, eventBeat(10*time.Millisecond, time.Second), func(*libnet.Session, []byte) {})
		conn, s := r.open()
		for range 5 {
			eventWant(t, conn, "beat")
			mustWrite(t, conn, frame("answer"))
		}
		if s.IsClosed() {
			t.Errorf("closed: %v", s.Err())
		}
	})
}

func TestEveryModeRefusesSessionsBeyondItsLimits(t *testing.T) {
	for name, configure := range map[string]func(*libnet.Server){
		"MaxSessions":      func(srv *libnet.Server) { srv.MaxSessions = 2 },
		"MaxSessionsPerIP": func(srv *libnet.Server) { srv.MaxSessionsPerIP = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			overEventModes(t, []eventMode{eventModes[0], eventModes[1], eventModes[5]}, func(t *testing.T, mode eventMode) {
				r := mode.start(t, configure, eventEcho)
				first, s := r.open()
				second, _ := r.open()
				third := r.dial()
				if _, err := eventRead(third); err == nil {
					t.Error("a third session")
				}
				eventAsk(t, second, "still here")
				_ = first.Close()
				await(t, patience, "the first's end", s.Done())
				eventually(t, "its place", func() bool { return r.Stats().Open == 1 })
				fourth, _ := r.open()
				eventAsk(t, fourth, "in its place")
				if stats := r.Stats(); stats.Rejected != 1 || stats.Accepted != 3 || stats.Peak != 2 {
					t.Errorf("%+v", stats)
				}
			})
		})
	}
}

func TestEveryModeAsksOnSession(t *testing.T) {
	refused := errors.New("not you")
	for name, test := range map[string]struct {
		admit  func(*libnet.Session) error
		reason string
	}{
		"refuses":            {func(*libnet.Session) error { return refused }, "error"},
		"panics":             {func(*libnet.Session) error { panic("no") }, "panic"},
		"ends its goroutine": {func(*libnet.Session) error { runtime.Goexit(); return nil }, "closed"},
		"closes":             {func(s *libnet.Session) error { return s.Close() }, "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			overEventModes(t, eventModes[:3], func(t *testing.T, mode eventMode) {
				r := mode.start(t, func(srv *libnet.Server) { srv.OnSession = test.admit }, func(s *libnet.Session, msg []byte) {
					t.Error("the handler was called")
				})
				conn := r.dial()
				_, _ = conn.Write(frame("x"))
				_, _ = io.Copy(io.Discard, conn)
				eventually(t, "the reason", func() bool { return r.Stats().Closed[test.reason] == 1 })
			})
		})
	}
}

func TestEveryModeDeliversWhatOnSessionSentBeforeItRefused(t *testing.T) {
	refused := errors.New("wrong password")
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		sessions := make(chan *libnet.Session, 1)
		r := mode.start(t, func(srv *libnet.Server) {
			srv.OnSession = func(s *libnet.Session) error {
				if _, err := s.Receive(); err != nil {
					return err
				}
				for range 3 {
					mustSend(t, s, []byte("no"))
				}
				sessions <- s
				return refused
			}
		}, func(*libnet.Session, []byte) { t.Error("the handler was called") })
		conn := r.dial()
		// What is unread when the server closes would make the kernel drop the answer.
		mustWrite(t, conn, append(frame("guess"), frame("and more")...))
		for range 3 {
			eventWant(t, conn, "no")
		}
		if n, err := io.Copy(io.Discard, conn); n != 0 || err != nil {
			t.Errorf("then %d bytes, %v; want the end", n, err)
		}
		conn.Close()
		s := <-sessions
		<-s.Done()
		if s.Err() != refused || s.Stats().Discarded != 0 {
			t.Errorf("ended with %v, %d discarded", s.Err(), s.Stats().Discarded)
		}
		if stats := r.Stats(); stats.Rejected != 1 || stats.Accepted != 1 {
			t.Errorf("%d rejected of %d accepted", stats.Rejected, stats.Accepted)
		}
	})
}

func TestEveryModeServesWhatOnSessionLeftBehind(t *testing.T) {
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		r := mode.start(t, func(srv *libnet.Server) {
			srv.OnSession = func(s *libnet.Session) error {
				name, err := s.Receive()
				s.State = string(name)
				return err
			}
		}, func(s *libnet.Session, msg []byte) { _ = s.Send(append([]byte(s.State.(string)), msg...)) })
		conn := r.dial()
		mustWrite(t, conn, append(frame("ann "), frame("one")...))
		eventWant(t, conn, "ann one")
		mustWrite(t, conn, frame("two"))
		eventWant(t, conn, "ann two")
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
			overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
				r := mode.start(t, nil, func(s *libnet.Session, msg []byte) {
					if string(msg) == "end" {
						test.handle(s)
						return
					}
					_ = s.Send(msg)
				})
				other, _ := r.open()
				conn, s := r.open()
				eventAsk(t, conn, "before")
				mustWrite(t, conn, frame("end"))
				if _, err := eventRead(conn); err == nil {
					t.Error("a message after the end")
				}
				_ = conn.Close()
				r.wantClosed(s, test.reason)
				eventAsk(t, other, "others go on")
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
	overEventModes(t, eventModes[:5], func(t *testing.T, mode eventMode) {
		mode.protocol = libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			codec := frames.NewCodec(rw)
			return faultyParser{codec, codec.(libnet.FrameParser)}
		})
		r := mode.start(t, nil, eventEcho)
		conn, s := r.open()
		eventAsk(t, conn, "before")
		mustWrite(t, conn, frame("panic"))
		r.wantClosed(s, libnet.ErrPanic)
		if stats := r.Stats(); stats.Panics != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestEveryModeBroadcastsFromTheHandler(t *testing.T) {
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		var room libnet.Group[string]
		r := mode.start(t, nil, func(s *libnet.Session, msg []byte) {
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
			conn := r.dial()
			mustWrite(t, conn, frame(name))
			eventWant(t, conn, "welcome")
			conns = append(conns, conn)
		}
		mustWrite(t, conns[0], append(frame("hello"), frame("all")...))
		for _, conn := range conns {
			eventWant(t, conn, "hello")
			eventWant(t, conn, "all")
		}
		_ = conns[2].Close()
		eventually(t, "eve to leave", func() bool { return room.Len() == 2 })
	})
}

func TestEveryModeServesOthersWhileAPeerDoesNotRead(t *testing.T) {
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		const replies = 40
		r := mode.start(t, func(srv *libnet.Server) { srv.SendBuffer, srv.SendQueueBytes = 32<<10, 4<<20 }, func(s *libnet.Session, msg []byte) {
			if string(msg) != "flood" {
				_ = s.Send(msg)
				return
			}
			for i := range replies { // more than the kernel takes
				if err := s.Send(message(7, i, 50_000)); err != nil {
					t.Errorf("Send: %v", err)
				}
			}
		})
		slow, s := r.open()
		mustWrite(t, slow, frame("flood"))
		eventually(t, "the flood", func() bool { return s.Stats().MessagesOut > 0 || s.Stats().Queued == replies })
		other, _ := r.open()
		for range 10 {
			eventAsk(t, other, "not held up")
		}
		mustWrite(t, slow, frame("late"))
		for i := range replies {
			msg, err := eventRead(slow)
			if err != nil {
				t.Fatal(err)
			}
			if _, number := parseMessage(t, msg); number != i {
				t.Fatalf("reply %d came as number %d", number, i)
			}
		}
		eventWant(t, slow, "late")
		eventAsk(t, slow, "as before")
	})
}

func TestEveryModeEndsASessionWhosePeerNeverReads(t *testing.T) {
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		for name, queue := range map[string]int{"synchronous": -1, "queued": 200} {
			t.Run(name, func(t *testing.T) {
				r := mode.start(t, func(srv *libnet.Server) {
					srv.SendQueue, srv.SendQueueBytes, srv.SendBuffer, srv.WriteTimeout = queue, -1, 4<<10, 40*time.Millisecond
				}, func(s *libnet.Session, msg []byte) {
					for range 200 {
						if s.Send(make([]byte, 64<<10)) != nil {
							return
						}
					}
				})
				conn, s := r.open()
				mustWrite(t, conn, frame("go on"))
				r.wantClosed(s, libnet.ErrWriteTimeout)
			})
		}
	})
}

func TestEveryModeSendsSynchronously(t *testing.T) {
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		for name, configure := range map[string]func(*libnet.Server){
			"without a queue":       func(srv *libnet.Server) { srv.SendQueue = 0 },
			"waiting for the queue": func(srv *libnet.Server) { srv.SendQueue = 1 },
			"waiting for its bytes": func(srv *libnet.Server) { srv.SendQueueBytes = 1 },
		} {
			t.Run(name, func(t *testing.T) {
				r := mode.start(t, configure, func(s *libnet.Session, msg []byte) {
					for range 10 {
						if err := s.SendContext(t.Context(), msg); err != nil {
							t.Errorf("SendContext: %v", err)
						}
					}
				})
				conn := r.dial()
				mustWrite(t, conn, bytes.Repeat(frame("ten times"), 3))
				for range 30 {
					eventWant(t, conn, "ten times")
				}
			})
		}
	})
}

func TestEveryModeShutsDownASessionThatIsBeingAdmitted(t *testing.T) {
	overEventModes(t, eventModes[:5], func(t *testing.T, mode eventMode) {
		admitting, shutting := make(chan struct{}), make(chan struct{})
		r := mode.start(t, func(srv *libnet.Server) {
			srv.Linger = time.Minute
			srv.OnSession = func(s *libnet.Session) error {
				_, err := s.Receive()
				close(admitting)
				<-shutting
				return err
			}
		}, func(*libnet.Session, []byte) {})
		conn := r.dial()
		mustWrite(t, conn, frame("login"))
		go func() { // a good peer ends when it sees the end
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}()
		await(t, patience, "OnSession", admitting)
		time.AfterFunc(20*time.Millisecond, func() { close(shutting) })
		within(t, patience, "Shutdown", func() { _ = r.Shutdown(context.Background()) })
	})
}

func TestEveryModeLetsAHandlerAppendToItsMessage(t *testing.T) {
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		r := mode.start(t, nil, func(s *libnet.Session, msg []byte) { _ = s.Send(append(msg, " and more than a header"...)) })
		conn := r.dial()
		mustWrite(t, conn, append(append(frame("one"), frame("two")...), frame("three")...)) // which arrive together
		for _, msg := range []string{"one", "two", "three"} {
			eventWant(t, conn, msg+" and more than a header")
		}
	})
}
