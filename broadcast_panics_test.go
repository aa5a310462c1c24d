package libnet_test

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

type scriptedSlowClose struct{ net.Conn }

func (c scriptedSlowClose) Close() error {
	time.Sleep(500 * time.Millisecond)
	return c.Conn.Close()
}

// Members whose codec panics end; the broadcast does not wait for all their connections to close.
func TestABroadcastDoesNotWaitForTheEndsOfMembersWhoseCodecsPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			return &scriptedPlain{rw, func(any) { panic("bad") }}
		}), 8)
		srv.Logger = testkit.Quiet
		for range 50 {
			near, far := net.Pipe()
			defer far.Close()
			s, err := srv.NewSession(scriptedSlowClose{near})
			if err != nil {
				t.Fatal(err)
			}
			s.Codec()
		}
		began := time.Now()
		r := srv.Manager().Broadcast([]byte("x"))
		if d := time.Since(began); d > 300*time.Millisecond {
			t.Errorf("Broadcast took %v: %+v", d, r)
		}
		srv.Stop()
		time.Sleep(5 * time.Second)
	})
}
