package cluster_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/cluster"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestNewSaysWhichOptionIsWrong(t *testing.T) {
	some := []string{"127.0.0.1:6222"}
	for name, c := range map[string]struct {
		options cluster.Options
		want    string
	}{
		"open to other machines without TLS":    {cluster.Options{Listen: "0.0.0.0:0", Secret: "s"}, "needs Options.TLS and Options.Secret"},
		"open to other machines without secret": {cluster.Options{Listen: "[::]:0", TLS: &tls.Config{}}, "needs Options.TLS and Options.Secret"},
		"open by an empty host":                 {cluster.Options{Listen: ":0"}, "needs Options.TLS and Options.Secret"},
		"open by a name":                        {cluster.Options{Listen: "example.com:0"}, "needs Options.TLS and Options.Secret"},
		"no port":                               {cluster.Options{Listen: "127.0.0.1"}, "Options.Listen"},
		"a port that is none":                   {cluster.Options{Listen: "127.0.0.1:http"}, "Options.Listen"},
		"a route that is no address":            {cluster.Options{Listen: "127.0.0.1:0", Routes: []string{"nonsense"}}, "Options.Routes"},
		"routes without listen":                 {cluster.Options{Routes: some}, "Options.Routes needs Options.Listen"},
		"listen with servers":                   {cluster.Options{Servers: some, Listen: "127.0.0.1:0"}, "Options.Listen"},
		"JetStream with servers":                {cluster.Options{Servers: some, JetStreamDir: "x"}, "Options.JetStreamDir"},
		"JetStream in a cluster of one":         {cluster.Options{Listen: "127.0.0.1:0", JetStreamDir: "x"}, "needs Options.Routes"},
		"clustered JetStream without an id":     {cluster.Options{Listen: "127.0.0.1:0", Routes: some, JetStreamDir: "x"}, "needs Options.NodeID"},
		"an id that is no text":                 {cluster.Options{NodeID: "\xff"}, "Options.NodeID is not UTF-8"},
		"client options without servers":        {cluster.Options{NATS: []nats.Option{nats.NoEcho()}}, "Options.NATS"},
		"a secret without routes":               {cluster.Options{Secret: "s"}, "need Options.Listen"},
		"a name that is too long":               {cluster.Options{Cluster: strings.Repeat("c", 1000)}, "Options.Cluster"},
		"nobody at the servers":                 {cluster.Options{Servers: []string{"127.0.0.1:1"}}, "connecting to NATS"},
	} {
		c.options.Logger = quiet
		node, err := cluster.New(patience(t), c.options)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: New returned %v, want an error with %q", name, err, c.want)
		}
		if node != nil {
			_ = node.Close()
		}
	}
}

func TestANilContextPanicsInWordsOfTheCluster(t *testing.T) {
	var nobody context.Context
	for name, misuse := range map[string]func(){
		"New":       func() { _, _ = cluster.New(nobody, cluster.Options{}) },
		"NewServer": func() { _, _ = cluster.NewServer(nobody, cluster.Options{}) },
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, "cluster: a nil context") {
					t.Errorf("%s: %q", name, text)
				}
			}()
			misuse()
		}()
	}
}

func TestNewSaysThatTheListenAddressIsTaken(t *testing.T) {
	taken := startNode(t, cluster.Options{Listen: "127.0.0.1:0"})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := cluster.New(ctx, cluster.Options{Listen: taken.RouteAddr().String(), Logger: quiet})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("New: %v", err)
	}
}

// certificates returns a TLS configuration for both ends of routes on loopback, with an authority of its own.
func certificates(t *testing.T) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}
}

// wantOutside wants that a node with these options does not become part of the cluster.
func wantOutside(t *testing.T, member *cluster.Node, what string, o cluster.Options) {
	t.Helper()
	o.Listen, o.Routes = "127.0.0.1:0", routesTo([]*cluster.Node{member})
	node := startNode(t, o)
	if alive(node) != 1 || alive(member) != 2 {
		t.Errorf("a node with %s is in the cluster", what)
	}
	if err := node.Send(patience(t), "u", nil); !errors.Is(err, cluster.ErrDegraded) {
		t.Errorf("Send of a node with %s: %v", what, err)
	}
}

