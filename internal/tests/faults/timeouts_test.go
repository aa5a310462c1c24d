package faults

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// These tests run on synctest's clock, which stands still while anything can run: timeouts are asserted
// to the nanosecond.

// endsAfter checks that the session ends for the reason after exactly d.
func endsAfter(t *testing.T, r *testkit.Rig, s *libnet.Session, d time.Duration, reason error) {
	t.Helper()
	begin := time.Now()
	<-s.Done()
	if took := time.Since(begin); took != d {
		t.Errorf("ended after %v, want %v", took, d)
	}
	synctest.Wait()
	r.WantClosed(s, reason)
	if lines := r.Logs.With("reason=" + libnet.CloseReason(reason)); len(lines) != 1 {
		t.Errorf("the log has %d lines with the reason %s, want 1: %q", len(lines), libnet.CloseReason(reason), lines)
	}
	var timeout net.Error
	if !errors.As(s.Err(), &timeout) || !timeout.Timeout() {
		t.Errorf("%v is no timeout to a net.Error", s.Err())
	}
}

func TestB19SlowlorisIsClosedAtTheFrameTimeout(t *testing.T) {
	for name, test := range map[string]struct {
		stream string
		pause  time.Duration
	}{
		"in the header":        {"\x00\x00", time.Second - time.Millisecond},
		"in the payload":       {"\x00\x00\x00\x64" + strings.Repeat("x", 99), 10 * time.Millisecond},
		"one byte and no more": {"\x00", time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.FrameTimeout = time.Second }, testkit.ReceiveToEnd)
				conn, s := r.Open()
				go func() {
					for i := range len(test.stream) {
						if _, err := conn.Write([]byte{test.stream[i]}); err != nil {
							return
						}
						select {
						case <-time.After(test.pause):
						case <-s.Done():
						}
					}
				}()
				endsAfter(t, r, s, time.Second, libnet.ErrFrameTimeout)
			})
		})
	}
}

func TestB19TheFrameTimeoutBeginsAnewWithEachFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.FrameTimeout = time.Second }, testkit.ReceiveToEnd)
		conn, s := r.Open()
		stream := []byte(strings.Repeat(string(testkit.Frame("ten bytes!")), 8))
		for _, b := range stream { // 14 bytes a frame, so 70 ms × 13 = 910 ms from its first to its last
			testkit.MustWrite(t, conn, []byte{b})
			time.Sleep(70 * time.Millisecond)
		}
		if n := s.Stats().MessagesIn; s.IsClosed() || n != 8 {
			t.Errorf("after 8 slow frames: %d messages, closed for %v", n, s.Err())
		}
		// Frames without a pause between them: the ninth begins in the segment that ends the eighth.
		testkit.MustWrite(t, conn, append(testkit.Frame("whole"), 0))
		endsAfter(t, r, s, time.Second, libnet.ErrFrameTimeout)
	})
}

func TestB21ASilentClientIsClosedAtTheHandshakeTimeout(t *testing.T) {
	for name, greeting := range map[string]string{"silent": "", "half a message": "\x00\x00\x00\x09half"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := testkit.Serve(t, "pipe", func(srv *libnet.Server) {
					srv.HandshakeTimeout = 3 * time.Second
					srv.Heartbeat = libnet.Heartbeat{Interval: time.Second, Message: func(*libnet.Session) any { return "beat" }}
					srv.SendQueue = 8
				}, testkit.ReceiveToEnd)
				conn, s := r.Open()
				testkit.MustWrite(t, conn, []byte(greeting))
				endsAfter(t, r, s, 3*time.Second, libnet.ErrHandshakeTimeout)
			})
		})
	}
}

func TestB21AMessageEndsTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.HandshakeTimeout = 3 * time.Second }, testkit.ReceiveToEnd)
		conn, s := r.Open()
		time.Sleep(3*time.Second - 1)
		testkit.MustWrite(t, conn, testkit.Frame("login"))
		time.Sleep(time.Hour)
		if s.IsClosed() {
			t.Errorf("closed for %v though it logged in", s.Err())
		}
	})
}

func TestIdleTimeoutCountsFromTheLastByteThatCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.IdleTimeout = time.Second }, testkit.ReceiveToEnd)
		conn, s := r.Open()
		for range 20 {
			time.Sleep(time.Second - 1)
			testkit.MustWrite(t, conn, testkit.Frame(""))
			synctest.Wait()
		}
		endsAfter(t, r, s, time.Second, libnet.ErrIdleTimeout)
	})
}

