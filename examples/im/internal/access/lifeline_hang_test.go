package access

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

// The NATS client holds its lock while it waits for a server that has taken its connection and says nothing. Whoever
// asks it how it is waits as long.
func TestAServerWhoseNATSTakesConnectionsAndSaysNothingIsCutOffInTime(t *testing.T) {
	server, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	defer server.Shutdown()
	if !server.ReadyForConnections(imtest.Patience) {
		t.Fatal("NATS does not start")
	}
	conn, err := nats.Connect(server.ClientURL(), nats.Timeout(time.Hour), nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	address := server.Addr().String()
	server.Shutdown()
	server.WaitForShutdown()
	silent := listenSilently(t, address)
	defer silent.end()
	<-silent.taken

	cut := make(chan bool, 1)
	l := &lifeline{conn: conn, after: defaultCutAfter, setCut: func(is bool) { cut <- is }, log: imtest.Quiet}
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- l.watch(ctx) }()
	select {
	case is := <-cut:
		if !is {
			t.Error("the server takes users")
		}
	case <-time.After(imtest.Patience):
		t.Error("nobody notices that NATS says nothing")
	}
	cancel()
	select {
	case err := <-watched:
		if err != nil {
			t.Errorf("watch: %v", err)
		}
	case <-time.After(imtest.Patience):
		t.Error("watch does not end with its context")
	}
}

// A silentServer takes connections, and no more.
type silentServer struct {
	listener net.Listener
	taken    chan struct{} // closed when there is one

	mu    sync.Mutex
	conns []net.Conn
}

func listenSilently(t *testing.T, address string) *silentServer {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &silentServer{listener: listener, taken: make(chan struct{})}
	go func() {
		for first := true; ; first = false {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			if first {
				close(s.taken)
			}
		}
	}()
	return s
}

func (s *silentServer) end() {
	s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		conn.Close()
	}
}
