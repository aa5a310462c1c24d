package ws_test

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/testkit"
)

// A clock that somebody sets makes no peer silent, and no silent one talk.
func TestWhenSomethingLastCameIsNotReadFromTheClockOfTheWall(t *testing.T) {
	var last atomic.Value // of func(inside.Call) time.Time
	r := start(t, setup{queue: 1, protocol: libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		if st, ok := rw.(interface{ Conn(inside.Call) net.Conn }); ok {
			if c, ok := st.Conn(inside.Call{}).(interface{ LastInput(inside.Call) time.Time }); ok {
				last.CompareAndSwap(nil, c.LastInput)
			}
		}
		return frames.NewCodec(rw)
	})})
	conn, _ := r.raw(t)
	server := r.session(t)
	write(t, conn, frame(ping, ""))
	_ = server.Codec()
	var at time.Time
	testkit.Eventually(t, "input", func() bool {
		at = last.Load().(func(inside.Call) time.Time)(inside.Call{})
		return !at.IsZero()
	})
	if !strings.Contains(at.String(), " m=") { // see package time
		t.Errorf("%v has no reading of the monotonic clock", at)
	}
}
