package gateway_test

import (
	"flag"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/examples/im/internal/embedded"
	"github.com/libnet-go/libnet/examples/im/internal/gateway"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/pick"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/libnettest"
)

var full = flag.Bool("full", false, "an outage of 30 s instead of 3 s")

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// rig is a gateway on an etcd of its own.
type rig struct {
	*gateway.Server
	t       testing.TB
	etcd    *embedded.Etcd
	client  *clientv3.Client // the access servers'
	watcher *registry.Watcher
}

func newRig(t testing.TB) *rig {
	t.Helper()
	etcd := imtest.StartEtcd(t, t.TempDir())
	r := &rig{t: t, etcd: etcd, client: imtest.Connect(t, etcd.Endpoint())}
	r.watcher = registry.Watch(imtest.Connect(t, etcd.Endpoint()), registry.WatchOptions{Logger: imtest.Quiet})
	t.Cleanup(r.watcher.Close)
	r.Server = start(t, gateway.Options{Pick: pick.New(r.watcher.Snapshot).Pick})
	return r
}

func start(t testing.TB, o gateway.Options) *gateway.Server {
	t.Helper()
	o.Logger = imtest.Quiet
	s, err := gateway.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// register adds an access server that nobody can connect to, and waits until the gateway knows it.
func (r *rig) register(id string, load func() int) *registry.Registration {
	r.t.Helper()
	registration := registry.Register(r.client, registry.Options{
		Server: registry.Server{ID: id, Addr: id + ":7000", Capacity: 10_000}, Load: load, Logger: imtest.Quiet,
	})
	r.t.Cleanup(registration.Abandon)
	imtest.Eventually(r.t, id+" is known", func() bool { _, ok := r.watcher.Snapshot().Get(id); return ok })
	return registration
}

// dial returns a session to a gateway.
func dial(t testing.TB, address string) *libnet.Session {
	t.Helper()
	d := libnet.Dialer{Protocol: wire.Protocol()}
	d.IdleTimeout = imtest.Patience
	d.Logger = imtest.Quiet
	s, err := d.Dial(imtest.Bounded(t), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// ask asks for an access server.
func ask(t testing.TB, s *libnet.Session) *wire.ResSelectAccessServerForClient {
	t.Helper()
	if err := s.Send(&wire.ReqAccessServer{Cmd: wire.CmdAccessServer}); err != nil {
		t.Fatal(err)
	}
	payload, err := s.Receive()
	if err != nil {
		t.Fatal(err)
	}
	_, msg, err := wire.Answer(payload)
	if err != nil {
		t.Fatal(err)
	}
	answer, ok := msg.(*wire.ResSelectAccessServerForClient)
	if !ok {
		t.Fatalf("the answer is %v", msg)
	}
	return answer
}