func TestB32APeerThatSendsButNeverAnswersTheHeartbeatLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		beats := 0
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) {
			srv.SendQueue, srv.IdleTimeout = 8, 3*time.Second
			srv.Heartbeat = libnet.Heartbeat{Interval: time.Second, Message: func(*libnet.Session) any { beats++; return "beat" }}
		}, testkit.ReceiveToEnd)
		conn, s := r.Open()
		go io.Copy(io.Discard, conn)
		for range 100 {
			time.Sleep(2 * time.Second)
			testkit.MustWrite(t, conn, testkit.Frame("data, and no answer"))
		}
		synctest.Wait()
		if s.IsClosed() || beats != 200 {
			t.Errorf("after 200 s: closed for %v, %d heartbeats", s.Err(), beats)
		}
	})
}

func TestB22AVanishedPeerIsFoundAndItsEndToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) {
			srv.SendQueue, srv.IdleTimeout = 8, 3*time.Second
			srv.Heartbeat = libnet.Heartbeat{Interval: time.Second, Message: func(*libnet.Session) any { return "beat" }}
		}, testkit.ReceiveToEnd)
		conn, s := r.Open()
		var group libnet.Group[string]
		group.Put("room", s)
		ends := 0
		s.OnClose(func() {
			ends++
			if group.Len() != 0 || r.Manager().GetSession(s.ID()) != nil {
				t.Error("the callback runs while the session is in its group or manager")
			}
		})
		answer := func(until time.Duration) {
			for end := time.Now().Add(until); time.Now().Before(end); {
				if _, err := testkit.ReadFrame(conn); err != nil {
					t.Fatal(err)
				}
				testkit.MustWrite(t, conn, testkit.Frame("pong"))
			}
		}
		answer(30 * time.Second)
		synctest.Wait()
		conn.(*libnettest.PipeConn).Unplug()
		endsAfter(t, r, s, 3*time.Second, libnet.ErrIdleTimeout)
		if ends != 1 {
			t.Errorf("the close callback ran %d times", ends)
		}
	})
}

func TestB29AReaderThatIsSlowLivesAndOneThatStopsDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.SendQueue, srv.WriteTimeout = 64, time.Second }, testkit.ReceiveToEnd)
		conn, s := r.Open()
		for range 15 {
			if err := s.Send(make([]byte, testkit.Max64K)); err != nil {
				t.Fatal(err)
			}
		}
		sip := make([]byte, 1000)
		for range 300 { // 300 kB of 960 KiB in 270 s
			time.Sleep(900 * time.Millisecond)
			if _, err := io.ReadFull(conn, sip); err != nil {
				t.Fatalf("the session ended while its peer made progress: %v, %v", err, s.Err())
			}
		}
		begin := time.Now()
		<-s.Done()
		// Progress is looked at once a WriteTimeout, so a stop is noticed within two.
		if took := time.Since(begin); took < time.Second || took > 2*time.Second {
			t.Errorf("ended %v after the last progress, want between WriteTimeout and twice that", took)
		}
		r.WantClosed(s, libnet.ErrWriteTimeout)
		stats := s.Stats()
		if stats.MessagesOut+stats.Discarded != 15 {
			t.Errorf("15 messages were accepted; %+v", stats)
		}
	})
}

func TestB30APeerThatNeverReadsIsClosedAtTheWriteTimeout(t *testing.T) {
	for _, queue := range []int{0, 64} {
		synctest.Test(t, func(t *testing.T) {
			r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.SendQueue = queue }, testkit.ReceiveToEnd)
			_, s := r.Open()
			accepted := 0
			var err error
			for ; err == nil && accepted < 20; accepted++ {
				err = s.Send(make([]byte, 16<<10-testkit.HeaderSize))
			}
			if err != nil {
				accepted--
			}
			if queue == 0 && (!errors.Is(err, libnet.ErrWriteTimeout) || accepted != 4) {
				t.Errorf("synchronous: %d sends, then %v; want the 4 that the pipe holds, then ErrWriteTimeout", accepted, err)
			}
			<-s.Done()
			r.WantClosed(s, libnet.ErrWriteTimeout)
			stats := s.Stats()
			if stats.MessagesOut+stats.Discarded != uint64(accepted) || stats.Queued != 0 || stats.QueuedBytes != 0 {
				t.Errorf("queue %d: %d messages were accepted; %+v", queue, accepted, stats)
			}
		})
	}
}

