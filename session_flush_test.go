package libnet_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// atOnce is how soon a message must leave although nobody flushes it: the library aims at 2 ms, and the
// rest is for a machine with other things to do.
const atOnce = 2 * time.Second

// A reply that is sent while its handler is still at work must not wait for the handler.
func TestAMessageLeavesAlthoughItsHandlerBlocksAfterSend(t *testing.T) {
	testkit.OverProtocols(t, func(t *testing.T, p libnet.Protocol, connect testkit.Connector) {
		srv := testkit.NewServer(t, p, 64)
		near, far := connect(t)
		s := testkit.Adopt(t, srv, near)
		release := make(chan struct{})
		handled := make(chan struct{})
		go func() {
			defer close(handled)
			for {
				if _, err := s.Receive(); err != nil {
					return
				}
				for i := range 3 {
					_ = s.Send(fmt.Appendf(nil, "reply %d", i))
				}
				<-release
			}
		}()
		peer := testkit.NewTwoWrites(far)
		for range 5 {
			mustPeerSend(t, peer, "request")
			began := time.Now()
			_ = far.SetReadDeadline(began.Add(atOnce))
			for i := range 3 {
				mustPeerReceive(t, peer, fmt.Sprintf("reply %d", i))
			}
			release <- struct{}{}
		}
		_ = far.Close()
		close(release)
		testkit.Await(t, testkit.Patience, "the handler", handled)
	})
}

// The same for messages that others send while the handler neither sends nor receives.
func TestAMessageOfAnotherGoroutineLeavesAlthoughTheHandlerBlocks(t *testing.T) {
	testkit.OverProtocols(t, func(t *testing.T, p libnet.Protocol, connect testkit.Connector) {
		near, far := connect(t)
		s := testkit.Adopt(t, testkit.NewServer(t, p, 64), near)
		working := make(chan struct{})
		release := make(chan struct{})
		go func() {
			_, _ = s.Receive()
			close(working)
			<-release
		}()
		defer close(release)
		peer := testkit.NewTwoWrites(far)
		mustPeerSend(t, peer, "work")
		<-working
		for i := range 20 {
			time.Sleep(time.Duration(i%5) * 300 * time.Microsecond)
			testkit.MustSend(t, s, fmt.Appendf(nil, "news %d", i))
			_ = far.SetReadDeadline(time.Now().Add(atOnce))
			mustPeerReceive(t, peer, fmt.Sprintf("news %d", i))
		}
	})
}

func mustPeerSend(t testing.TB, peer *testkit.TwoWrites, msg string) {
	t.Helper()
	if err := peer.Send([]byte(msg)); err != nil {
		t.Fatalf("the peer's Send: %v", err)
	}
}

func mustPeerReceive(t testing.TB, peer *testkit.TwoWrites, want string) {
	t.Helper()
	if msg, err := peer.Receive(); err != nil || string(msg) != want {
		t.Fatalf("the peer received %q, %v; want %q", msg, err, want)
	}
}

// A message that was accepted must not wait for one behind it that cannot be encoded.
func TestAMessageThatCannotBeEncodedDoesNotHoldUpTheOneBefore(t *testing.T) {
	testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
		slow := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			c := testkit.NewTwoWrites(rw)
			return &testkit.FuncCodec{OnReceive: c.Receive, OnSend: func(msg any) error {
				if d, ok := msg.(time.Duration); ok {
					time.Sleep(d) // long enough for the flush of the one before to find it in the way
					return libnet.ErrEncode
				}
				return c.Send(msg)
			}}
		})
		near, far := connect(t)
		s := testkit.Adopt(t, testkit.NewServer(t, slow, 64), near)
		refused := make(chan error, 1)
		go func() {
			_, _ = s.Receive()
			_ = s.Send([]byte("at once"))
			_ = s.Send([]byte("before it waits"))
			refused <- s.Send(20 * time.Millisecond)
		}()
		peer := testkit.NewTwoWrites(far)
		mustPeerSend(t, peer, "question")
		_ = far.SetReadDeadline(time.Now().Add(atOnce))
		mustPeerReceive(t, peer, "at once")
		mustPeerReceive(t, peer, "before it waits")
		if err := <-refused; err != libnet.ErrEncode {
			t.Errorf("Send = %v; want ErrEncode", err)
		}
	})
}

