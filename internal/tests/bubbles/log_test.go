package bubbles

import (
	"io"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// logPanics has clients panic, and returns how many lines say so.
func logPanics(t *testing.T, clients int) int {
	t.Helper()
	var log testkit.Log
	d := libnet.Dialer{Protocol: libnet.ProtocolFunc(func(io.ReadWriter) libnet.Codec {
		return &testkit.FuncCodec{OnReceive: func() ([]byte, error) { panic("in the codec") }}
	})}
	d.Logger = slog.New(&log)
	for range clients {
		conn, peer := libnettest.Pipe()
		defer peer.Close()
		s, err := d.NewSession(conn)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Receive()
		testkit.CheckErr(t, "Receive", err, libnet.ErrPanic)
		_ = s.Close()
	}
	return len(log.With("libnet: panic"))
}

// The lines of clients are limited for the whole process.
func TestLinesThatWereLoggedInABubbleHideNoneBehindIt(t *testing.T) {
	inBubble := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if logPanics(t, 20) == 0 {
				t.Error("no line of 20 in a bubble")
			}
		})
	}
	inBubble(t)
	if logPanics(t, 20) == 0 {
		t.Error("no line of 20 behind a bubble")
	}
	inBubble(t)
}
