package usercode

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// sealing is a conn that seals what it is given: it appends a seal to that, which may lie behind it in memory, and
// looks at it once the conn below has taken all.
type sealing struct {
	net.Conn
	name string
}

func (c sealing) Write(p []byte) (int, error) {
	sealed := append(p, c.name...) //lint:ignore SA1023 which a conn must not do, and some do
	n, err := c.Conn.Write(sealed[:len(p)])
	if seal := sealed[len(p):]; err == nil && string(seal) != c.name {
		return n, fmt.Errorf("the seal has become %q", seal)
	}
	return n, err
}

// layered says that its bytes are not those of the conn below, as a TLS does: it is given a record's worth at a time.
type layered struct{ sealing }

func (c layered) NetConn() net.Conn { return c.Conn }

// What a Write may append to ends where its bytes do: behind them lie other frames, and of a broadcast's the memory of
// other sessions.
func TestAConnThatAppendsToWhatItIsToWriteChangesNothingElse(t *testing.T) {
	const sessions, messages = 3, 20
	size := func(i int) int { return []int{100, 20_000, 40_000}[i%3] } // copied, and shared by a broadcast
	for _, wraps := range []func(sealing) net.Conn{
		func(c sealing) net.Conn { return c },
		func(c sealing) net.Conn { return layered{c} },
	} {
		srv := testkit.NewServer(t, testkit.Frames64K, 2*messages)
		var peers []net.Conn
		for i := range sessions {
			near, far := libnettest.PipeSize(1000)
			testkit.Adopt(t, srv, wraps(sealing{near, fmt.Sprint("seal ", i)}))
			peers = append(peers, far)
		}
		for i := range messages {
			msg := bytes.Repeat([]byte{byte(i)}, size(i))
			if r := srv.Manager().Broadcast(msg); r != (libnet.BroadcastResult{Sent: sessions}) {
				t.Fatalf("%+v", r)
			}
			for s := range srv.Manager().All() {
				testkit.MustSend(t, s, msg)
			}
		}
		var reading sync.WaitGroup
		for _, peer := range peers {
			reading.Go(func() {
				_ = peer.SetReadDeadline(time.Now().Add(testkit.Patience))
				for i := range 2 * messages {
					msg, err := testkit.ReadFrame(peer)
					if want := bytes.Repeat([]byte{byte(i / 2)}, size(i/2)); err != nil || !bytes.Equal(msg, want) {
						t.Errorf("message %d: %d bytes, %v; want %d", i, len(msg), err, len(want))
						return
					}
				}
			})
		}
		reading.Wait()
	}
}
