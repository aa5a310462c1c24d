package plaincodec

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func scriptedSession(t *testing.T, p libnet.Protocol, configure func(*libnet.Server)) (far net.Conn, s *libnet.Session) {
	t.Helper()
	srv := libnet.NewServer(libnettest.NewListener(), p, 1)
	srv.Logger = testkit.Quiet
	srv.WriteTimeout = -1
	configure(srv)
	near, far := net.Pipe()
	s, err := srv.NewSession(near)
	if err != nil {
		t.Fatal(err)
	}
	s.Codec()
	t.Cleanup(func() { _ = far.Close(); _ = s.Close() })
	return far, s
}

type scriptedPlain struct {
	rw     io.ReadWriter
	inSend func(msg any)
}

func (c *scriptedPlain) Receive() ([]byte, error) {
	var b [1]byte
	_, err := io.ReadFull(c.rw, b[:])
	return b[:], err
}
func (c *scriptedPlain) Send(msg any) error {
	if c.inSend != nil {
		c.inSend(msg)
	}
	_, err := c.rw.Write(msg.([]byte))
	return err
}
func (c *scriptedPlain) Close() error { return nil }

// A Send that waits while a plain codec is at work does not wait for the peer behind a SendContext, which does.
func TestSendOfAPlainCodecDoesNotWaitForThePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		far, s := scriptedSession(t, libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			return &scriptedPlain{rw, func(msg any) {
				if bytes.Equal(msg.([]byte), []byte("A")) {
					<-release
				}
			}}
		}), func(srv *libnet.Server) { srv.SendQueue = 2; srv.WriteTimeout = time.Hour })
		testkit.MustSend(t, s, []byte("0")) // in flight
		synctest.Wait()
		go func() { _ = s.Send([]byte("A")) }() // encodes for a while: one place is left
		synctest.Wait()
		go func() { _ = s.SendContext(context.Background(), []byte("B")) }()
		synctest.Wait()
		sent := make(chan error, 1)
		go func() { sent <- s.Send([]byte("C")) }()
		synctest.Wait()
		close(release) // the codec is idle from now on, and the queue is full
		began := time.Now()
		if err := <-sent; err != libnet.ErrSessionBlocked || time.Since(began) > 20*time.Millisecond {
			t.Errorf("Send returned %v after %v; no codec is at work and the queue is full", err, time.Since(began))
		}
		_ = s.Close()
		_ = far.Close()
	})
}

// A SendContext on a queue that drops is served after 16 Sends that pass it.
func scriptedStarve(t *testing.T, p libnet.Protocol) {
	synctest.Test(t, func(t *testing.T) {
		_, s := scriptedSession(t, p, func(srv *libnet.Server) { srv.SendQueue, srv.OnFull = 2, libnet.DropOldest })
		testkit.MustSend(t, s, []byte("0"))
		synctest.Wait()
		testkit.MustSend(t, s, []byte("1"))
		sent := make(chan error, 1)
		go func() { sent <- s.SendContext(context.Background(), []byte("B")) }()
		synctest.Wait()
		n := 0
		for ; n < 10000 && len(sent) == 0; n++ {
			testkit.MustSend(t, s, []byte("x"))
			synctest.Wait()
		}
		if n == 10000 {
			t.Errorf("SendContext still waits: %d Sends have gone before it", n)
		} else {
			t.Logf("served after %d", n)
		}
		_ = s.Close()
	})
}

func TestSendContextOfAPlainCodecDoesNotStarve(t *testing.T) {
	scriptedStarve(t, libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return &scriptedPlain{rw: rw} }))
}
func TestSendContextOfAnAppenderDoesNotStarve(t *testing.T) {
	scriptedStarve(t, codec.New(codec.Uint16BE, codec.Bytes))
}

// SendContext waits for room; no codec is slower than 1 ms, and the peer takes a message every 5 ms.
func TestSendContextOfAPlainCodecIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, s := scriptedSession(t, libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			return &scriptedPlain{rw, func(any) { time.Sleep(time.Millisecond) }}
		}), func(srv *libnet.Server) { srv.WriteTimeout = time.Second })
		go func() {
			var b [1]byte
			for {
				time.Sleep(5 * time.Millisecond)
				if _, err := far.Read(b[:]); err != nil {
					return
				}
			}
		}()
		var wg sync.WaitGroup
		var mu sync.Mutex
		refused := 0
		for i := range 400 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				if err := s.SendContext(context.Background(), []byte("x")); errors.Is(err, libnet.ErrSessionBlocked) {
					mu.Lock()
					refused++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if refused > 0 {
			t.Errorf("%d of 400 SendContext that waited for room got ErrSessionBlocked", refused)
		}
		_ = s.Close()
		_ = far.Close()
		time.Sleep(time.Second)
	})
}

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
