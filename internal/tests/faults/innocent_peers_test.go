package faults

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// A timeout is the peer's: what this side has not received, or is still at work on, ends nobody.

// bubble runs test in a synctest bubble, with a server and a session's two ends.
func bubble(t *testing.T, p libnet.Protocol, connect testkit.Connector, configure func(*libnet.Server), test func(t *testing.T, s *libnet.Session, far net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), p, 8)
		srv.Logger = testkit.Quiet
		configure(srv)
		near, far := connect(t)
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		test(t, s, far)
		_ = far.Close()
		srv.Stop()
		time.Sleep(time.Minute) // whatever wrote to far has noticed
	})
}

func TestHandshakeTimeoutSparesAPeerWhoseMessageHasArrived(t *testing.T) {
	configure := func(srv *libnet.Server) { srv.HandshakeTimeout = time.Second }
	bubble(t, testkit.Frames, testkit.ConnectPipe, configure, func(t *testing.T, s *libnet.Session, far net.Conn) {
		testkit.MustWrite(t, far, testkit.Frame("hello"))
		time.Sleep(10 * time.Second) // the handler has other things to do
		if _, err := s.Receive(); err != nil {
			t.Error(err)
		}
	})
	bubble(t, testkit.Frames, testkit.ConnectPipe, configure, func(t *testing.T, s *libnet.Session, far net.Conn) {
		testkit.MustWrite(t, far, testkit.Frame("hello")[:2])
		time.Sleep(10 * time.Second)
		began := time.Now()
		if _, err := s.Receive(); err != libnet.ErrHandshakeTimeout || time.Since(began) > time.Second {
			t.Errorf("half a message: %v after %v", err, time.Since(began))
		}
	})
}

// The timer fires as the receiver comes, which then waits already for what has arrived.
func TestHandshakeTimeoutSparesPeersWhoseMessagesAreReceivedAsItPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 8)
		srv.Logger = testkit.Quiet
		srv.HandshakeTimeout = time.Second
		var receivers sync.WaitGroup
		for i := range 2000 {
			near, far := libnettest.Pipe()
			s, err := srv.NewSession(near)
			if err != nil {
				t.Fatal(err)
			}
			testkit.MustWrite(t, far, testkit.Frame("hello"))
			receivers.Go(func() {
				time.Sleep(time.Duration(2+i%3) * time.Second)
				if _, err := s.Receive(); err != nil {
					t.Errorf("session %d: %v", i, err)
				}
				_ = far.Close()
			})
		}
		receivers.Wait()
		srv.Stop()
		time.Sleep(time.Minute)
	})
}

func TestIdleTimeoutSparesAPeerWhoseMessagesWaitForTheHandler(t *testing.T) {
	for name, connect := range map[string]testkit.Connector{"a conn that tells": testkit.ConnectPipe, "one that does not": testkit.ConnectNetPipe} {
		t.Run(name, func(t *testing.T) {
			bubble(t, testkit.Frames, connect, func(srv *libnet.Server) { srv.IdleTimeout = time.Second }, func(t *testing.T, s *libnet.Session, far net.Conn) {
				go func() {
					for {
						if _, err := far.Write(testkit.Frame("x")); err != nil {
							return
						}
						time.Sleep(100 * time.Millisecond)
					}
				}()
				for range 5 {
					if _, err := s.Receive(); err != nil {
						t.Fatal(err)
					}
					time.Sleep(5 * time.Second)
				}
			})
		})
	}
}

// pingCodec answers 'p' within Receive; all other bytes are messages, with which it takes its time.
type pingCodec struct {
	io.ReadWriter
	takes time.Duration
}

func (c pingCodec) Receive() ([]byte, error) {
	p := make([]byte, 2)
	for {
		if _, err := io.ReadFull(c, p); err != nil {
			return nil, err
		}
		if p[0] != 'p' {
			time.Sleep(c.takes)
			return p, nil
		}
		if _, err := c.Write([]byte("P")); err != nil {
			return nil, err
		}
	}
}
func (c pingCodec) Send(msg any) error { _, err := c.Write(msg.([]byte)); return err }
func (c pingCodec) Close() error       { return nil }

func TestFrameTimeoutOfAPlainCodecCountsOneFrame(t *testing.T) {
	p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return pingCodec{rw, 10 * time.Second} })
	bubble(t, p, testkit.ConnectPipe, func(srv *libnet.Server) { srv.FrameTimeout = time.Second }, func(t *testing.T, s *libnet.Session, far net.Conn) {
		go testkit.Drain(far)
		received := make(chan error, 1)
		go func() { _, err := s.Receive(); received <- err }()
		for range 20 {
			testkit.MustWrite(t, far, []byte("pp"))
			time.Sleep(300 * time.Millisecond)
		}
		for _, half := range []string{"m", "m"} { // whole after 0.3 s; then the codec works on it
			testkit.MustWrite(t, far, []byte(half))
			time.Sleep(300 * time.Millisecond)
		}
		if err := <-received; err != nil {
			t.Error(err)
		}
		testkit.MustWrite(t, far, []byte("m"))
		if _, err := s.Receive(); err != libnet.ErrFrameTimeout {
			t.Errorf("half a frame: %v", err)
		}
	})
}
