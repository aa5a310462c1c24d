package usercode

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// closingCodec is a plain codec that closes its stream for "!", received or sent.
type closingCodec struct{ rw io.ReadWriter }

func (c closingCodec) Receive() ([]byte, error) {
	p := make([]byte, 1)
	if _, err := io.ReadFull(c.rw, p); err != nil {
		return nil, err
	}
	if p[0] == '!' {
		_ = c.rw.(io.Closer).Close()
		return nil, io.ErrUnexpectedEOF
	}
	return p, nil
}

func (c closingCodec) Send(msg any) error {
	if msg == "!" {
		_ = c.rw.(io.Closer).Close()
		return io.ErrClosedPipe
	}
	_, err := io.WriteString(c.rw, msg.(string))
	return err
}

func (closingCodec) Close() error { return nil }

var closing = libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return closingCodec{rw} })

func TestACloseCallbackMayReceiveThoughTheCodecHasClosedItsStream(t *testing.T) {
	near, far := testkit.ConnectPipe(t)
	s := testkit.Adopt(t, testkit.NewServer(t, closing, 8), near)
	ran := make(chan struct{})
	s.OnClose(func() { _, _ = s.Receive(); close(ran) })
	go func() { _, _ = s.Receive() }()
	testkit.MustWrite(t, far, []byte("!"))
	testkit.Await(t, testkit.Patience, "the callback", ran)
}

func TestSendRunsNoCloseCallbackThoughTheCodecClosesItsStream(t *testing.T) {
	for name, queue := range map[string]int{"queue": 8, "synchronous": 0} {
		t.Run(name, func(t *testing.T) {
			near, _ := testkit.ConnectPipe(t)
			s := testkit.Adopt(t, testkit.NewServer(t, closing, queue), near)
			var mu sync.Mutex
			s.OnClose(func() { mu.Lock(); defer mu.Unlock() })
			testkit.Within(t, testkit.Patience, "Send", func() {
				mu.Lock()
				defer mu.Unlock()
				_ = s.Send("!")
			})
		})
	}
}

// What a plain codec has encoded cannot be taken back from a SendContext that gives up: so there must not be much of
// it.
func TestSendContextsThatGiveUpLeaveABoundedAmountBehind(t *testing.T) {
	near, _ := libnettest.PipeSize(10)
	s := testkit.Adopt(t, testkit.NewServer(t, closing, 0), near)
	before := runtime.NumGoroutine()
	var senders sync.WaitGroup
	for range 200 {
		senders.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			_ = s.SendContext(ctx, "more than there is room for")
		})
	}
	senders.Wait()
	testkit.Eventually(t, "few goroutines", func() bool { return runtime.NumGoroutine()-before <= 6 })
	if queued := s.Stats().Queued; queued > 2 {
		t.Errorf("%d messages are left", queued)
	}
	_ = s.Close()
}

// deafListener does not notice its Close.
type deafListener struct{ release chan struct{} }

func (l deafListener) Accept() (net.Conn, error) {
	<-l.release
	near, _ := net.Pipe()
	return near, nil
}
func (l deafListener) Close() error { return nil }
func (l deafListener) Addr() net.Addr {
	return &net.TCPAddr{}
}

func TestServingEndsThoughAcceptDoesNotReturn(t *testing.T) {
	l := deafListener{make(chan struct{})}
	defer close(l.release)
	srv := libnet.NewServer(l, testkit.Frames, 1)
	served, accepted := make(chan error, 1), make(chan error, 1)
	go func() { served <- srv.Serve(libnet.HandlerFunc(func(*libnet.Session) {})) }()
	go func() { _, err := srv.Accept(); accepted <- err }()
	time.Sleep(20 * time.Millisecond)
	srv.Stop()
	if err := testkit.Await(t, testkit.Patience, "Serve", served); err != libnet.ErrServerClosed {
		t.Errorf("Serve: %v", err)
	}
	if err := testkit.Await(t, testkit.Patience, "Accept", accepted); err != io.EOF {
		t.Errorf("Accept: %v", err)
	}
}

// hangingSyscallConn is a conn whose SyscallConn is asked in vain, and then does not return.
type hangingSyscallConn struct {
	net.Conn
	hangs   *bool
	release chan struct{}
}

func (c hangingSyscallConn) SyscallConn() (syscall.RawConn, error) {
	if *c.hangs {
		<-c.release
	}
	return nil, syscall.EINVAL
}

func TestTimeoutsDoNotAskAConnThatMayNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 1)
		srv.IdleTimeout = time.Second
		near, far := testkit.ConnectNetPipe(t)
		hangs := false
		c := hangingSyscallConn{near, &hangs, make(chan struct{})}
		s, err := srv.NewSession(c)
		if err != nil {
			t.Fatal(err)
		}
		hangs = true
		go func() { _, _ = s.Receive() }()
		time.Sleep(3 * time.Second)
		if s.Err() != libnet.ErrIdleTimeout {
			t.Errorf("after three times IdleTimeout: %v", s.Err())
		}
		close(c.release)
		_ = far.Close()
		srv.Stop()
	})
}

// layeredConn says that it runs on another conn, as crypto/tls does.
type layeredConn struct{ *scriptedConn }

func (c layeredConn) NetConn() net.Conn { return c.Conn }

func TestWriteTimeoutEndsASessionWhoseSetWriteDeadlineDoesNotReturn(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	srv := testkit.NewServer(t, testkit.Frames, 8)
	srv.WriteTimeout = 50 * time.Millisecond
	near, far := testkit.ConnectNetPipe(t)
	s := testkit.Adopt(t, srv, layeredConn{&scriptedConn{Conn: near, writeDeadline: func(at time.Time) error {
		if !at.IsZero() {
			<-release
		}
		return nil
	}}})
	testkit.MustSend(t, s, []byte("x")) // the first may be a handshake
	testkit.WantFrame(t, far, "x")
	testkit.MustSend(t, s, []byte("y"))
	wantEndWithin(t, s, srv, testkit.Patience)
}
