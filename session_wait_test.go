package libnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// asking is a protocol like frames whose codec asks before it encodes.
func asking(ask func(msg any) error) libnet.Protocol {
	return libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		c := testkit.Frames.NewCodec(rw)
		return testkit.FramingCodec{Codec: c, OnAppend: func(dst []byte, msg any) ([]byte, error) {
			if err := ask(msg); err != nil {
				return dst, err
			}
			return c.(libnet.FrameAppender).AppendFrame(dst, msg)
		}}
	})
}

func TestAMarshalerMayCallItsSession(t *testing.T) {
	for _, queue := range []int{0, 8} {
		near, far := testkit.ConnectTCP(t)
		go testkit.Drain(far)
		var s *libnet.Session
		srv := testkit.NewServer(t, asking(func(msg any) error {
			if string(msg.([]byte)) == "outer" {
				_, _ = s.Stats(), s.Err()
				return s.Send([]byte("inner"))
			}
			return nil
		}), queue)
		s = testkit.Adopt(t, srv, near)
		testkit.Within(t, testkit.Patience, "Send whose marshaler sends", func() {
			if err := s.Send([]byte("outer")); err != nil {
				t.Error(err)
			}
		})
		testkit.Eventually(t, "both messages written", func() bool { return s.Stats().MessagesOut == 2 })
	}
}

func TestAMarshalerThatHangsHoldsUpNobodyElse(t *testing.T) {
	near, far := testkit.ConnectTCP(t)
	go testkit.Drain(far)
	hung, release := make(chan struct{}), make(chan struct{})
	srv := testkit.NewServer(t, asking(func(msg any) error {
		if string(msg.([]byte)) == "hang" {
			close(hung)
			<-release
		}
		return nil
	}), 8)
	s := testkit.Adopt(t, srv, near)
	sent := make(chan error, 1)
	go func() { sent <- s.Send([]byte("hang")) }()
	<-hung
	testkit.Within(t, testkit.Patience, "all else", func() {
		testkit.MustSend(t, s, []byte("another"))
		_, _ = s.Stats(), srv.Stats()
		if result := srv.Manager().Broadcast([]byte("to all")); result.Sent != 1 {
			t.Errorf("%+v", result)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx)
	})
	close(release)
	if err := testkit.Await(t, testkit.Patience, "Send", sent); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Shutdown: %v", err)
	}
}

func TestDropOldestFreesWhatItDrops(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 64 << 10} {
		for _, send := range []string{"Send", "Broadcast"} {
			t.Run(fmt.Sprint(size, send), func(t *testing.T) {
				srv := testkit.NewServer(t, testkit.Frames, 4)
				srv.OnFull = libnet.DropOldest
				_, near := libnettest.PipeSize(10)
				s := testkit.Adopt(t, srv, near)
				msg := make([]byte, size)
				before := heapInUse()
				for range max(2000, 50_000_000/max(size, 500)) {
					if send == "Send" {
						testkit.MustSend(t, s, &msg)
					} else if result := srv.Manager().Broadcast(&msg); result.Sent != 1 {
						t.Fatalf("%+v", result)
					}
				}
				if grown := (heapInUse() - before) >> 20; grown > 4 {
					t.Errorf("the heap grew by %d MiB; the queue holds %+v", grown, s.Stats())
				}
				runtime.KeepAlive(s)
			})
		}
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// What is in flight cannot be taken back: it must not make DropOldest drop what is not, in vain.
func TestABroadcastUnderDropOldestIsQueuedAsASendIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 100)
		srv.Logger = testkit.Quiet
		srv.OnFull, srv.SendQueueBytes = libnet.DropOldest, 1000
		near, far := libnettest.PipeSize(10)
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		testkit.MustSend(t, s, make([]byte, 600))
		synctest.Wait()
		for range 5 {
			testkit.MustSend(t, s, make([]byte, 50))
		}
		if result := srv.Manager().Broadcast(make([]byte, 500)); result != (libnet.BroadcastResult{Sent: 1}) {
			t.Errorf("%+v", result)
		}
		if stats := s.Stats(); stats.Queued != 2 || stats.Discarded != 5 {
			t.Errorf("%+v", stats)
		}
		_ = s.Close()
		_ = far.Close()
		srv.Stop()
	})
}

