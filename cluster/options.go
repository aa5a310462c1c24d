package cluster

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// Options say how a node finds the others. The zero value is a cluster of one node with an embedded NATS
// server that nobody else can reach.
type Options struct {
	// Cluster names the cluster; nodes of the same name find each other. Default "libnet".
	Cluster string

	// NodeID names this node among those of the cluster; default random. A node that comes back under its
	// id after a crash takes the place of the one that crashed at once, see ForgetAfter.
	NodeID string

	// Servers are URLs of an external NATS, or of a [Server]; user name, password or token may be part of
	// them. Empty: the node runs an embedded server.
	Servers []string

	// NATS are further options of the connection to Servers: credentials, for example.
	NATS []nats.Option

	// Listen is where the embedded server takes routes of other nodes, such as "10.0.0.5:6222"; with port 0
	// the system chooses one, see [Node.RouteAddr]. Empty: no other nodes. An address that is not loopback
	// needs TLS and Secret.
	Listen string

	// Routes are the route addresses ("host:port") of other nodes; one that is up is enough, the embedded
	// server learns the rest from it. They need Listen.
	Routes []string

	// TLS is for the routes between embedded servers, which use it in both directions: with certificates,
	// RootCAs, ClientCAs and ClientAuth. With Servers it is the client's.
	TLS *tls.Config

	// Secret is what embedded servers prove to each other. Whoever knows it speaks for every user.
	Secret string

	// JetStreamDir is where the embedded server keeps JetStream's streams; empty: no JetStream. A server
	// with Listen has clustered JetStream, which works while most of the servers that ever were in the
	// cluster are up: give it three, or run one [Server] without Listen for all.
	JetStreamDir string

	// Timeout bounds the calls whose context has no deadline; default 5 s.
	Timeout time.Duration

	// ForgetAfter is how long a node that fell silent without having left is unknown: as long, users who
	// are not found are [ErrDegraded] and not [ErrOffline]. Default 1 minute; negative: until it comes back.
	// A node that is cut off for longer is taken for dead, and its users for offline.
	ForgetAfter time.Duration

	// Logger receives what happens to nodes, and never payloads; default slog.Default().
	Logger *slog.Logger
}