// The receiver, its handler, other senders, the flusher and broadcasts all flush one queue. Whatever they
// do, each sender's messages arrive, once, whole and in order.
func TestNoMessageIsLostOrReorderedWhoeverFlushes(t *testing.T) {
	const senders, rounds = 3, 400 // the senders, and the handler
	testkit.OverProtocols(t, func(t *testing.T, p libnet.Protocol, connect testkit.Connector) {
		near, far := connect(t)
		srv := testkit.NewServer(t, p, 1<<20)
		s := testkit.Adopt(t, srv, near)
		var sending sync.WaitGroup
		defer func() {
			_ = s.Close() // if the test fails
			sending.Wait()
		}()
		for sender := range senders {
			sending.Go(func() {
				for i := range rounds {
					if err := s.Send(testkit.Message(sender, i, i%30)); err != nil {
						t.Errorf("Send: %v", err)
						return
					}
					pauseAtRandom()
				}
			})
		}
		sending.Go(func() {
			for i := range rounds {
				msg := testkit.Message(senders+1, i, i%30)
				for srv.Manager().Broadcast(msg).Blocked > 0 { // a plain codec was at work for long, and the message is refused
					pauseAtRandom()
				}
				pauseAtRandom()
			}
		})
		sending.Go(func() {
			for i := range rounds {
				if _, err := s.Receive(); err != nil {
					t.Errorf("Receive: %v", err)
					return
				}
				pauseAtRandom()
				if err := s.Send(testkit.Message(senders, i, i%30)); err != nil {
					t.Errorf("the handler's Send: %v", err)
					return
				}
				pauseAtRandom()
			}
		})
		go func() {
			peer := testkit.NewTwoWrites(far)
			for range rounds {
				_ = peer.Send([]byte("go on"))
				pauseAtRandom()
			}
		}()
		receiveAll(t, far, senders+2, rounds)
		sending.Wait()
		testkit.Eventually(t, "the count of what was written", func() bool { return s.Stats().MessagesOut == (senders+2)*rounds })
		if stats := s.Stats(); stats.Discarded != 0 || stats.Queued != 0 || stats.QueuedBytes != 0 {
			t.Errorf("stats: %+v", stats)
		}
	})
}

// receiveAll expects rounds messages of each sender at a session's peer.
func receiveAll(t *testing.T, far interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
}, senders, rounds int) {
	t.Helper()
	peer := testkit.NewTwoWrites(far)
	next := make([]int, senders)
	for range senders * rounds {
		_ = far.SetReadDeadline(time.Now().Add(testkit.Patience))
		msg, err := peer.Receive()
		if err != nil {
			t.Fatalf("after %v: %v", next, err)
		}
		sender, number := testkit.ParseMessage(t, msg)
		if next[sender] != number {
			t.Fatalf("message %d of sender %d came; want %d", number, sender, next[sender])
		}
		next[sender]++
	}
}

// pauseAtRandom makes goroutines meet in different places.
func pauseAtRandom() {
	switch n := rand.IntN(40); {
	case n == 0:
		time.Sleep(2 * time.Millisecond) // longer than the flusher waits for a receiver
	case n < 4:
		time.Sleep(100 * time.Microsecond)
	case n < 20:
		runtime.Gosched()
	}
}

// What a codec writes from within Receive, such as the answer to a ping, leaves by itself.
func TestWhatACodecWritesWhileReceivingLeavesAtOnce(t *testing.T) {
	testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
		ponging := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			c := testkit.NewTwoWrites(rw)
			return &testkit.FuncCodec{OnSend: c.Send, OnReceive: func() ([]byte, error) {
				for {
					msg, err := c.Receive()
					if err != nil || string(msg) != "ping" {
						return msg, err
					}
					if err := c.Send([]byte("pong")); err != nil {
						return nil, err
					}
				}
			}}
		})
		for _, queue := range []int{0, 8} {
			near, far := connect(t)
			s := testkit.Adopt(t, testkit.NewServer(t, ponging, queue), near)
			received := make(chan string, 1)
			go func() {
				msg, _ := s.Receive()
				received <- string(msg)
			}()
			peer := testkit.NewTwoWrites(far)
			_ = far.SetReadDeadline(time.Now().Add(atOnce))
			for range 3 {
				mustPeerSend(t, peer, "ping")
				mustPeerReceive(t, peer, "pong")
			}
			mustPeerSend(t, peer, "and now a message")
			if got := testkit.Await(t, testkit.Patience, "the message", received); got != "and now a message" {
				t.Errorf("received %q", got)
			}
		}
	})
}

