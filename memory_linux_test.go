package libnet_test

import (
	"crypto/tls"
	"net"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/testkit"
)

// What a silent session keeps of the heap and of stacks, after it has echoed one message. README has what
// that comes to in resident memory.
func TestASessionThatOnlyWaitsKeepsLittle(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector keeps more")
	}
	for _, mode := range []struct {
		name        string
		sendQueue   int
		serve       func(*libnet.Server) error
		heap, stack int // bytes a session; about a tenth more than was measured
	}{
		{"blocking", 1024, func(srv *libnet.Server) error { return srv.Serve(libnet.HandlerFunc(testkit.Echo)) }, 1400, 2500},
		{"blocking, called by functions of the user's", 1024, func(srv *libnet.Server) error {
			return srv.Serve(libnet.HandlerFunc(echoDeeper))
		}, 1400, 2500},
		{"synchronous", 0, func(srv *libnet.Server) error {
			return srv.Serve(libnet.HandlerFunc(echoDeeper))
		}, 1400, 2500},
		{"iterating", 1024, func(srv *libnet.Server) error {
			return srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
				for msg := range s.Messages() {
					_ = s.SendBytes(msg)
				}
			}))
		}, 1500, 2500},
		{"event", 1024, func(srv *libnet.Server) error {
			return srv.ServeMessages(libnet.MessageHandlerFunc(testkit.EchoMessage))
		}, 545, 100},
	} {
		t.Run(mode.name, func(t *testing.T) {
			srv, err := libnet.Serve("tcp", "127.0.0.1:0", codec.New(codec.Uint16BE, codec.Bytes), mode.sendQueue)
			if err != nil {
				t.Fatal(err)
			}
			srv.Logger = testkit.Quiet
			defer srv.Stop()
			go mode.serve(srv)
			const sessions = 512
			clients := make([]int, 0, 4*sessions)
			defer func() {
				for _, fd := range clients {
					_ = syscall.Close(fd)
				}
			}()
			open := func() {
				for range sessions {
					clients = append(clients, echoOnce(t, srv))
				}
			}
			// The runtime gives a new goroutine the stack that the average one used at the last collection, and one
			// that has ended with the mode before, if there is. So the first sessions make the measure for the others.
			for range 3 {
				open()
			}
			heapBefore, stackBefore := testkit.InUse()
			open()
			var heap, stack int
			defer func() { t.Logf("%d bytes of heap and %d of stacks a session", heap, stack) }()
			testkit.Eventually(t, "so little memory in use", func() bool { // the last receivers may not wait yet
				heapAfter, stackAfter := testkit.InUse()
				heap, stack = (heapAfter-heapBefore)/sessions, (stackAfter-stackBefore)/sessions
				return heap <= mode.heap && stack <= mode.stack
			})
		})
	}
}

// echoDeeper is testkit.Echo with variables of its own: a stack of 2 KiB must have room for some.
//
//go:noinline
func echoDeeper(s *libnet.Session) {
	var own [64]byte
	for {
		msg, err := s.Receive()
		if err != nil || s.Send(msg) != nil {
			runtime.KeepAlive(&own)
			return
		}
	}
}

// What the runtime makes for a goroutine it keeps for good.
func TestABurstOfConnectionsTakesFewGoroutines(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one that is started comes when all have been accepted
	const sessions = 256
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", codec.New(codec.Uint16BE, codec.Bytes), 1024)
	if err != nil {
		t.Fatal(err)
	}
	srv.Logger = testkit.Quiet
	defer srv.Stop()
	var admitted atomic.Int32
	srv.OnSession = func(*libnet.Session) error { admitted.Add(1); return nil }
	for range sessions { // they lie with the listener until there is somebody who serves
		conn, err := net.Dial("tcp", srv.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	created := []metrics.Sample{{Name: "/sched/goroutines-created:goroutines"}}
	metrics.Read(created)
	before := created[0].Value.Uint64()
	go srv.ServeMessages(libnet.MessageHandlerFunc(testkit.EchoMessage))
	testkit.Eventually(t, "all sessions", func() bool { return admitted.Load() == sessions })
	metrics.Read(created)
	if n := created[0].Value.Uint64() - before; n > sessions/2 {
		t.Errorf("%d goroutines for %d connections", n, sessions)
	}
}

// echoOnce has srv echo a message to a client, which is a bare descriptor and so keeps nothing of the heap.
func echoOnce(t testing.TB, srv *libnet.Server) (fd int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	addr := srv.Listener().Addr().(*net.TCPAddr)
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}); err != nil {
		t.Fatal(err)
	}
	frame := [3]byte{0, 1, 'x'}
	if _, err := syscall.Write(fd, frame[:]); err != nil {
		t.Fatal(err)
	}
	clear(frame[:])
	if n, err := syscall.Read(fd, frame[:]); n != len(frame) || frame[2] != 'x' {
		t.Fatal(n, err)
	}
	return fd
}

// The same over TLS in event mode, for a message of a byte and for one that fills a record: without the tag
// lendtlsbuffers, crypto/tls keeps the buffers of the ClientHello's parts, or the record's.
func TestASilentTLSSessionKeepsLittle(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector keeps more")
	}
	for _, message := range []struct {
		name       string
		bytes      int
		lent, kept int // bytes of heap a session with the tag and without; about a tenth more than was measured
	}{
		{"a byte", 1, 3900, 6000},
		{"16,000 bytes", 16_000, 5000, 27_000}, // and a share of the large chunks that are kept for others
	} {
		t.Run(message.name, func(t *testing.T) {
			srv, err := libnet.Serve("tcp", "127.0.0.1:0", codec.New(codec.Uint16BE, codec.Bytes), 1024)
			if err != nil {
				t.Fatal(err)
			}
			srv.Logger, srv.TLSConfig = testkit.Quiet, testkit.ServerTLS()
			defer srv.Stop()
			go srv.ServeMessages(libnet.MessageHandlerFunc(testkit.EchoMessage))
			const sessions = 256
			clients := make([]int, 0, 2*sessions)
			defer func() {
				for _, fd := range clients {
					_ = syscall.Close(fd)
				}
			}()
			open := func() {
				for range sessions {
					clients = append(clients, echoOnceOverTLS(t, srv, string(make([]byte, message.bytes))))
				}
			}
			open()
			before, _ := testkit.InUse()
			open()
			most := message.kept
			if sockets.LendsTLSBuffers() {
				most = message.lent
			}
			var heap int
			defer func() { t.Logf("%d bytes of heap a session", heap) }()
			testkit.Eventually(t, "so little memory in use", func() bool {
				after, _ := testkit.InUse()
				heap = (after - before) / sessions
				return heap <= most
			})
		})
	}
}

// echoOnceOverTLS is echoOnce for a client with TLS, of which the descriptor stays.
func echoOnceOverTLS(t testing.TB, srv *libnet.Server, msg string) (fd int) {
	t.Helper()
	below, err := net.Dial("tcp", srv.Listener().Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	config := testkit.AnyTLS()
	config.DynamicRecordSizingDisabled = true
	testkit.Ask(t, tls.Client(below, config), msg)
	raw, err := below.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(own uintptr) { fd, err = syscall.Dup(int(own)) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
