package ws_test

import (
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// Whatever bytes follow the upgrade: the session ends when they do, for a reason, holds no more messages than the
// bytes can have had headers, and sends one close frame at most.
func FuzzBytesOfAPeer(f *testing.F) {
	for _, seed := range []string{
		"",
		frame(fin|binaryFrame, "hello") + frame(fin|text, "wörld") + frame(0x88, "\x03\xe8"),
		frame(binaryFrame, "two ") + frame(ping, "?") + frame(fin, "fragments"),
		frame(fin|binaryFrame, strings.Repeat("x", 5000)),
		frame(fin|text, "\xff"),
		frame(0x88, "\x00"),
		"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", // a length with the top bit set
		"\x82\x05hello", // not masked
		"GET / HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	r := start(f, setup{listener: libnettest.NewListener(), handler: sink, config: func(srv *libnet.Server) {
		srv.MaxMessage = 64 << 10
		srv.Linger = time.Second
	}})
	f.Fuzz(func(t *testing.T, input []byte) {
		conn, in := r.raw(t)
		s := r.session(t)
		go func() {
			conn.Write(input)
			conn.(*libnettest.PipeConn).CloseWrite()
		}()
		if got := closes(t, in); len(got) > 1 {
			t.Fatalf("close frames %q", got)
		}
		select {
		case <-s.Done():
		case <-time.After(soon):
			t.Fatal("the session did not end")
		}
		if stats := s.Stats(); stats.MessagesIn > uint64(len(input)/6) {
			t.Fatalf("%d messages of %d bytes", stats.MessagesIn, len(input))
		}
	})
}
