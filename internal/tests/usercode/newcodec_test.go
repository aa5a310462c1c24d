package usercode

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// helloProtocol is p whose NewCodec reads five bytes first, as a handshake does.
func helloProtocol(p libnet.Protocol) libnet.Protocol {
	return libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		var hello [5]byte
		_, _ = io.ReadFull(rw, hello[:])
		return p.NewCodec(rw)
	})
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

// Dial's context bounds the making of the codec, too.
func TestDialReturnsWithItsContextWhileTheCodecIsBeingMade(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if conn, err := l.Accept(); err == nil {
			accepted <- conn // and says nothing
		}
	}()
	d := libnet.Dialer{Protocol: helloProtocol(testkit.Frames)}
	d.NetDialer.Timeout, d.HandshakeTimeout = 100*time.Millisecond, 100*time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		s, err := d.Dial(ctx, "tcp", l.Addr().String())
		if err == nil {
			_ = s.Close()
		}
		done <- err
	}()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		t.Error("Dial has not returned 3 s after its context")
		_ = (<-accepted).Close()
		<-done
	}
}

// The codec of a member that says nothing is made by one goroutine, however many broadcasts there are.
func TestABroadcastLeavesNoGoroutineWithAMemberWhoseCodecIsBeingMade(t *testing.T) {
	srv := testkit.NewServer(t, helloProtocol(testkit.Frames), 8)
	near, _ := testkit.ConnectPipe(t)
	testkit.Adopt(t, srv, near)
	before := runtime.NumGoroutine()
	for range 30 {
		srv.Manager().Broadcast("x")
	}
	testkit.Eventually(t, "few goroutines", func() bool { return runtime.NumGoroutine()-before <= 5 })
}

// A broadcast waits 10 ms for a codec that is being made.
func TestABroadcastWaitsForOneSlowCodecNoLongerThanItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), helloProtocol(testkit.Frames), 8)
		near, far := libnettest.Pipe()
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			begin := time.Now()
			srv.Manager().Broadcast("x")
			if took := time.Since(begin); took > 20*time.Millisecond {
				t.Errorf("a broadcast waited %v for one member", took)
			}
		}
		_ = s.Close()
		_ = far.Close()
		srv.Stop()
	})
}

// A busyProtocol's codecs neither wait nor call a user's code, as package codec's: what takes its time is to get a
// processor.
type busyProtocol struct{ libnet.Protocol }

func (p busyProtocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	time.Sleep(300 * time.Millisecond)
	return p.Protocol.NewCodec(rw)
}

func (busyProtocol) MakesAtOnce(libnet.Protocol, inside.Call) bool { return true }

func TestABroadcastWaitsForACodecThatSomebodyIsAboutToHaveMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, busyProtocol{testkit.Frames}, 64)
		near, _ := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, srv, near)
		go s.Codec()
		synctest.Wait()
		if result := srv.Manager().Broadcast([]byte("x")); result.Sent != 1 {
			t.Errorf("%+v", result)
		}
	})
}

func TestSendContextReturnsWithItsContextWhileTheCodecIsBeingMade(t *testing.T) {
	for name, queue := range map[string]int{"queue": 8, "synchronous": 0} {
		t.Run(name, func(t *testing.T) {
			making := make(chan struct{})
			hello := helloProtocol(testkit.Frames)
			srv := testkit.NewServer(t, libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				close(making)
				return hello.NewCodec(rw)
			}), queue)
			near, _ := testkit.ConnectPipe(t)
			s := testkit.Adopt(t, srv, near)
			go s.Codec()
			testkit.Await(t, testkit.Patience, "NewCodec", making)
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- s.SendContext(ctx, []byte("x")) }()
			testkit.Await(t, 3*time.Second, "SendContext", done)
		})
	}
}

