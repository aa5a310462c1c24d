package ws_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

const (
	text        = 0x1
	binaryFrame = 0x2
	fin         = 0x80
	ping        = 0x89
)

// The library answers io.EOF for a message that the connection's end cuts at a frame's or a read's border.
func TestAConnectionThatEndsWithinAMessageIsNeverAMessage(t *testing.T) {
	for name, cut := range map[string]string{
		"before any frame":       "",
		"within a header":        frame(fin|binaryFrame, "")[:3],
		"before the payload":     frame(fin|binaryFrame, strings.Repeat("x", 5000))[:8],
		"within the payload":     frame(fin|binaryFrame, strings.Repeat("x", 5000))[:2000],
		"at a read's border":     frame(fin|binaryFrame, strings.Repeat("x", 5000))[:4096],
		"between two fragments":  frame(binaryFrame, "first half"),
		"after a whole fragment": frame(binaryFrame, strings.Repeat("x", 4088)),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
				r := start(t, setup{listener: pipes, handler: sink})
				conn, _ := r.raw(t)
				s := r.session(t)
				write(t, conn, frame(fin|binaryFrame, "whole")+cut)
				synctest.Wait()
				conn.Close()
				wantEnd(t, s, io.ErrUnexpectedEOF)
				if in := s.Stats().MessagesIn; in != 1 {
					t.Fatalf("received %d messages, want the whole one", in)
				}
			})
		})
	}
}

func TestAMessageThatDoesNotEndRunsIntoTheFrameTimeout(t *testing.T) {
	for name, test := range map[string]struct{ partial, every string }{
		"a byte a second":       {frame(fin|binaryFrame, "a payload that is long")[:8], "x"},
		"between two fragments": {frame(binaryFrame, "first"), frame(ping, "")}, // which is no progress
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
				r := start(t, setup{listener: pipes, handler: sink, config: func(srv *libnet.Server) {
					srv.FrameTimeout = 10 * time.Second
				}})
				conn, _ := r.raw(t)
				s := r.session(t)
				time.Sleep(time.Minute) // idle between messages is no offence
				begin := time.Now()
				write(t, conn, test.partial)
				for range 12 {
					time.Sleep(time.Second)
					io.WriteString(conn, test.every)
				}
				wantEnd(t, s, libnet.ErrFrameTimeout)
				if took := time.Since(begin); took != 12*time.Second {
					t.Fatal(took)
				}
			})
		})
	}
}

func TestALateMessageArrivesWhole(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		r := start(t, setup{listener: pipes})
		conn, in := r.raw(t)
		for _, msg := range []string{"dribble", "", "again"} {
			for _, b := range []byte(frame(fin|binaryFrame, msg)) {
				write(t, conn, string([]byte{b}))
				synctest.Wait()
			}
			echoed := make([]byte, 2+len(msg))
			if _, err := io.ReadFull(in, echoed); err != nil || string(echoed[2:]) != msg {
				t.Fatalf("%q, %v; want %q", echoed, err, msg)
			}
		}
	})
}

func TestASilentPeerRunsIntoItsTimeouts(t *testing.T) {
	for name, test := range map[string]struct {
		config func(*libnet.Server)
		reason error
	}{
		"handshake": {func(srv *libnet.Server) { srv.HandshakeTimeout = time.Minute }, libnet.ErrHandshakeTimeout},
		"idle":      {func(srv *libnet.Server) { srv.IdleTimeout = time.Minute }, libnet.ErrIdleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
				r := start(t, setup{listener: pipes, handler: sink, config: test.config})
				browser := r.browser(t)
				s := r.session(t)
				begin := time.Now()
				wantCode(t, browser, websocket.StatusPolicyViolation)
				wantEnd(t, s, test.reason)
				if took := time.Since(begin); took != time.Minute {
					t.Fatal(took)
				}
			})
		})
	}
}

// A half-open connection: the peer is gone and no FIN came.
func TestAPeerThatVanishedIsFound(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		r := start(t, setup{listener: pipes, handler: sink, config: func(srv *libnet.Server) {
			srv.IdleTimeout = time.Minute
		}})
		conn, _ := r.raw(t)
		s := r.session(t)
		write(t, conn, frame(fin|binaryFrame, "I am here"))
		synctest.Wait()
		begin := time.Now()
		conn.(*libnettest.PipeConn).Unplug()
		wantEnd(t, s, libnet.ErrIdleTimeout)
		if took := time.Since(begin); took > time.Minute+time.Second {
			t.Fatal(took)
		}
	})
}

