package cluster

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// Options say how a node finds the others. The zero value is a cluster of one node with an embedded NATS
// server that nobody else can reach. New and NewServer refuse what cannot be meant, and change nothing in them.
type Options struct {
	// Cluster names the cluster; nodes of the same name find each other. Default "libnet".
	Cluster string

	// NodeID names this node among those of the cluster; default random. A node that comes back under its
	// id after a crash takes the place of the one that crashed at once, see ForgetAfter.
	NodeID string

	// Servers are URLs of an external NATS, or of a [Server]; user name, password or token may be part of
	// them. Whoever can publish there speaks for every user. Empty: the node runs an embedded server.
	Servers []string

	// NATS are further options of the connection to Servers: credentials, for example. What a node rests on
	// stays as it is: the dialer, echo, timeouts, reconnecting and its handlers.
	NATS []nats.Option

	// Listen is where the embedded server takes routes of other nodes, such as "10.0.0.5:6222"; with port 0
	// the system chooses one, see [Node.RouteAddr]. Empty: no other nodes. An address that is not loopback
	// needs TLS and Secret.
	Listen string

	// Routes are the route addresses ("host:port") of other nodes; one that is up is enough, the embedded
	// server learns the rest from it. They need Listen. A node with Routes that has met no other node yet
	// returns [ErrDegraded] instead of [ErrOffline], for ForgetAfter.
	Routes []string

	// TLS is for the routes between embedded servers, which use it in both directions: with Certificates,
	// RootCAs, ClientCAs and ClientAuth. With Servers it is the client's.
	TLS *tls.Config

	// Secret is what embedded servers prove to each other. Whoever knows it speaks for every user.
	Secret string

	// JetStreamDir is where the embedded server keeps JetStream's streams; empty: no JetStream. A server
	// with Listen has clustered JetStream, which needs Routes and NodeID, and works while most of the servers
	// that ever were in the cluster are up. To have one for all, run a [Server] without Listen.
	JetStreamDir string

	// Timeout bounds the calls whose context has no deadline, and in any call how long nodes that are heard
	// may take to answer; default 5 s.
	Timeout time.Duration

	// Farewell bounds how long a session that Kick or a later login ends has for what is queued for it, as
	// Config.WriteTimeout of its server does; default 5 s. Negative: no time at all, and what is queued is lost. Once
	// that is written, its peer has half a second to end its side.
	Farewell time.Duration

	// ForgetAfter is how long a node that fell silent without having left is unknown: as long, users who
	// are not found are [ErrDegraded] and not [ErrOffline]. Default 1 minute; negative: until it comes back.
	// A node that is cut off for longer is taken for dead, and its users for offline.
	ForgetAfter time.Duration

	// Trace has calls of services carry a trace. Default: what a handler was called with is passed on.
	Trace Trace

	// OnHealth is told of each change of the node's [Health], and why, as [Node.Health] says it: from New on, which
	// begins with Whole, until Close. It is called on a goroutine of its own, one call at a time; of changes that come
	// while it runs it is told the latest. It may block, and call the node, Close included: only the next call waits
	// for it. One that panics is logged.
	OnHealth func(h Health, err error)

	// Logger receives what happens to nodes, and never payloads; default slog.Default(). It is called on a goroutine of
	// its own, one line at a time. It may panic, and may block: a line is waited for 100 ms at most, and of those that
	// wait 256 are kept.
	Logger *slog.Logger
}

const (
	defaultCluster     = "libnet"
	defaultTimeout     = 5 * time.Second
	defaultFarewell    = 5 * time.Second
	defaultForgetAfter = time.Minute
)

func (o *Options) cluster() string {
	if o.Cluster == "" {
		return defaultCluster
	}
	return o.Cluster
}

func (o *Options) timeout() time.Duration {
	if o.Timeout <= 0 {
		return defaultTimeout
	}
	return o.Timeout
}

