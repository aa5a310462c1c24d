package libnet_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestMessagesThatArriveTogetherAreTheCallersToChange(t *testing.T) {
	near, far := testkit.ConnectTCP(t)
	s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 0), near)
	var want []string
	var wire []byte
	for i := range 200 {
		msg := strings.Repeat(fmt.Sprint(i, " "), i%90)
		want = append(want, msg)
		wire = binary.BigEndian.AppendUint32(wire, uint32(len(msg)))
		wire = append(wire, msg...)
	}
	if _, err := far.Write(wire); err != nil {
		t.Fatal(err)
	}
	var got [][]byte
	for range want {
		msg, err := s.Receive()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, msg)
		_ = append(msg, "grown into the next one"...)
	}
	for i, msg := range got {
		if string(msg) != want[i] {
			t.Fatalf("message %d has become %q; want %q", i, msg, want[i])
		}
		copy(msg, bytes.Repeat([]byte{0}, len(msg)))
	}
}

// What a handler sends is written in three ways: by the first reply to the last message that has arrived, before the
// receiver waits, and with what comes after. None may overtake another.
func TestRepliesKeepTheirOrderHoweverManyAMessageGets(t *testing.T) {
	near, far := testkit.ConnectTCP(t)
	s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 1024), near)
	go func() {
		for n := uint32(0); ; {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			for range msg[0] {
				if err := s.Send(binary.BigEndian.AppendUint32(nil, n)); err != nil {
					t.Errorf("Send: %v", err)
					return
				}
				n++
			}
		}
	}()
	client := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 0), far)
	for round, next := 0, uint32(0); round < 300; round++ {
		messages, replies := 1+round%3, byte(round%4)
		for range messages {
			testkit.MustSend(t, client, []byte{replies})
		}
		for range messages * int(replies) {
			msg, err := client.Receive()
			if err != nil || binary.BigEndian.Uint32(msg) != next {
				t.Fatalf("round %d: received %v, %v; want reply %d", round, msg, err, next)
			}
			next++
		}
	}
}

func TestS5ConcurrentReceiversGetEveryMessageOnceAndWhole(t *testing.T) {
	const messages = 400
	testkit.OverProtocols(t, func(t *testing.T, p libnet.Protocol, connect testkit.Connector) {
		a, b := testkit.SessionPair(t, connect, p, messages)
		var mu sync.Mutex
		seen := make(map[int]int)
		var receivers sync.WaitGroup
		for range 4 {
			receivers.Go(func() {
				for {
					msg, err := b.Receive()
					if err != nil {
						return
					}
					_, number := testkit.ParseMessage(t, msg)
					mu.Lock()
					seen[number]++
					mu.Unlock()
				}
			})
		}
		for i := range messages {
			testkit.MustSend(t, a, testkit.Message(0, i, i%300))
		}
		if err := a.Shutdown(testkit.TimeoutContext(t, testkit.Patience)); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		receivers.Wait()
		for i := range messages {
			if seen[i] != 1 {
				t.Fatalf("message %d was received %d times", i, seen[i])
			}
		}
	})
}

// From 16 KiB on, a synchronous Send writes the payload from where the caller has it.
func TestALargeMessageArrivesWholeAndOnce(t *testing.T) {
	for _, size := range []int{16<<10 - 1, 16 << 10, 100_000, 1 << 20} {
		testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
			a, b := testkit.SessionPair(t, connect, codec.New(codec.Uint32BE, codec.Bytes), 0)
			msg := testkit.Message(3, 4, size-8)
			sent := make(chan error, 1)
			go func() { sent <- a.Send(&msg) }()
			got, err := b.Receive()
			if err != nil || len(got) != size {
				t.Fatalf("received %d bytes, %v; want %d", len(got), err, size)
			}
			testkit.ParseMessage(t, got)
			if err := <-sent; err != nil || a.Stats().MessagesOut != 1 {
				t.Errorf("Send = %v, MessagesOut = %d", err, a.Stats().MessagesOut)
			}
		})
	}
}