// SessionStats.Dropped: "bytes that had arrived and that nobody received". The codec has received these, long ago.
func TestWhatNewCodecReadIsNotDropped(t *testing.T) {
	srv := testkit.NewServer(t, helloProtocol(testkit.Frames), 8)
	near, far := testkit.ConnectTCP(t)
	s := testkit.Adopt(t, srv, near)
	testkit.MustWrite(t, far, []byte("hello"))
	if s.Codec() == nil {
		t.Fatal("no codec")
	}
	time.Sleep(20 * time.Millisecond)
	_ = s.Close()
	if d := s.Stats().Dropped; d != 0 {
		t.Errorf("Dropped is %d, want 0", d)
	}
}

// Config.IdleTimeout "ends a session from which nothing came for this long". Here nothing lies unread.
func TestIdleTimeoutAfterAHandshakeOfTheCodec(t *testing.T) {
	for _, name := range []string{"with hello", "control"} {
		t.Run(name, func(t *testing.T) {
			p := helloProtocol(testkit.Frames)
			if name == "control" {
				p = testkit.Frames
			}
			srv := libnet.NewServer(libnettest.NewListener(), p, 8)
			srv.Logger = testkit.Quiet
			srv.IdleTimeout = 100 * time.Millisecond
			near, far := testkit.ConnectTCP(t)
			s := testkit.Adopt(t, srv, near)
			defer s.Close()
			if name != "control" {
				testkit.MustWrite(t, far, []byte("hello"))
			}
			if s.Codec() == nil {
				t.Fatal("no codec")
			}
			select { // a handler that only pushes
			case <-s.Done():
				if !errors.Is(s.Err(), libnet.ErrIdleTimeout) {
					t.Errorf("ended with %v", s.Err())
				}
			case <-time.After(3 * time.Second):
				t.Errorf("3 s of silence, IdleTimeout is 100 ms, and the session is open")
			}
		})
	}
}

// NewCodec may do anything but return: what waits for the codec it makes ends with its context, and with the session.
func TestNobodyWaitsForACodecThatIsNeverMade(t *testing.T) {
	release, making := make(chan struct{}), make(chan struct{}, 2)
	defer close(release)
	hanging := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		making <- struct{}{}
		<-release
		return testkit.Frames.NewCodec(rw)
	})
	t.Run("Dial", func(t *testing.T) {
		defer func() { <-making }()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		testkit.Within(t, testkit.Patience, "Dial", func() {
			d := libnet.Dialer{Protocol: hanging}
			if _, err := d.Dial(ctx, "tcp", l.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Dial: %v", err)
			}
		})
	})
	t.Run("Receive", func(t *testing.T) {
		srv := testkit.NewServer(t, hanging, 8)
		near, _ := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, srv, near)
		go func() { _ = s.Send("x") }() // makes the codec
		testkit.Await(t, testkit.Patience, "NewCodec", making)
		received := make(chan error, 1)
		go func() { _, err := s.Receive(); received <- err }()
		time.Sleep(20 * time.Millisecond)
		_ = s.Close()
		if err := testkit.Await(t, testkit.Patience, "Receive", received); err != libnet.ErrSessionClosed {
			t.Errorf("Receive: %v", err)
		}
	})
}

// What NewCodec reads, in however many pieces, is no frame: FrameTimeout begins with the first one.
func TestFrameTimeoutDoesNotCountWhatNewCodecReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), helloProtocol(testkit.Frames), 8)
		srv.FrameTimeout = time.Second
		near, far := testkit.ConnectPipe(t)
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		received := make(chan error, 1)
		go func() { _, err := s.Receive(); received <- err }()
		testkit.MustWrite(t, far, []byte("he"))
		time.Sleep(time.Millisecond)
		testkit.MustWrite(t, far, []byte("llo"))
		time.Sleep(time.Minute)
		testkit.MustWrite(t, far, testkit.Frame("a frame"))
		if err := <-received; err != nil {
			t.Error(err)
		}
		srv.Stop()
	})
}
