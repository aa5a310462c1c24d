package ws_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

// What a silent session of net/http's keeps in event mode, after it has echoed one message: what one on the server's
// own listener does, and the context of its request. Over TLS there is crypto/tls's connection, on both sides here. The
// bounds are about a tenth more than was measured.
func TestASilentWebSocketOfNetHTTPKeepsLittleAndNoGoroutine(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector keeps more")
	}
	t.Run("http", func(t *testing.T) {
		var clients []int
		defer func() {
			for _, fd := range clients {
				_ = syscall.Close(fd)
			}
		}()
		wantLittle(t, 500, 920, 500, false, func(addr *net.TCPAddr) {
			clients = append(clients, upgradeAndEcho(t, addr, upgradeRequest, masked(fin|binaryFrame, "x")))
		})
	})
	t.Run("https", func(t *testing.T) {
		var clients []net.Conn
		defer func() {
			for _, c := range clients {
				_ = c.Close()
			}
		}()
		wantLittle(t, 200, 15_400, 500, true, func(addr *net.TCPAddr) {
			c, err := tls.Dial("tcp", addr.String(), testkit.ClientTLS())
			if err != nil {
				t.Fatal(err)
			}
			clients = append(clients, c)
			write(t, c, upgradeRequest+masked(fin|binaryFrame, "x"))
			in := bufio.NewReader(c)
			wantUpgrade(t, in)
			echoed := make([]byte, 3)
			if _, err := io.ReadFull(in, echoed); err != nil || echoed[2] != 'x' {
				t.Fatal(echoed, err)
			}
		})
	})
}

// wantLittle opens sessions by open, twice as many as it measures.
func wantLittle(t *testing.T, sessions, heapBound, stackBound int, secure bool, open func(*net.TCPAddr)) {
	srv := libnet.NewServer(libnettest.NewListener(), codec.New(codec.Uint16BE, codec.Bytes), 1024)
	defer srv.Stop()
	addr := serveWeb(t, ws.MessageHandler(srv, echoMessages, nil), secure)
	for range sessions {
		open(addr)
	}
	heapBefore, stackBefore := testkit.InUse()
	goroutines := runtime.NumGoroutine()
	for range sessions {
		open(addr)
	}
	var heap, stack int
	defer func() { t.Logf("%d bytes of heap and %d of stacks a session", heap, stack) }()
	testkit.Eventually(t, "so little in use", func() bool {
		heapAfter, stackAfter := testkit.InUse()
		heap, stack = (heapAfter-heapBefore)/sessions, (stackAfter-stackBefore)/sessions
		return heap <= heapBound && stack <= stackBound && runtime.NumGoroutine() < goroutines+sessions/10
	})
}
