package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// connectTimeout bounds one attempt at one server.
	connectTimeout = 2 * time.Second

	// writeTimeout bounds how long a publication waits for a server that reads nothing: as long as that goes
	// unnoticed by pings. The client's own is a minute, under a lock that all others need.
	writeTimeout = routePing * (routePings + 1)
)

func (n *Node) connect(ctx context.Context, o *Options) (err error) {
	url := nats.DefaultURL // not used with InProcessServer
	var options []nats.Option
	if len(o.Servers) == 0 {
		if n.server, err = startServer(ctx, *o); err != nil {
			return err
		}
		options = n.server.connectOptions()
	} else {
		url = ""
		options = append(options, o.NATS...)
		options = append(options, nats.PingInterval(routePing), nats.MaxPingsOutstanding(routePings), servers(o.Servers),
			nats.SetCustomDialer(lifeDialer{n.life}), nats.SkipHostLookup()) // the dialer looks up, bounded by the node's life
		if o.TLS != nil {
			options = append(options, nats.Secure(o.TLS))
		}
	}
	n.conn, err = nats.Connect(url, append(options, n.needs()...)...)
	if err != nil {
		return fmt.Errorf("cluster: connecting to NATS: %w", err)
	}
	return nil
}

// needs are the options that the promises of this package rest on; they come after the caller's.
func (n *Node) needs() []nats.Option {
	return []nats.Option{
		nats.Name("libnet " + n.id),
		nats.Timeout(connectTimeout),
		nats.FlusherTimeout(writeTimeout),
		nats.ReconnectBufSize(-1), // a message that waits for a connection would arrive at any time
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.RetryOnFailedConnect(false),
		nats.SkipSubjectValidation(), // ours are made of base64 and letters
		nats.ErrorHandler(n.asyncError),
		nats.DisconnectErrHandler(n.disconnected),
		nats.ReconnectHandler(n.reconnected),
		nats.ClosedHandler(func(*nats.Conn) { n.lookAtHealth() }),
		func(o *nats.Options) error {
			o.NoEcho = false // users here are sent to like all others
			o.AllowReconnect = true
			return nil
		},
	}
}

// reconnectDelay is how long the client waits after it has tried all servers as many times: a server that restarts is
// back at once, and one that refuses logins, or is away for longer, must not be called ten times a second by every
// node.
func reconnectDelay(tried int) time.Duration {
	if tried < 20 {
		return 100 * time.Millisecond
	}
	return time.Second/2 + rand.N(time.Second/2)
}

func servers(urls []string) nats.Option {
	return func(o *nats.Options) error {
		o.Servers = urls
		return nil
	}
}

// A lifeDialer's attempts and connections end with a life: a server that takes connections and says nothing
// must not keep New waiting when its context ends, nor anything running after Close.
type lifeDialer struct{ life context.Context }

func (d lifeDialer) Dial(network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: connectTimeout}
	conn, err := dialer.DialContext(d.life, network, address)
	if err != nil {
		return nil, err
	}
	return &lifeConn{conn, context.AfterFunc(d.life, func() { conn.Close() })}, nil
}

type lifeConn struct {
	net.Conn
	release func() bool
}

// Write ends the connection when it fails: the client goes on after a timeout, but without what it had
// gathered to write, subscriptions included.
func (c *lifeConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		_ = c.Conn.Close()
	}
	return n, err
}

func (c *lifeConn) Close() error {
	c.release()
	return c.Conn.Close()
}

func (n *Node) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrSlowConsumer) {
		n.log.Warn("cluster: messages lost, this node does not keep up with NATS", "node", n.id)
		if sub != nil {
			n.dispatcher.lags(sub)
		}
		if sub != nil && sub.Subject == n.subjects.told(n.instance) {
			n.directory.Resync()
		}
		return
	}
	n.log.Warn("cluster: NATS", "node", n.id, "error", err)
}

func (n *Node) disconnected(_ *nats.Conn, err error) {
	if n.state() != stateClosed {
		n.log.Warn("cluster: connection to NATS lost", "node", n.id, "error", err)
	}
	n.calls.fail()
	n.lookAtHealth()
}

// reconnected: the client has subscribed again to everything, but users may have been bound elsewhere
// meanwhile.
func (n *Node) reconnected(*nats.Conn) {
	n.log.Info("cluster: connected to NATS again", "node", n.id)
	n.lookAtHealth()
	_ = n.announce()
	n.directory.Resync()
}