// burstRig serves over pipes: what a client of it sends in one write is one chunk for the handler. Members join with
// their first message.
func burstRig(t *testing.T, queue int, handle func(r *testkit.Rig, s *libnet.Session, msg string)) *testkit.Rig {
	var r *testkit.Rig
	ready := make(chan struct{})
	r = testkit.ServeWith(t, testkit.Frames, func(srv *libnet.Server) { srv.SendQueue = queue }, func(s *libnet.Session) {
		<-ready
		for {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			handle(r, s, string(msg))
		}
	})
	close(ready)
	return r
}

func chunk(msgs ...string) (p []byte) {
	for _, msg := range msgs {
		p = append(p, testkit.Frame(msg)...)
	}
	return p
}

func TestABurstOfBroadcastsLeavesInOneWriteAMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const members, burst = 8, 32
		r := burstRig(t, 2*burst+4, func(r *testkit.Rig, s *libnet.Session, msg string) {
			r.Manager().BroadcastExcept([]byte(msg), s)
			runtime.Gosched() // whoever writes has every chance to do so too early
		})
		var faults [members]libnettest.Faults
		var far [members]net.Conn
		for i := range far {
			var near net.Conn
			near, far[i] = libnettest.Pipe()
			defer far[i].Close()
			testkit.Adopt(t, r.Server, faults[i].Wrap(near))
		}
		sender := r.Dial()
		var msgs []string
		for i := range burst {
			msgs = append(msgs, fmt.Sprint("message ", i))
		}
		testkit.MustWrite(t, sender, chunk(msgs...))
		synctest.Wait()
		time.Sleep(time.Second)
		for i := range far {
			for _, msg := range msgs {
				testkit.WantFrame(t, far[i], msg)
			}
			if n := faults[i].Calls(libnettest.OpWrite); n != 1 {
				t.Errorf("member %d was written to %d times", i, n)
			}
		}
	})
}

func TestWhatWaitsForTheRestOfABurstLeavesWithinTwoMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := burstRig(t, 64, func(r *testkit.Rig, s *libnet.Session, msg string) {
			r.Manager().BroadcastExcept([]byte(msg), s)
			<-release // as for a database
		})
		near, far := libnettest.Pipe()
		defer far.Close()
		member := testkit.Adopt(t, r.Server, near)
		testkit.MustWrite(t, r.Dial(), chunk("first", "second"))
		began := time.Now()
		testkit.WantFrame(t, far, "first")
		if took := time.Since(began); took > 2*time.Millisecond {
			t.Errorf("the message left after %v", took)
		}
		// The handler is still at work: it holds up nobody else's message.
		began = time.Now()
		testkit.MustSend(t, member, []byte("of another"))
		testkit.WantFrame(t, far, "of another")
		if took := time.Since(began); took != 0 {
			t.Errorf("another's message left after %v", took)
		}
		close(release)
		testkit.WantFrame(t, far, "second")
	})
}

// What waits for the rest of a burst must not make a queue full that would else be written.
func TestABurstLongerThanAQueueIsNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const burst = 500
		var to *libnet.Session
		r := burstRig(t, 8, func(r *testkit.Rig, s *libnet.Session, msg string) {
			if err := to.SendContext(context.Background(), msg); err != nil {
				t.Error(err)
			}
		})
		near, far := libnettest.Pipe()
		defer far.Close()
		to = testkit.Adopt(t, r.Server, near)
		began := time.Now()
		msgs := make([]string, burst)
		for i := range msgs {
			msgs[i] = fmt.Sprint("message ", i)
		}
		testkit.MustWrite(t, r.Dial(), chunk(msgs...))
		for _, msg := range msgs {
			testkit.WantFrame(t, far, msg)
		}
		if took := time.Since(began); took > 2*time.Millisecond {
			t.Errorf("the burst took %v", took)
		}
	})
}

// Nor must it keep the room of a larger one that follows.
func TestWhatIsHeldLeavesRoomForALargeMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		small, large := make([]byte, 20<<10), make([]byte, 50<<10)
		var to *libnet.Session
		r := burstRig(t, 64, func(r *testkit.Rig, s *libnet.Session, msg string) {
			for _, msg := range [][]byte{small, large} {
				if err := to.Send(msg); err != nil {
					t.Errorf("Send of %d bytes: %v", len(msg), err)
				}
				time.Sleep(100 * time.Microsecond) // in which it can be written
			}
		})
		r.SendQueueBytes = 64 << 10
		near, far := libnettest.Pipe()
		defer far.Close()
		go testkit.Drain(far)
		to = testkit.Adopt(t, r.Server, near)
		testkit.MustWrite(t, r.Dial(), chunk("first", "second"))
		time.Sleep(time.Second)
	})
}
