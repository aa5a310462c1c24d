package ws_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

// What a silent session keeps of the heap and of stacks in event mode, after it has echoed one message: what one over
// TCP keeps, its request, and a codec. The bound is about a tenth more than was measured.
func TestASilentWebSocketKeepsLittleAndNoGoroutine(t *testing.T) {
	wantSilentCost(t, 0, upgradeRequest, masked(fin|binaryFrame, "x"))
}

// A session whose messages are compressed keeps nothing more.
func TestASilentWebSocketKeepsNothingForCompression(t *testing.T) {
	wantSilentCost(t, 1, request(offersDeflate), masked(fin|compressedFrame|binaryFrame, deflate(t, strings.Repeat("x", 100))))
}

func wantSilentCost(t *testing.T, compressFrom int, request, message string) {
	t.Helper()
	if testkit.Race {
		t.Skip("the race detector keeps more")
	}
	const sessions, heapBound, stackBound = 500, 680, 500 // a goroutine has 2,048 of the latter
	protocol := ws.Protocol(codec.New(codec.Uint16BE, codec.Bytes), withCompressFrom(nil, compressFrom))
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", protocol, 1024)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Stop()
	go srv.ServeMessages(libnet.MessageHandlerFunc(testkit.EchoMessage))
	clients := make([]int, 0, 2*sessions)
	defer func() {
		for _, fd := range clients {
			_ = syscall.Close(fd)
		}
	}()
	open := func() {
		for range sessions {
			clients = append(clients, upgradeAndEcho(t, srv.Listener().Addr().(*net.TCPAddr), request, message))
		}
	}
	open()
	heapBefore, stackBefore := testkit.InUse()
	goroutines := runtime.NumGoroutine()
	open()
	var heap, stack int
	defer func() { t.Logf("%d bytes of heap and %d of stacks a session", heap, stack) }()
	testkit.Eventually(t, "so little in use", func() bool {
		heapAfter, stackAfter := testkit.InUse()
		heap, stack = (heapAfter-heapBefore)/sessions, (stackAfter-stackBefore)/sessions
		return heap <= heapBound && stack <= stackBound && runtime.NumGoroutine() < goroutines+sessions/10
	})
}

// upgradeAndEcho returns a bare descriptor, which keeps nothing of the heap.
func upgradeAndEcho(t testing.TB, addr *net.TCPAddr, request, message string) (fd int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}); err != nil {
		t.Fatal(err)
	}
	exchange := func(out string, whole func(in []byte) bool) {
		if _, err := syscall.Write(fd, []byte(out)); err != nil {
			t.Fatal(err)
		}
		in := make([]byte, 512)
		for n := 0; !whole(in[:n]); {
			k, err := syscall.Read(fd, in[n:])
			if k <= 0 {
				t.Fatal(k, err)
			}
			n += k
		}
	}
	exchange(request, func(in []byte) bool { return bytes.HasSuffix(in, []byte("\r\n\r\n")) })
	exchange(message, func(in []byte) bool {
		return len(in) >= 2 && len(in) == 2+int(in[1]) && in[0]&compressedFrame == message[0]&compressedFrame
	})
	return fd
}

// What a peer has sent and nobody has read must not reset the connection: the peer would lose the close frame. Nor must
// the descriptor stay open for a peer that has closed.
func TestTheConnectionLingersBehindACloseFrame(t *testing.T) {
	libnettest.VerifyNone(t)
	eachProtocolMode(t, func(t *testing.T) {
		r := start(t, setup{handler: sink})
		conn, in := r.raw(t)
		s := r.session(t)
		write(t, conn, "\xff\xff") // no frame
		<-s.Done()
		write(t, conn, "more, which nobody reads")
		wantOneClose(t, conn, in, 1002)
		if _, err := in.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
		conn.Close()
	})
}