func TestRoutesTakeOnlyThoseWithTheSecretTheCertificateAndTheClustersName(t *testing.T) {
	secure := certificates(t)
	o := cluster.Options{Cluster: "c", Listen: "127.0.0.1:0", TLS: secure, Secret: "a secret: with/odd@signs"}
	a := startNode(t, o)
	o.Routes = routesTo([]*cluster.Node{a})
	b := startNode(t, o)
	formed(t, []*cluster.Node{a, b})
	server := newSessions(t, lines, nil)
	_, client := server.bound(a, "u")
	send(t, b, "u", "over TLS")
	read(t, client, "over TLS\n")

	wantOutside(t, a, "another secret", cluster.Options{Cluster: "c", TLS: secure, Secret: "guessed"})
	wantOutside(t, a, "no secret", cluster.Options{Cluster: "c", TLS: secure})
	wantOutside(t, a, "another certificate", cluster.Options{Cluster: "c", TLS: certificates(t), Secret: o.Secret})
	wantOutside(t, a, "no TLS", cluster.Options{Cluster: "c", Secret: o.Secret})
	wantOutside(t, a, "another cluster's name", cluster.Options{Cluster: "d", TLS: secure, Secret: o.Secret})
}

func TestClustersOfDifferentNamesOnOneServerAreApart(t *testing.T) {
	server, err := cluster.NewServer(patience(t), cluster.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	a := startNode(t, cluster.Options{Cluster: "a", Servers: []string{server.URL()}})
	b := startNode(t, cluster.Options{Cluster: "b", Servers: []string{server.URL()}})
	newSessions(t, lines, nil).bound(a, "u")
	wantOffline(t, b, "u")
	if alive(a) != 1 || alive(b) != 1 {
		t.Error("nodes of different clusters know each other")
	}
}

func TestTheEmbeddedServersClientPortWantsItsToken(t *testing.T) {
	node := startNode(t, cluster.Options{})
	_, address, _ := strings.Cut(node.ClientURL(), "@")
	if conn, err := nats.Connect("nats://" + address); err == nil {
		conn.Close()
		t.Error("connected without the token")
	}
	conn, err := nats.Connect(node.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestJetStreamRunsOnTheNodesOwnConnectionAndSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	for run := range 2 {
		node := startNode(t, cluster.Options{JetStreamDir: dir})
		js, err := jetstream.New(node.Conn())
		if err != nil {
			t.Fatal(err)
		}
		stream, err := js.CreateOrUpdateStream(patience(t), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}})
		if err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(patience(t), "s.u", []byte("kept"))
		if err != nil {
			t.Fatal(err)
		}
		if ack.Sequence != uint64(run+1) || stream.CachedInfo().State.Msgs != uint64(run) {
			t.Errorf("run %d: sequence %d, %d messages before", run, ack.Sequence, stream.CachedInfo().State.Msgs)
		}
		_ = node.Close()
	}
}

func TestThreeEmbeddedServersHaveAClusteredJetStream(t *testing.T) {
	var addresses []string
	for range 3 { // JetStream wants all servers to be configured, so the ports are chosen before
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, l.Addr().String())
		defer l.Close()
		l.Close()
	}
	var nodes []*cluster.Node
	started := make(chan *cluster.Node, len(addresses))
	for i, address := range addresses {
		go func() {
			node, err := cluster.New(patience(t), cluster.Options{
				NodeID: "n" + string(rune('1'+i)), Listen: address, Routes: addresses, JetStreamDir: t.TempDir(), Logger: quiet,
			})
			if err != nil {
				t.Error(err)
			}
			started <- node
		}()
	}
	for range addresses {
		if node := <-started; node != nil {
			t.Cleanup(func() { _ = node.Close() })
			nodes = append(nodes, node)
		}
	}
	if len(nodes) < 3 {
		t.FailNow()
	}
	js, err := jetstream.New(nodes[0].Conn())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a stream with three replicas", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
		return err == nil
	})
	if _, err := js.Publish(patience(t), "s", []byte("kept")); err != nil {
		t.Error(err)
	}
}
