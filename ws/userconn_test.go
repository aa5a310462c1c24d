package ws_test

import (
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet/libnettest"
)

// A userConn is a conn of a user's listener, whose methods go wrong once it is told to.
type userConn struct {
	net.Conn
	wrong *atomic.Bool
	read  func(p []byte) (int, error)
	write func(p []byte) (int, error)
	close func() error
}

func (c *userConn) Read(p []byte) (int, error) {
	if c.read != nil && c.wrong.Load() {
		return c.read(p)
	}
	return c.Conn.Read(p)
}

func (c *userConn) Write(p []byte) (int, error) {
	if c.write != nil && c.wrong.Load() {
		return c.write(p)
	}
	return c.Conn.Write(p)
}

func (c *userConn) Close() error {
	defer c.Conn.Close()
	if c.close != nil && c.wrong.Load() {
		return c.close()
	}
	return nil
}

// A badValue panics with itself when it is asked for its text: in a panic, that ends the process.
type badValue struct{}

func (v badValue) Error() string { panic(v) }

type userListener struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (l userListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(conn), nil
}

func TestAConnectionThatGoesWrongEndsItsSessionOnly(t *testing.T) {
	panics := func([]byte) (int, error) { panic("in the connection") }
	panicsNil := func([]byte) (int, error) { panic(nil) }
	exits := func([]byte) (int, error) { runtime.Goexit(); return 0, nil }
	for name, conn := range map[string]userConn{
		"Read panics":                  {read: panics},
		"Read panics with nil":         {read: panicsNil},
		"Read panics with a bad value": {read: func([]byte) (int, error) { panic(badValue{}) }},
		"Read ends its goroutine":      {read: exits},
		"Read counts too many":         {read: func(p []byte) (int, error) { return len(p) + 1, nil }},
		"Read counts too few":          {read: func(p []byte) (int, error) { return -1, nil }},
		"Read brings nothing":          {read: func(p []byte) (int, error) { return 0, nil }},
		"Write panics":                 {write: panics},
		"Write ends its goroutine":     {write: exits},
		"Write is short":               {write: func(p []byte) (int, error) { return len(p) - 1, nil }},
		"Write counts too many":        {write: func(p []byte) (int, error) { return len(p) + 1, nil }},
		"Close panics": {
			read:  func(p []byte) (int, error) { return -1, nil },
			close: func() error { panic("in Close") },
		},
		"Close panics with a bad value": {
			read:  func(p []byte) (int, error) { return -1, nil },
			close: func() error { panic(badValue{}) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wrong atomic.Bool
			var first atomic.Bool
			r := start(t, setup{listener: userListener{tcp, func(c net.Conn) net.Conn {
				if first.CompareAndSwap(false, true) {
					w := conn
					w.Conn, w.wrong = c, &wrong
					return &w
				}
				return c
			}}, queue: 8})
			client := r.dial(t, 8)
			s := r.session(t)
			send(t, client, "hello")
			want(t, client, "hello")
			wrong.Store(true)
			for client.Send(strings.Repeat("x", 100)) == nil { // a Read that waits was right when it began
				select {
				case <-s.Done():
				case <-time.After(time.Millisecond):
					continue
				}
				break
			}
			<-s.Done()
			other := r.dial(t, 0)
			send(t, other, "hello")
			want(t, other, "hello")
			for r.Stats().Open != 1 { // the count goes down behind Done
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// What a write has given to the kernel the peer may have, and answer, before the write has returned.
func TestACloseFrameFollowsAWriteThatHasNotReturned(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var late atomic.Bool
	r := start(t, setup{queue: 1, handler: sink, listener: userListener{tcp, func(c net.Conn) net.Conn {
		u := &userConn{Conn: c, wrong: &late}
		u.write = func(p []byte) (int, error) {
			defer time.Sleep(10 * time.Millisecond)
			return c.Write(p)
		}
		return u
	}}})
	client := r.dial(t, 0)
	s := r.session(t)
	late.Store(true)
	send(t, s, "last")
	want(t, client, "last")
	s.Close()
	wantEnd(t, client, io.EOF)
}