func (o *Options) farewell() time.Duration {
	if o.Farewell == 0 {
		return defaultFarewell
	}
	return o.Farewell
}

// forgetAfter is negative for never.
func (o *Options) forgetAfter() time.Duration {
	if o.ForgetAfter == 0 {
		return defaultForgetAfter
	}
	return o.ForgetAfter
}

func (o *Options) logger() *slog.Logger {
	if o.Logger == nil {
		return careful(slog.Default())
	}
	return careful(o.Logger)
}

// nodeID returns a name that is set, or a random one.
func (o *Options) nodeID() string {
	if o.NodeID == "" {
		return "node-" + strings.ToLower(rand.Text()[:10])
	}
	return o.NodeID
}

// check says what is wrong with the options before anything was started.
func (o *Options) check() error {
	embeddedOnly := []struct {
		name string
		set  bool
	}{
		{"Listen", o.Listen != ""}, {"Routes", len(o.Routes) > 0}, {"Secret", o.Secret != ""}, {"JetStreamDir", o.JetStreamDir != ""},
	}
	for _, f := range embeddedOnly {
		if f.set && len(o.Servers) > 0 {
			return fmt.Errorf("cluster: Options.%s is for the embedded server, which Options.Servers does without", f.name)
		}
	}
	switch {
	case len(o.NATS) > 0 && len(o.Servers) == 0:
		return errors.New("cluster: Options.NATS is for the connection to Options.Servers, which is empty")
	case len(o.cluster()) > MaxName || len(o.NodeID) > MaxName:
		return fmt.Errorf("cluster: Options.Cluster and Options.NodeID may have %d bytes", MaxName)
	case !utf8.ValidString(o.NodeID):
		return errors.New("cluster: Options.NodeID is not UTF-8")
	case len(o.Routes) > 0 && o.Listen == "":
		return errors.New("cluster: Options.Routes needs Options.Listen: other nodes must reach this one, too")
	case o.JetStreamDir != "" && o.Listen != "" && len(o.Routes) == 0:
		return errors.New("cluster: Options.JetStreamDir with Options.Listen is clustered JetStream, which needs Options.Routes")
	case o.JetStreamDir != "" && o.Listen != "" && o.NodeID == "":
		return errors.New("cluster: Options.JetStreamDir with Options.Listen needs Options.NodeID: its servers must know each other again")
	case len(o.Servers) == 0 && o.Listen == "" && (o.TLS != nil || o.Secret != ""):
		return errors.New("cluster: Options.TLS and Options.Secret protect routes, which need Options.Listen")
	case o.Listen != "":
		return o.checkListen()
	}
	return nil
}

func (o *Options) checkListen() error {
	host, _, err := splitAddress(o.Listen)
	if err != nil {
		return fmt.Errorf("cluster: Options.Listen: %w", err)
	}
	if !loopback(host) && (o.TLS == nil || o.Secret == "") {
		return fmt.Errorf("cluster: Options.Listen %q can be reached from other machines: it needs Options.TLS and Options.Secret, "+
			"for whoever reaches it speaks for every user", o.Listen)
	}
	if _, err := o.routeURLs(); err != nil {
		return err
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("address %q has no port between 0 and 65535", address)
	}
	return host, port, nil
}

// routeUser is who embedded servers are to each other; the secret is the password.
const routeUser = "libnet"

func (o *Options) routeURLs() (urls []*url.URL, err error) {
	for _, route := range o.Routes {
		address := strings.TrimPrefix(route, "nats-route://")
		if _, _, err := splitAddress(address); err != nil {
			return nil, fmt.Errorf("cluster: Options.Routes: %w", err)
		}
		u := &url.URL{Scheme: "nats-route", Host: address}
		if o.Secret != "" {
			u.User = url.UserPassword(routeUser, o.Secret)
		}
		urls = append(urls, u)
	}
	return urls, nil
}
