package sockets

import (
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/readbuf"
)

// A read of a silent peer waits for the system, whichever conn it is of and however often that calls back, and then
// brings what comes.
func TestAReadThatFindsNothingWaits(t *testing.T) {
	for name, detach := range map[string]bool{"of package net": false, "detached": true} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			peer, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if detach {
				conn = Detach(conn, l.Addr)
			}
			defer conn.Close()
			d := Of(conn)
			raw := &countingRaw{RawConn: d.raw}
			d.raw = raw
			var in readbuf.Buffer
			defer in.Release()
			for range 3 {
				read := make(chan int)
				go func() {
					n, _ := d.Read(&in, 0)
					read <- n
				}()
				for raw.calls.Load() == 0 {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(20 * time.Millisecond)
				if n := raw.calls.Swap(0); n > 5 {
					t.Errorf("called back %d times while the peer was silent", n)
				}
				if _, err := peer.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				if n := <-read; n != 1 {
					t.Fatalf("%d bytes have been read", n)
				}
				in.Release()
			}
		})
	}
}

// A countingRaw counts how often functions are called back.
type countingRaw struct {
	syscall.RawConn
	calls atomic.Int32
}

func (c *countingRaw) Read(f func(fd uintptr) bool) error {
	return c.RawConn.Read(func(fd uintptr) bool {
		c.calls.Add(1)
		return f(fd)
	})
}