func TestSendContextNoticesRoomMadeAtAnyMoment(t *testing.T) {
	near, far := libnettest.PipeSize(64)
	s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 2), near)
	go testkit.Drain(far)
	const senders, messages = 8, 2000
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for range messages {
				if err := s.SendContext(context.Background(), []byte("message")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	testkit.Within(t, 10*testkit.Patience, "all senders", sending.Wait)
	testkit.Eventually(t, "all written", func() bool { return s.Stats().MessagesOut == senders*messages })
}

// Who waits is served in the order of coming: none is passed over, however many there are.
func TestSendersThatWaitAreServedInTheirOrder(t *testing.T) {
	set := func(srv *libnet.Server) { srv.WriteTimeout = time.Hour }
	for _, p := range testkit.Protocols {
		stalled(t, p.Protocol, set, func(t *testing.T, s *libnet.Session, srv *libnet.Server, peer *testkit.TwoWrites) {
			const waiting = 100
			for i := range waiting {
				go func() {
					if err := s.SendContext(context.Background(), testkit.Message(0, 3+i, 10)); err != nil {
						t.Error(err)
					}
				}()
				synctest.Wait()
			}
			want := make([]int, 3+waiting)
			for i := range want {
				want[i] = i
			}
			wantNumbers(t, s, peer, want...)
		})
	}
}

func TestASendContextThatGivesUpLetsThoseBehindItThrough(t *testing.T) {
	set := func(srv *libnet.Server) { srv.WriteTimeout, srv.SendQueueBytes = time.Hour, 3100 }
	stalled(t, testkit.Frames, set, func(t *testing.T, s *libnet.Session, srv *libnet.Server, peer *testkit.TwoWrites) {
		ctx, cancel := context.WithCancel(context.Background())
		large, small := make(chan error, 1), make(chan error, 1)
		go func() { large <- s.SendContext(ctx, testkit.Message(0, 3, 3000)) }()
		synctest.Wait()
		go func() { small <- s.SendContext(context.Background(), testkit.Message(0, 4, 10)) }()
		synctest.Wait()
		cancel()
		if err := <-large; err != context.Canceled {
			t.Errorf("SendContext: %v", err)
		}
		wantNumbers(t, s, peer, 0, 1, 2, 4)
		if err := <-small; err != nil {
			t.Errorf("SendContext behind it: %v", err)
		}
	})
}

func TestASendUnderALockThatACloseCallbackTakesReturns(t *testing.T) {
	for name, test := range map[string]struct {
		queue int
		set   func(*libnet.Server)
		p     libnet.Protocol
		conn  func(net.Conn) net.Conn
		want  error
	}{
		"CloseSession":   {2, func(srv *libnet.Server) { srv.OnFull = libnet.CloseSession }, testkit.Frames, nil, libnet.ErrSlowConsumer},
		"panic":          {8, nil, asking(func(any) error { panic("a bug") }), nil, libnet.ErrPanic},
		"failed write":   {0, nil, testkit.Frames, func(c net.Conn) net.Conn { _ = c.Close(); return c }, nil},
		"NewCodec panic": {8, nil, libnet.ProtocolFunc(func(io.ReadWriter) libnet.Codec { panic("a bug") }), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			srv := testkit.NewServer(t, test.p, test.queue)
			if test.set != nil {
				test.set(srv)
			}
			_, near := libnettest.PipeSize(10)
			if test.conn != nil {
				near = test.conn(near)
			}
			s := testkit.Adopt(t, srv, near)
			var mu sync.Mutex
			called := make(chan struct{})
			s.OnClose(func() { mu.Lock(); defer mu.Unlock(); close(called) })
			testkit.Within(t, testkit.Patience, "Send", func() {
				mu.Lock()
				defer mu.Unlock()
				var err error
				for i := 0; i < 10 && err == nil; i++ {
					err = s.Send([]byte("sixteen byte msg"))
				}
				if err == nil || test.want != nil && !errors.Is(err, test.want) {
					t.Errorf("Send: %v", err)
				}
			})
			testkit.Await(t, testkit.Patience, "the callback", called)
		})
	}
}

func TestSendContextOnASynchronousSessionEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 0)
		srv.Logger, srv.WriteTimeout = testkit.Quiet, -1
		near, far := libnettest.PipeSize(10)
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		written, waiting := make(chan error, 1), make(chan error, 1)
		go func() { written <- s.SendContext(ctx, make([]byte, 100)) }() // some of it leaves
		synctest.Wait()
		go func() { waiting <- s.SendContext(ctx, []byte("waits")) }() // nothing of it does
		if err := <-written; err != context.DeadlineExceeded {
			t.Errorf("SendContext that was writing: %v", err)
		}
		if err := <-waiting; err != context.DeadlineExceeded {
			t.Errorf("SendContext that waited: %v", err)
		}
		peer := testkit.NewTwoWrites(far)
		if msg, err := peer.Receive(); err != nil || len(msg) != 100 {
			t.Errorf("the message of which a part was written: %d bytes, %v", len(msg), err)
		}
		testkit.MustSend(t, s, []byte("next"))
		if msg, err := peer.Receive(); err != nil || string(msg) != "next" {
			t.Errorf("behind it: %q, %v", msg, err)
		}
		if stats := s.Stats(); stats.MessagesOut != 2 || stats.Discarded != 0 || stats.Queued != 0 {
			t.Errorf("%+v", stats)
		}
		_ = far.Close()
		srv.Stop()
	})
}

