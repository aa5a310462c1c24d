package access_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/gateway"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/token"
)

// An installation is an etcd, a NATS that asks for a password, a gateway, and access servers that reach NATS through
// something that can be cut.
type installation struct {
	t       *testing.T
	etcd    []string
	nats    *guardedNATS
	gateway *gateway.Instance
	tokens  *token.Tokens
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	tokens, err := token.New(token.NewKey(), "")
	if err != nil {
		t.Fatal(err)
	}
	i := &installation{t: t, tokens: tokens, nats: startGuardedNATS(t)}
	i.etcd = []string{imtest.StartEtcd(t, t.TempDir()).Endpoint()}
	i.gateway, err = gateway.StartInstance(imtest.Bounded(t), gateway.InstanceOptions{Etcd: i.etcd, Logger: imtest.Quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.gateway.Stop(context.Background()) })
	return i
}

// start adds an access server that reaches NATS at an address.
func (i *installation) start(id, nats string) *access.Instance {
	i.t.Helper()
	server, err := access.StartInstance(imtest.Bounded(i.t), access.InstanceOptions{
		ID: id, Etcd: i.etcd, NATS: []string{"nats://im:right@" + nats}, Tokens: i.tokens, Capacity: 1000, Logger: imtest.Quiet,
	})
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(server.Kill)
	i.awaitPicked(id, true)
	return server
}

// awaitPicked waits until the gateway gives out a server, or no longer does, and returns how long it took.
func (i *installation) awaitPicked(id string, want bool) time.Duration {
	i.t.Helper()
	return imtest.Eventually(i.t, id, func() bool {
		s, ok := i.gateway.Servers().Get(id)
		return want == (ok && s.Takes())
	})
}

func (i *installation) client(user int64) *client.Client {
	i.t.Helper()
	c := client.Start(client.Options{
		Gateway: i.gateway.Addr(), User: user, Token: func() string { return i.tokens.Issue(user, time.Hour) },
		MinBackoff: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond, Logger: imtest.Quiet,
	})
	i.t.Cleanup(func() { c.Close(); <-c.Done() })
	if err := c.Ready(imtest.Bounded(i.t)); err != nil {
		i.t.Fatal(err)
	}
	return c
}

// A guardedNATS asks for a password, which its operator can change.
type guardedNATS struct {
	t       testing.TB
	options natsserver.Options

	mu      sync.Mutex
	running *natsserver.Server
}

func startGuardedNATS(t testing.TB) *guardedNATS {
	t.Helper()
	g := &guardedNATS{t: t, options: natsserver.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		Username: "im", Password: "right",
	}}
	g.restart("right")
	g.options.Port = g.running.Addr().(*net.TCPAddr).Port
	t.Cleanup(g.stop)
	return g
}

func (g *guardedNATS) addr() string { return g.running.Addr().String() }

func (g *guardedNATS) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running != nil {
		g.running.Shutdown()
		g.running.WaitForShutdown()
		g.running = nil
	}
}

// restart has the server take another password, and ends all connections.
func (g *guardedNATS) restart(password string) {
	g.t.Helper()
	g.stop()
	options := g.options
	options.Password = password
	running, err := natsserver.NewServer(&options)
	if err != nil {
		g.t.Fatal(err)
	}
	running.Start()
	if !running.ReadyForConnections(imtest.Patience) {
		g.t.Fatal("NATS does not start")
	}
	g.mu.Lock()
	g.running = running
	g.mu.Unlock()
}

// refused waits until the server has turned away so many logins.
func (g *guardedNATS) refused(n int) {
	g.t.Helper()
	imtest.Eventually(g.t, "refused logins", func() bool {
		closed, err := g.running.Connz(&natsserver.ConnzOptions{State: natsserver.ConnClosed})
		if err != nil {
			g.t.Fatal(err)
		}
		count := 0
		for _, c := range closed.Conns {
			if strings.Contains(c.Reason, "Authentication") {
				count++
			}
		}
		return count >= n
	})
}

func TestLoginsThatNATSRefusesAreTriedAgainForEver(t *testing.T) {
	i := newInstallation(t)
	server := i.start("a", i.nats.addr())
	c := i.client(1)
	i.nats.restart("another")
	i.nats.refused(4) // at the second, the client would give up
	i.nats.restart("right")
	i.awaitPicked("a", true)
	if err := c.Send(imtest.Bounded(t), 2, "hello"); err != nil {
		t.Error(err)
	}
	select {
	case err := <-server.Failed():
		t.Errorf("the server has failed: %v", err)
	default:
	}
}

func TestAConnectionThatIsClosedForGoodIsTheEndOfTheServer(t *testing.T) {
	i := newInstallation(t)
	server := i.start("a", i.nats.addr())
	i.client(1)
	server.Node.Conn().Close()
	select {
	case err := <-server.Failed():
		if !errors.Is(err, access.ErrClosedForGood) {
			t.Error(err)
		}
	case <-time.After(imtest.Patience):
		t.Fatal("nobody is told")
	}
	i.awaitPicked("a", false)
	if n := server.Load(); n != 0 {
		t.Errorf("it holds %d sessions", n)
	}
	_ = server.Drain(imtest.Bounded(t))
	imtest.Eventually(t, "out of the registry", func() bool { return i.gateway.Servers().Len() == 0 })
}

func TestAnEndIsNoFailure(t *testing.T) {
	i := newInstallation(t)
	for _, end := range []func(*access.Instance){
		func(s *access.Instance) { _ = s.Drain(imtest.Bounded(t)) },
		func(s *access.Instance) { s.Kill() },
	} {
		server := i.start("a", i.nats.addr())
		end(server)
		select {
		case err := <-server.Failed():
			t.Error(err)
		default:
		}
		i.awaitPicked("a", false)
	}
}

func TestAServerThatIsCutFromNATSGivesItsUsersAwayAndComesBack(t *testing.T) {
	i := newInstallation(t)
	cable := newCable(t, i.nats.addr())
	cut := i.start("cut", cable.addr())
	c := i.client(1)
	other := i.start("other", i.nats.addr())
	if got := c.Server(); got != cut.Addr {
		t.Fatalf("the user is at %s", got)
	}

	cable.pulled.Store(true)
	out := i.awaitPicked("cut", false)
	elsewhere := imtest.Eventually(t, "the user elsewhere", func() bool { return c.Server() == other.Addr })
	t.Logf("out of the gateway's answers after %v, its user elsewhere %v later", out, elsewhere)
	if cut.Load() > 0 {
		t.Errorf("it keeps %d sessions", cut.Load())
	}
	if err := c.Send(imtest.Bounded(t), 2, "hello"); err != nil {
		t.Error(err)
	}

	cable.pulled.Store(false)
	t.Logf("back after %v", i.awaitPicked("cut", true))
	other.Kill()
	imtest.Eventually(t, "the user back", func() bool { return c.Server() == cut.Addr })
	if err := c.Send(imtest.Bounded(t), 2, "hello again"); err != nil {
		t.Error(err)
	}
}