// A message orders what its two ends do, and the race detector must see it, as it does with package net: both ends of
// a program's own connection may use a variable in turns.
func TestTheRaceDetectorSeesThatAMessageOrdersItsEnds(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		for _, queue := range []int{-1, 64} {
			shared := 0
			r := mode.Start(t, func(srv *libnet.Server) { srv.SendQueue = queue }, func(s *libnet.Session, msg []byte) {
				shared++
				_ = s.Send(msg)
			})
			client := libnet.Dialer{Protocol: testkit.Frames, Config: libnet.Config{SendQueue: queue}}
			s, err := client.NewSession(r.Dial())
			if err != nil {
				t.Fatal(err)
			}
			rounds := 0
			round := func(size int, receive func() ([]byte, error)) {
				shared++
				rounds++
				testkit.MustSend(t, s, make([]byte, size))
				if _, err := receive(); err != nil {
					t.Fatal(err)
				}
				if shared != 2*rounds {
					t.Fatalf("counted to %d in %d rounds", shared, rounds)
				}
			}
			into := func() ([]byte, error) { return s.ReceiveInto(nil) }
			for range 5 {
				for _, size := range []int{8, 100_000} { // the second is written without a copy, from two pieces
					round(size, s.Receive)
					round(size, into)
				}
			}
			_ = s.Close()
		}
	})
}

func TestAHandlerThatOnlyPushesNoticesItsPeersEnd(t *testing.T) {
	testkit.Slow(t)
	if runtime.GOOS != "linux" {
		t.Skip("looked for on Linux")
	}
	for _, network := range []string{"tcp", "unix", "tls"} {
		for name, first := range map[string]string{"a silent peer": "", "a peer that said something": "anybody there?"} {
			t.Run(network+", "+name, func(t *testing.T) {
				t.Parallel()
				srv, dial := listenOn(t, network, 8, func(srv *libnet.Server) { srv.Linger = time.Second })
				ended := make(chan error, 1)
				go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
					if network == "tls" {
						_, _ = s.TLS()
					}
					<-s.Done()
					ended <- s.Err()
				}))
				conn := dial()
				if first != "" {
					testkit.MustWrite(t, conn, testkit.Frame(first))
				}
				testkit.Eventually(t, "the session", func() bool { return srv.Stats().Open == 1 })
				_ = conn.Close()
				testkit.WantErr(t, "the reason", testkit.Await(t, testkit.Patience, "the end", ended), io.EOF)
			})
		}
	}
}

// Who asks for Done and receives loses nothing of what arrived before the peer's end, however slow they are.
func TestASlowReceiverThatAskedForDoneGetsWhatArrived(t *testing.T) {
	testkit.Slow(t)
	for _, network := range []string{"tcp", "unix", "tls"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			srv, dial := listenOn(t, network, 8, func(srv *libnet.Server) { srv.Linger = 100 * time.Millisecond })
			got := make(chan int, 1)
			go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
				_ = s.Done()
				n := 0
				for ; ; n++ {
					if _, err := s.Receive(); err != nil {
						break
					}
					time.Sleep(1100 * time.Millisecond)
				}
				got <- n
			}))
			conn := dial()
			for range 4 {
				testkit.MustWrite(t, conn, testkit.Frame("a request"))
			}
			_ = conn.Close()
			if n := testkit.Await(t, testkit.Patience, "the end", got); n != 4 {
				t.Errorf("received %d of 4", n)
			}
		})
	}
}

func TestIdleTimeoutSparesAPeerThatOnSessionKeepsWaiting(t *testing.T) {
	srv, dial := listenOn(t, "tcp", 8, func(srv *libnet.Server) {
		srv.IdleTimeout = 100 * time.Millisecond
		srv.OnSession = func(*libnet.Session) error { time.Sleep(500 * time.Millisecond); return nil }
	})
	received := make(chan error, 1)
	go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) { _, err := s.Receive(); received <- err }))
	testkit.MustWrite(t, dial(), testkit.Frame("a login"))
	testkit.WantErr(t, "Receive", testkit.Await(t, testkit.Patience, "the login", received), nil)
}

