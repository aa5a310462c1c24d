package libnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// scriptedHello reads 5 bytes in NewCodec, as a handshake of a codec's does.
func scriptedHello() libnet.Protocol {
	inner := codec.New(codec.Uint32BE, codec.Bytes)
	return libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		var hello [5]byte
		_, _ = io.ReadFull(rw, hello[:])
		return inner.NewCodec(rw)
	})
}

// SessionStats.Dropped: "bytes that had arrived and that nobody received". The codec has received these, long ago.
func TestWhatNewCodecReadIsNotDropped(t *testing.T) {
	srv := testkit.NewServer(t, scriptedHello(), 8)
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
			p := scriptedHello()
			if name == "control" {
				p = codec.New(codec.Uint32BE, codec.Bytes)
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

// doc.go: Server.Shutdown delivers "what was accepted, and otherwise" says "exactly how many messages were not written".
func TestServerShutdownTellsWhatIsLostWhileAHandlerIsAtWork(t *testing.T) {
	for _, busy := range []bool{true, false} {
		name := "handler at work"
		if !busy {
			name = "control: handler waits"
		}
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			srv := libnet.NewServer(l, codec.New(codec.Uint32BE, codec.Bytes), 1000)
			srv.Logger = testkit.Quiet
			srv.SendQueueBytes = -1
			at, release := make(chan *libnet.Session, 1), make(chan struct{})
			served := make(chan error, 1)
			go func() {
				served <- srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
					if _, err := s.Receive(); err != nil {
						return
					}
					for range 100 {
						_ = s.Send(make([]byte, 100<<10))
					}
					at <- s
					if busy {
						<-release
						return
					}
					_, _ = s.Receive()
				}))
			}()
			far, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			testkit.MustWrite(t, far, []byte{0, 0, 0, 1, 'x'})
			s := testkit.Await(t, 5*time.Second, "the session", at)
			time.Sleep(50 * time.Millisecond)
			result := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
				defer cancel()
				result <- srv.Shutdown(ctx)
			}()
			time.Sleep(200 * time.Millisecond)
			before := s.Stats()
			_ = far.(*net.TCPConn).SetLinger(0)
			_ = far.Close() // a reset
			got := testkit.Await(t, 10*time.Second, "Shutdown", result)
			close(release)
			after := s.Stats()
			t.Logf("Shutdown: %v; queued when it had begun %d, discarded before %d, at the end %d", got, before.Queued, before.Discarded, after.Discarded)
			var lost *libnet.ShutdownError
			if after.Discarded > 0 && (!errors.As(got, &lost) || lost.Undelivered != after.Discarded) {
				t.Errorf("Shutdown returned %v; %d messages were not written, of which none was lost before it", got, after.Discarded-before.Discarded)
			}
			<-served
		})
	}
}
