package ws_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
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

// A program may make a handler for each request, which knows that: of such a handler nothing is left.
func TestOfAHandlerForOneRequestNothingIsLeft(t *testing.T) {
	for name, handle := range map[string]func(*libnet.Server, http.ResponseWriter, *http.Request){
		"MessageHandler": func(srv *libnet.Server, w http.ResponseWriter, r *http.Request) {
			ws.MessageHandler(srv, libnet.MessageHandlerFunc(func(s *libnet.Session, _ []byte) { _ = s.Send(r.URL.Path) }), nil).ServeHTTP(w, r)
		},
		"Handler": func(srv *libnet.Server, w http.ResponseWriter, r *http.Request) {
			ws.Handler(srv, libnet.HandlerFunc(func(s *libnet.Session) {
				for range s.Messages() {
					_ = s.Send(r.URL.Path)
				}
			}), nil).ServeHTTP(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			const rounds, clients = 50, 10
			srv := newServer(t)
			addr := serveWeb(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(srv, w, r) }), false)
			round := func() {
				var all [clients]*libnet.Session
				for i := range all {
					all[i] = dialPath(t, addr, strconv.Itoa(i))
				}
				for i, s := range all {
					send(t, s, "which?")
					want(t, s, "/"+strconv.Itoa(i))
					_ = s.Close()
				}
				testkit.Eventually(t, "no session to be open", func() bool { return srv.Stats().Open == 0 })
			}
			round()
			heapBefore, _ := testkit.InUse()
			goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
			for range rounds {
				round()
			}
			testkit.Eventually(t, "nothing to be left", func() bool {
				heap, _ := testkit.InUse()
				return heap-heapBefore < rounds*clients*200 && runtime.NumGoroutine() < goroutines+clients &&
					openDescriptors(t) < descriptors+clients
			})
		})
	}
}

func dialPath(t *testing.T, addr *net.TCPAddr, path string) *libnet.Session {
	t.Helper()
	d := &libnet.Dialer{Protocol: frames}
	d.Logger = testkit.Quiet
	s, err := ws.Dial(t.Context(), "ws://"+addr.String()+"/"+path, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}