// What is appended to a message goes nowhere else.
func TestAppendingToAMessageLeavesTheNextOneWhole(t *testing.T) {
	srv, dial := listenOn(t, "tcp", 8, nil)
	seen := make(chan string, 4)
	go srv.ServeMessages(libnet.MessageHandlerFunc(func(_ *libnet.Session, msg []byte) {
		seen <- string(append(msg, "##########"...))
	}))
	testkit.MustWrite(t, dial(), append(testkit.Frame("first"), testkit.Frame("second")...))
	for _, want := range []string{"first##########", "second##########"} {
		if got := testkit.Await(t, testkit.Patience, want, seen); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestACodecThatEndsTheReceiversGoroutineEndsTheSession(t *testing.T) {
	near, peer := libnettest.Pipe()
	p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return &testkit.FuncCodec{OnReceive: func() ([]byte, error) { runtime.Goexit(); return nil, nil }}
	})
	s := testkit.Adopt(t, testkit.NewServer(t, p, 8), near)
	testkit.MustWrite(t, peer, testkit.Frame("x"))
	go s.Receive()
	wantEnd(t, s, libnet.ErrSessionClosed)
	testkit.Within(t, testkit.Patience, "another Receive", func() { _, _ = s.Receive() })
}

// A Close that meets a receiver at work on what has arrived counts what that one received, and drops the rest.
func TestACloseDuringReceiveCountsWhatWasReceived(t *testing.T) {
	burst := bytes.Repeat(testkit.Frame("a message"), 200)
	for i := range 300 {
		near, far := testkit.ConnectTCP(t)
		s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 8), near)
		testkit.MustWrite(t, far, burst)
		received := make(chan uint64, 1)
		begun := make(chan struct{})
		go func() {
			n := uint64(0)
			for ; ; n++ {
				if _, err := s.Receive(); err != nil {
					break
				}
				if n == 0 {
					close(begun)
				}
			}
			received <- n
		}()
		testkit.Await(t, testkit.Patience, "the first message", begun)
		for range i {
			runtime.Gosched()
		}
		_ = s.Close()
		got := testkit.Await(t, testkit.Patience, "the receiver's end", received)
		stats := s.Stats()
		if stats.MessagesIn != got || stats.BytesIn != uint64(len(burst)) && stats.BytesIn != 0 {
			t.Fatalf("run %d: received %d messages, %+v", i, got, stats)
		}
		_ = far.Close()
	}
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

func TestMessagesEndWithTheSessionAndLeaveItOpenWhenLeft(t *testing.T) {
	testkit.OverProtocols(t, func(t *testing.T, p libnet.Protocol, connect testkit.Connector) {
		near, far := connect(t)
		s := testkit.Adopt(t, testkit.NewServer(t, p, 8), near)
		go func() {
			for i := range 6 {
				_, _ = far.Write(testkit.Frame(fmt.Sprint("message ", i)))
			}
			_ = far.Close()
		}()
		var got []string
		for msg := range s.Messages() {
			got = append(got, string(msg))
			_ = append(msg, "behind it there is another"...)
			clear(msg)
			if len(got) == 2 {
				break
			}
		}
		if s.IsClosed() || s.Err() != nil {
			t.Error("closed by a break:", s.Err())
		}
		for msg := range s.Messages() {
			got = append(got, string(msg))
			if next, err := s.Receive(); err == nil { // within the loop, of which msg stays as it is
				got = append(got, string(next))
			}
			if string(msg) != got[len(got)-2] {
				t.Errorf("%q has become %q", got[len(got)-2], msg)
			}
		}
		if want := "[message 0 message 1 message 2 message 3 message 4 message 5]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %v", got, want)
		}
		if s.Err() == nil {
			t.Error("the loop has ended before the session")
		}
		for range s.Messages() {
			t.Error("a message of a session that has ended")
		}
	})
}