func TestAPeerThatNeverReadsRunsIntoTheWriteTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		r := start(t, setup{listener: pipes, queue: 1000, handler: sink, config: func(srv *libnet.Server) {
			srv.WriteTimeout = 3 * time.Second
		}})
		r.raw(t)
		s := r.session(t)
		begin := time.Now()
		accepted := uint64(0)
		for s.Send(strings.Repeat("x", 10_000)) == nil {
			accepted++
		}
		if took := time.Since(begin); took != 0 {
			t.Fatalf("Send waited %v", took)
		}
		wantEnd(t, s, libnet.ErrWriteTimeout)
		if took := time.Since(begin); took < 3*time.Second || took > 4*time.Second {
			t.Fatal(took)
		}
		if stats := s.Stats(); stats.MessagesOut+stats.Discarded != accepted || stats.Discarded == 0 {
			t.Fatalf("accepted %d, wrote %d, discarded %d", accepted, stats.MessagesOut, stats.Discarded)
		}
	})
}

func TestAPeerThatReadsSlowlyLives(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		r := start(t, setup{listener: pipes, queue: 10, handler: sink, config: func(srv *libnet.Server) {
			srv.WriteTimeout = 3 * time.Second
		}})
		conn, in := r.raw(t)
		s := r.session(t)
		send(t, s, strings.Repeat("x", 500_000))
		if err := s.Send("and the end"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 0, 600_000)
		for !strings.HasSuffix(string(got), "and the end") {
			chunk := make([]byte, 10_000)
			n, err := in.Read(chunk)
			if err != nil {
				t.Fatalf("after %d bytes: %v", len(got), err)
			}
			got = append(got, chunk[:n]...)
			time.Sleep(time.Second)
		}
		conn.Close()
	})
}

func TestASlowConsumerIsClosedWhenThePolicySaysSo(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		r := start(t, setup{listener: pipes, queue: 10, handler: sink, config: func(srv *libnet.Server) {
			srv.OnFull = libnet.CloseSession
		}})
		r.raw(t)
		s := r.session(t)
		var err error
		for err == nil {
			err = s.Send(strings.Repeat("x", 10_000))
		}
		if err != libnet.ErrSlowConsumer {
			t.Fatal(err)
		}
		wantEnd(t, s, libnet.ErrSlowConsumer)
	})
}

func TestShutdownWaitsForThePeerNoLongerThanLinger(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		left := make(chan error, 1)
		r := start(t, setup{listener: pipes, handler: libnet.HandlerFunc(func(s *libnet.Session) {
			_, err := s.Receive()
			left <- err
		}), config: func(srv *libnet.Server) { srv.Linger = 7 * time.Second }})
		r.raw(t) // and it answers nothing
		s := r.session(t)
		synctest.Wait()
		begin := time.Now()
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(t.Context()) }()
		if err := <-left; !errors.Is(err, libnet.ErrSessionClosed) {
			t.Errorf("the receiver got %v", err)
		}
		if err := <-done; err != nil || time.Since(begin) != 7*time.Second {
			t.Fatalf("Shutdown: %v after %v", err, time.Since(begin))
		}
	})
}

func TestCloseDoesNotWaitForAPeerThatDoesNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		r := start(t, setup{listener: pipes, queue: 1000, handler: sink})
		r.raw(t)
		s := r.session(t)
		for s.Send(strings.Repeat("x", 10_000)) == nil {
		}
		synctest.Wait()
		begin := time.Now()
		s.Close()
		if took := time.Since(begin); took > 200*time.Millisecond {
			t.Fatal(took)
		}
	})
}

