package libnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
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

// docs/sendside.md: "SendContext in the line waits for room, and is woken by whoever makes room".
func TestADropThatMakesRoomIsToldToWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := scriptedSession(t, codec.New(codec.Uint16BE, codec.Bytes), func(srv *libnet.Server) {
			srv.SendQueue, srv.SendQueueBytes, srv.OnFull = 100, 1000, libnet.DropOldest
		})
		testkit.MustSend(t, s, make([]byte, 10)) // in flight
		synctest.Wait()
		testkit.MustSend(t, s, make([]byte, 900))
		sent := make(chan error, 1)
		go func() { sent <- s.SendContext(context.Background(), make([]byte, 500)) }()
		synctest.Wait()
		testkit.MustSend(t, s, make([]byte, 200)) // drops the 900 bytes
		time.Sleep(time.Minute)
		synctest.Wait()
		stats := s.Stats()
		select {
		case err := <-sent:
			t.Log("SendContext returned", err)
		default:
			t.Errorf("a message of 502 bytes waits for room in a queue of 1000 that holds %d bytes in %d messages", stats.QueuedBytes, stats.Queued)
		}
		_ = s.Close()
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
