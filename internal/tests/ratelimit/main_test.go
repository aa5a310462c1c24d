// Package ratelimit tests Config.RateLimit: what a session receives keeps to the nanosecond to what a meter of
// internal/ratelimit says, whose own test has a model; and a pause holds up no end, no timeout and no send.
package ratelimit

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// A way is one to receive, over a pipe and so with a simulated clock. There event mode has a goroutine a session; that
// it pauses as exactly on sockets, internal/tests/eventmode tests with real ones.
type way struct {
	protocol libnet.Protocol
	serve    func(*libnet.Server, libnet.MessageHandler) error
	secure   bool
}

var ways = map[string]way{
	"Receive":       {testkit.Frames, testkit.ReceiveLoop, false},
	"ServeMessages": {testkit.Frames, (*libnet.Server).ServeMessages, false},
	"plain codec":   {testkit.Plain, testkit.ReceiveLoop, false},
	"TLS":           {testkit.Frames, testkit.ReceiveLoop, true},
}

// A rig is a server on pipes, and one client.
type rig struct {
	*libnet.Server
	client  net.Conn
	session *libnet.Session
	begun   time.Time
}

// start serves with a limit. The handler is called with the time since the client was there.
func (w way) start(t *testing.T, configure func(*libnet.Server), handler func(r *rig, msg []byte, after time.Duration)) *rig {
	t.Helper()
	pipes := libnettest.NewListener()
	r := &rig{Server: libnet.NewServer(pipes, w.protocol, 64)}
	r.Logger = testkit.Quiet
	if w.secure {
		r.TLSConfig = testkit.ServerTLS()
	}
	configure(r.Server)
	sessions := make(chan *libnet.Session, 1)
	r.OnSession = func(s *libnet.Session) error { sessions <- s; return nil }
	served := make(chan error, 1)
	go func() {
		served <- w.serve(r.Server, libnet.MessageHandlerFunc(func(_ *libnet.Session, msg []byte) { handler(r, msg, time.Since(r.begun)) }))
	}()
	t.Cleanup(func() { r.Stop(); <-served })
	client, err := pipes.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if r.client = client; w.secure {
		r.client = tls.Client(client, testkit.AnyTLS())
	}
	r.begun = time.Now()
	r.session = <-sessions
	return r
}

// send writes messages of these sizes in one write.
func (r *rig) send(t testing.TB, sizes ...int) {
	t.Helper()
	var wire []byte
	for _, size := range sizes {
		wire = append(wire, testkit.Frame(string(make([]byte, size)))...)
	}
	testkit.MustWrite(t, r.client, wire)
}