func TestPingsAreAnsweredWhileTheHandlerIsBusy(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		done := make(chan struct{})
		defer close(done)
		r := start(t, setup{listener: pipes, handler: libnet.HandlerFunc(func(s *libnet.Session) {
			s.Receive()
			<-done
		})})
		browser := r.browser(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		browser.CloseRead(ctx)
		browser.Write(ctx, websocket.MessageBinary, []byte("work"))
		for range 10 {
			if err := browser.Ping(ctx); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A message that waits behind the answer to a ping has its own timeout.
// A peer that has much to read yet is not one that reads no pongs (RFC 6455, 5.5.2): it may take their absence for the
// server's end.
func TestAPingIsAnsweredHoweverMuchIsQueuedBeforeIt(t *testing.T) {
	const messages, pings = 4, 3
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{queue: messages, handler: sink, config: func(srv *libnet.Server) { srv.SendBuffer = 4 << 10 }})
		conn, in := r.raw(t)
		_ = conn.SetDeadline(time.Now().Add(soon))
		below(conn).SetReadBuffer(4 << 10)
		s := r.session(t)
		for range messages {
			send(t, s, strings.Repeat("x", 16_000))
		}
		for range pings {
			write(t, conn, frame(ping, "are you there")+frame(fin|binaryFrame, "go on"))
		}
		testkit.Eventually(t, "the pings to be received", func() bool { return s.Stats().MessagesIn == pings })
		go s.ShutdownWithError(t.Context(), websocket.CloseError{Code: 4000})
		pongs := 0
		for first := byte(0); first != 0x88; {
			var payload string
			var err error
			if first, payload, err = serverFrame(in); err != nil {
				t.Fatalf("%v behind %d pongs", err, pongs)
			}
			if first == fin|0xa && payload == "are you there" {
				pongs++
			}
		}
		if pongs != pings {
			t.Errorf("%d pongs for %d pings", pongs, pings)
		}
	})
}

// serverFrame reads a frame of a server's, of less than 64 KiB.
func serverFrame(in *bufio.Reader) (first byte, payload string, err error) {
	header := make([]byte, 4)
	if _, err := io.ReadFull(in, header[:2]); err != nil {
		return 0, "", err
	}
	n := int(header[1])
	if n == 126 {
		_, err = io.ReadFull(in, header[2:])
		n = int(header[2])<<8 | int(header[3])
	}
	b := make([]byte, n)
	if err == nil {
		_, err = io.ReadFull(in, b)
	}
	return header[0], string(b), err
}

func TestWriteTimeoutBoundsAMessageBehindAPong(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		r := start(t, setup{listener: pipes, handler: sink, config: func(srv *libnet.Server) { srv.WriteTimeout = time.Second }})
		conn, _ := r.raw(t)
		s := r.session(t)
		go io.WriteString(conn, strings.Repeat(frame(ping, "are you there?"), 100_000))
		synctest.Wait() // in the first answer that finds no room
		begin := time.Now()
		go s.Send("behind it")
		<-s.Done()
		if took := time.Since(begin); took > 3*time.Second || !errors.Is(s.Err(), libnet.ErrWriteTimeout) {
			t.Errorf("ended after %v: %v", took, s.Err())
		}
	})
}

// B31 of docs/faults.md.
func TestAPeerThatPingsAndNeverReadsIsClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		r := start(t, setup{listener: pipes, handler: sink})
		conn, _ := r.raw(t)
		s := r.session(t)
		burst := strings.Repeat(frame(ping, "are you there?"), 1000)
		for range 100 {
			if _, err := io.WriteString(conn, burst); err != nil {
				break
			}
		}
		wantEnd(t, s, libnet.ErrWriteTimeout)
	})
}

func TestAPeerThatPingsAndPausesHasTheSessionsWriteTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{time.Minute, -1} {
		inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
			r := start(t, setup{listener: pipes, handler: sink, config: func(srv *libnet.Server) { srv.WriteTimeout = timeout }})
			conn, _ := r.raw(t)
			s := r.session(t)
			_ = conn.SetWriteDeadline(time.Now().Add(50 * time.Second))
			for { // until nothing more is taken
				if _, err := io.WriteString(conn, frame(ping, strings.Repeat("p", 125))); err != nil {
					break
				}
			}
			if err := s.Err(); err != nil {
				t.Errorf("WriteTimeout %v, ended after a pause of 50 s: %v", timeout, err)
			}
			conn.Close()
		})
	}
}
