package monitortest

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
)

// setForCrowd bounds what the clients of a crowd overstep.
func setForCrowd(srv *libnet.Server) {
	srv.MaxMessage = 4 << 10
	srv.OnFull = libnet.CloseSession
	srv.IdleTimeout = 25 * time.Second
	srv.SendBuffer = 4 << 10
}

// gather has clients come, talk, misbehave and go, until the context ends and what it returns has been called.
func gather(ctx context.Context, t testing.TB, srv *libnet.Server, clients int) (wait func()) {
	t.Helper()
	var all sync.WaitGroup
	var departures atomic.Uint64
	began := time.Now()
	address := srv.Listener().Addr().String()
	for i := range clients {
		all.Go(func() {
			// The first few talk the most.
			pause := time.Duration(float64(20*time.Second) * (1 - 1/(1+float64(i)/30)))
			for sleep(ctx, time.Duration(rand.IntN(2000))*time.Millisecond) {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					continue
				}
				hangUp := context.AfterFunc(ctx, func() { _ = conn.Close() })
				talked := talk(ctx, conn, func() time.Duration {
					tide := 1 + 0.7*math.Sin(time.Since(began).Seconds()/17)
					return time.Duration(float64(pause/10)*tide*rand.ExpFloat64()) + 4*time.Millisecond
				})
				if talked {
					leave(ctx, conn.(*net.TCPConn), departures.Add(1))
				}
				hangUp()
				_ = conn.Close()
			}
		})
	}
	return all.Wait
}

// talk sends messages and waits for each to come back, for a while. It reports whether nothing went wrong.
func talk(ctx context.Context, conn net.Conn, pause func() time.Duration) bool {
	buf := make([]byte, 4<<10)
	ends := time.Now().Add(time.Duration(rand.ExpFloat64() * float64(45*time.Second)))
	for time.Now().Before(ends) {
		size := 20 + rand.IntN(300)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(size)), buf[:size]...)); err != nil {
			return false
		}
		if _, err := io.ReadFull(conn, buf[:size+2]); err != nil {
			return false
		}
		if !sleep(ctx, pause()) {
			return false
		}
	}
	return true
}

// leave gives up a connection in one of the ways that there are: the caller closes it.
func leave(ctx context.Context, conn *net.TCPConn, way uint64) {
	switch way % 9 {
	case 1: // asks and does not read
		_ = conn.SetReadBuffer(1)
		question := append([]byte{0x0f, 0xa0}, make([]byte, 4000)...)
		for sleep(ctx, 100*time.Millisecond) {
			if _, err := conn.Write(question); err != nil {
				return
			}
		}
	case 3: // claims more than is allowed
		_, _ = conn.Write([]byte{0xff, 0xff})
		_, _ = io.Copy(io.Discard, conn)
	case 5: // ends inside a frame
		_, _ = conn.Write([]byte{0, 9, 'x'})
	case 6: // vanishes
		_ = conn.SetLinger(0)
	case 8: // says nothing more
		_, _ = io.Copy(io.Discard, conn)
	}
}

// sleep returns false when the context ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