func TestB33AHeartbeatBehindALargeFrameDoesNotKillWhileBytesFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) {
			srv.IdleTimeout, srv.FrameTimeout = 2*time.Second, time.Minute
		}, testkit.ReceiveToEnd)
		conn, s := r.Open()
		frame := append(testkit.Frame(strings.Repeat("x", testkit.Max64K)), testkit.Frame("pong")...)
		for len(frame) > 0 { // 64 KiB at 2 KB/s: the answer comes 32 s late
			n := min(2000, len(frame))
			testkit.MustWrite(t, conn, frame[:n])
			frame = frame[n:]
			time.Sleep(time.Second)
		}
		if n := s.Stats().MessagesIn; s.IsClosed() || n != 2 {
			t.Errorf("%d messages, closed for %v", n, s.Err())
		}
	})
}

func TestHeartbeatsThatFindAFullQueueAreDroppedAndTheRestGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		beats := 0
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) {
			srv.SendQueue, srv.WriteTimeout = 2, -1
			srv.Heartbeat = libnet.Heartbeat{Interval: time.Second, Message: func(*libnet.Session) any {
				beats++
				if beats%2 == 0 {
					return nil // not every heartbeat has something to say
				}
				return make([]byte, testkit.Max64K-testkit.HeaderSize)
			}}
		}, testkit.ReceiveToEnd)
		conn, s := r.Open()
		time.Sleep(10*time.Second + 1)
		synctest.Wait()
		if stats := s.Stats(); beats != 10 || stats.Queued > 2 || s.IsClosed() {
			t.Errorf("%d heartbeats in 10 s, %+v, closed for %v", beats, stats, s.Err())
		}
		go io.Copy(io.Discard, conn)
		synctest.Wait()
		if n := s.Stats().Queued; n != 0 {
			t.Errorf("%d queued though the peer reads", n)
		}
	})
}

func TestD71AHeartbeatAndACloseNeverMeetBadly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := true
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) {
			srv.SendQueue = 8
			srv.Heartbeat = libnet.Heartbeat{Interval: time.Second, Message: func(s *libnet.Session) any {
				if !open {
					t.Error("a heartbeat after Close returned")
				}
				return "beat"
			}}
		}, testkit.NeverReceive)
		for i := range testkit.Size(1000, 100_000) {
			open = true
			conn, s := r.Open()
			time.Sleep(time.Second - time.Duration(i%2)) // the heartbeat is due now, or in a nanosecond
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			open = false
			time.Sleep(5 * time.Second)
			conn.Close()
		}
	})
}

// lateConn has its first writes end by their deadline, so much later as this process was stopped.
type lateConn struct {
	net.Conn
	late  time.Duration
	times int

	deadline time.Time
	writes   int
}

func (c *lateConn) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

func (c *lateConn) Write(p []byte) (int, error) {
	if c.writes++; c.writes > c.times {
		return c.Conn.Write(p)
	}
	time.Sleep(time.Until(c.deadline) + c.late)
	return 0, os.ErrDeadlineExceeded
}

func TestB34AWriteDeadlineThatFiresLateIsNotThePeersFault(t *testing.T) {
	for _, test := range []struct {
		late  time.Duration
		times int
		want  error
	}{{0, 1, libnet.ErrWriteTimeout}, {time.Minute, 1, nil}, {time.Minute, 2, libnet.ErrWriteTimeout}} {
		synctest.Test(t, func(t *testing.T) {
			r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.SendQueue = 8 }, testkit.ReceiveToEnd)
			client, server := libnettest.Pipe()
			defer client.Close()
			r.Pipes.Push(&lateConn{Conn: server, late: test.late, times: test.times}, nil)
			s := <-r.Sessions
			if err := s.Send("delivered after all"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if !errors.Is(s.Err(), test.want) || test.want == nil && s.Stats().MessagesOut != 1 {
				t.Errorf("%v late %d times: %v, %+v", test.late, test.times, s.Err(), s.Stats())
			}
		})
	}
}