func TestDropOldestKeepsWhatACodecWroteOutsideSend(t *testing.T) {
	ponging := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		c := testkit.NewTwoWrites(rw)
		return &testkit.FuncCodec{OnSend: c.Send, OnReceive: func() ([]byte, error) {
			msg, err := c.Receive()
			if err == nil {
				err = c.Send([]byte("pong"))
			}
			return msg, err
		}}
	})
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), ponging, 2)
		srv.Logger, srv.OnFull = testkit.Quiet, libnet.DropOldest
		near, far := libnettest.PipeSize(10)
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		testkit.MustSend(t, s, make([]byte, 100)) // in flight
		synctest.Wait()
		go func() { _, _ = far.Write(testkit.Frame("ping")) }()
		for i := range 3 {
			testkit.MustSend(t, s, []byte{byte('0' + i)})
		}
		if _, err := s.Receive(); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			testkit.MustSend(t, s, []byte{byte('5' + i)})
		}
		_ = far.SetReadDeadline(time.Now().Add(time.Second))
		got, _ := io.ReadAll(far)
		if rest := string(got[104:]); !strings.HasPrefix(rest, string(testkit.Frame("pong"))) || !strings.HasSuffix(rest, string(testkit.Frame("9"))) {
			t.Errorf("the peer read %q behind the first message", rest)
		}
		_ = s.Close()
		srv.Stop()
	})
}

func TestABroadcastWaitsForNoMember(t *testing.T) {
	hello := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		var b [1]byte
		_, _ = io.ReadFull(rw, b[:])
		return testkit.NewTwoWrites(rw)
	})
	plain := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return testkit.NewTwoWrites(rw) })
	for name, test := range map[string]struct {
		queue  int
		p      libnet.Protocol
		before func(*libnet.Session)
	}{
		"whose codec reads first":        {8, hello, func(*libnet.Session) {}},
		"that sends synchronously":       {0, testkit.Frames, func(s *libnet.Session) { go s.Send(make([]byte, 100)) }},
		"the same, with a plain codec":   {0, plain, func(s *libnet.Session) { go s.Send(make([]byte, 100)) }},
		"whose codec is at work, queued": {8, libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return &testkit.FuncCodec{OnSend: hang} }), func(s *libnet.Session) { go s.Send("hang") }},
	} {
		t.Run(name, func(t *testing.T) {
			release = make(chan struct{})
			defer close(release)
			srv, ordinary := testkit.NewServer(t, test.p, test.queue), testkit.NewServer(t, testkit.Frames, 8)
			srv.WriteTimeout = time.Minute
			_, near := libnettest.PipeSize(10)
			s := testkit.Adopt(t, srv, near)
			near, far := testkit.ConnectPipe(t)
			go testkit.Drain(far)
			var group libnet.Group[int]
			group.Put(1, s)
			group.Put(2, testkit.Adopt(t, ordinary, near))
			test.before(s)
			time.Sleep(20 * time.Millisecond)
			testkit.Within(t, testkit.Patience, "Broadcast", func() {
				if result := group.Broadcast([]byte("x")); result.Sent == 0 {
					t.Errorf("%+v: the other member has not got it", result)
				}
			})
			_ = s.Close()
		})
	}
}

var release chan struct{}

func hang(any) error { <-release; return nil }

// A codec that calls its own session waits for itself, but not for ever.
func TestAPlainCodecThatSendsFromSendIsRefused(t *testing.T) {
	var s *libnet.Session
	var inner atomic.Value
	srv := testkit.NewServer(t, libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		c := testkit.NewTwoWrites(rw)
		return &testkit.FuncCodec{OnSend: func(msg any) error {
			if string(msg.([]byte)) == "outer" {
				inner.Store(s.Send([]byte("inner")))
			}
			return c.Send(msg)
		}}
	}), 8)
	srv.WriteTimeout = 50 * time.Millisecond
	near, far := testkit.ConnectPipe(t)
	go testkit.Drain(far)
	s = testkit.Adopt(t, srv, near)
	testkit.Within(t, testkit.Patience, "Send", func() { testkit.MustSend(t, s, []byte("outer")) })
	if err := inner.Load(); err != libnet.ErrSessionBlocked {
		t.Errorf("the Send within: %v", err)
	}
}

func TestCloseAndACodecThatReadsDoNotRace(t *testing.T) {
	p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		var b [1]byte
		for range 10_000 {
			if _, err := rw.Read(b[:]); err != nil {
				break
			}
		}
		return testkit.NewTwoWrites(rw)
	})
	srv := testkit.NewServer(t, p, 10)
	for i := range 100 {
		near, far := libnettest.PipeSize(64)
		s := testkit.Adopt(t, srv, near)
		go func() { _, _ = s.Receive() }()
		go func() {
			for {
				if _, err := far.Write(make([]byte, 16)); err != nil {
					return
				}
			}
		}()
		time.Sleep(time.Duration(i%10) * 50 * time.Microsecond)
		_ = s.Close()
		_ = far.Close()
	}
}

// Of several whose first message meets the codec's making, none waits for what has just been made.
func TestFirstMessagesOfSeveralSendersMeetTheMakingOfTheCodec(t *testing.T) {
	for range 2000 {
		near, far := libnettest.Pipe()
		s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 8), near)
		var sending sync.WaitGroup
		for range 4 {
			sending.Go(func() {
				if err := s.SendContext(context.Background(), []byte("first")); err != nil {
					t.Error(err)
				}
			})
		}
		testkit.Within(t, testkit.Patience, "all senders", sending.Wait)
		_ = s.Close()
		_ = far.Close()
	}
}
