package libnet_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// CloseSession is for a queue that is full. A broadcast also ends, for ErrSlowConsumer, sessions whose queue is empty: those whose codec
// is being made, or is at work on another message for more than 10 ms.
func TestABroadcastEndsNoSessionWhoseQueueHasRoom(t *testing.T) {
	t.Run("the codec is being made", func(t *testing.T) {
		srv := newServer(t, helloProtocol(), 64)
		srv.OnFull = libnet.CloseSession
		near, _ := connectPipe(t)
		s := adopt(t, srv, near)
		result := srv.Manager().Broadcast([]byte("x"))
		time.Sleep(50 * time.Millisecond)
		if s.IsClosed() {
			t.Errorf("%+v, %v", result, s.Err())
		}
	})
	t.Run("the codec is at work", func(t *testing.T) {
		p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			return &funcCodec{send: func(msg any) error {
				time.Sleep(300 * time.Millisecond)
				_, err := rw.Write(msg.([]byte))
				return err
			}}
		})
		srv := newServer(t, p, 64)
		srv.OnFull = libnet.CloseSession
		near, _ := connectPipe(t)
		s := adopt(t, srv, near)
		s.Codec()
		go s.Send([]byte("slow"))
		time.Sleep(50 * time.Millisecond)
		result := srv.Manager().Broadcast([]byte("x"))
		time.Sleep(50 * time.Millisecond)
		if s.IsClosed() {
			t.Errorf("%+v, %v", result, s.Err())
		}
	})
	t.Run("Send, the codec is at work", func(t *testing.T) {
		p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			return &funcCodec{send: func(msg any) error {
				time.Sleep(500 * time.Millisecond)
				_, err := rw.Write(msg.([]byte))
				return err
			}}
		})
		srv := newServer(t, p, 64)
		srv.OnFull, srv.WriteTimeout = libnet.CloseSession, 100*time.Millisecond
		near, _ := connectPipe(t)
		s := adopt(t, srv, near)
		s.Codec()
		go s.Send([]byte("slow"))
		time.Sleep(50 * time.Millisecond)
		err := s.Send([]byte("x")) // "who waits for another's codec gets ErrSessionBlocked after Config.WriteTimeout"
		if !errors.Is(err, libnet.ErrSessionBlocked) || s.IsClosed() {
			t.Errorf("%v, %v", err, s.Err())
		}
	})
}

// inChild runs the test again in a process of its own, which must not die.
func inChild(t *testing.T, child func(t *testing.T)) {
	if os.Getenv("BREAKER_CHILD") == t.Name() {
		child(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.timeout=30s")
	cmd.Env = append(os.Environ(), "BREAKER_CHILD="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil {
		if len(out) > 1500 {
			out = out[:1500]
		}
		t.Errorf("the process died: %v\n%s", err, out)
	}
}

// layerConn is a conn that runs on another one in this process, as TLS does, and panics for a deadline.
type layerConn struct {
	net.Conn
	deadline func()
}

func (c *layerConn) NetConn() net.Conn { return c.Conn }
func (c *layerConn) SetWriteDeadline(at time.Time) error {
	c.deadline()
	return c.Conn.SetWriteDeadline(at)
}

// A panic in a conn's SetWriteDeadline ends its session.
func TestAPanicInSetWriteDeadlineOfALayerEndsOnlyItsSession(t *testing.T) {
	inChild(t, func(t *testing.T) {
		srv := newServer(t, frames, 8)
		srv.WriteTimeout = 100 * time.Millisecond
		near, far := libnettest.PipeSize(10)
		defer far.Close()
		s := adopt(t, srv, &layerConn{near, func() { panic("no deadlines here") }})
		mustSend(t, s, []byte("a"))
		eventually(t, "the first message", func() bool { return s.Stats().MessagesOut == 1 })
		mustSend(t, s, make([]byte, 1000))
		wantEndWithin(t, s, srv, 5*time.Second)
	})
}

// The same with the Close of a conn below TLS, which a peer that does not read has called by a timer.
func TestAPanicInTheCloseOfAConnBelowTLSEndsOnlyItsSession(t *testing.T) {
	inChild(t, func(t *testing.T) {
		const size = 32 << 10
		near, far := libnettest.PipeSize(size)
		defer far.Close()
		server := tls.Server(&scriptedConn{Conn: near, close: func() error { _ = near.Close(); panic("a broken Close") }}, serverTLS())
		client := tls.Client(far, clientTLS())
		shaken := make(chan error, 1)
		go func() { shaken <- client.Handshake() }()
		if err := server.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := <-shaken; err != nil {
			t.Fatal(err)
		}
		srv := newServer(t, frames, 8)
		s := adopt(t, srv, server)
		mustSend(t, s, make([]byte, 10_000))
		settle := func() int {
			eventually(t, "an empty queue", func() bool { return s.Stats().Queued == 0 })
			return far.(interface{ Buffered() int }).Buffered()
		}
		mustSend(t, s, make([]byte, size-settle()-22-4-8192-22-100))
		mustSend(t, s, make([]byte, size-settle()-22-4))
		settle()
		_ = s.Close()
		wantEndWithin(t, s, srv, 5*time.Second)
	})
}

type scriptedRaw struct {
	syscall.RawConn
	broken *atomic.Bool
}

func (r scriptedRaw) Control(f func(fd uintptr)) error {
	if r.broken.Load() {
		panic("a broken Control")
	}
	return r.RawConn.Control(f)
}

type rawLayerConn struct {
	*net.TCPConn
	broken atomic.Bool
}

func (c *rawLayerConn) NetConn() net.Conn { return c.TCPConn }
func (c *rawLayerConn) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.TCPConn.SyscallConn()
	return scriptedRaw{raw, &c.broken}, err
}

// The same with the Control of a conn's own RawConn, while a write waits for a slow peer.
func TestAPanicInControlEndsOnlyItsSession(t *testing.T) {
	inChild(t, func(t *testing.T) {
		srv := newServer(t, frames, 8)
		srv.WriteTimeout = time.Second
		near, _ := connectTCP(t)
		conn := &rawLayerConn{TCPConn: near.(*net.TCPConn)}
		s := adopt(t, srv, conn)
		mustSend(t, s, []byte("a"))
		eventually(t, "the first message", func() bool { return s.Stats().MessagesOut == 1 })
		for range 4 {
			_ = s.Send(make([]byte, 1<<20))
			_ = s.SendContext(timeoutContext(t, 100*time.Millisecond), make([]byte, 1<<20))
		}
		conn.broken.Store(true)
		wantEndWithin(t, s, srv, 5*time.Second)
	})
}
