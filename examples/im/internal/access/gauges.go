package access

import (
	"sync/atomic"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/monitor"
)

// Libnet is the server of the sessions, for a monitor.
func (i *Instance) Libnet() *libnet.Server { return i.server.libnet }

// Ready reports whether the gateway may send clients here: the server is in the registry, and NATS answers.
func (i *Instance) Ready() bool { return i.registration.Err() == nil && !i.server.cut.Load() }

// Gauges are what an operator should see beside the numbers of the sessions.
func (i *Instance) Gauges() []monitor.Gauge {
	c := &i.server.count
	return []monitor.Gauge{
		{Name: "im_registered", Help: "1 while the server is in the registry, 0 while etcd does not have it.",
			Value: func() float64 { return yes(i.registration.Err() == nil) }},
		{Name: "im_nats_connected", Help: "1 while there is a connection to NATS.",
			Value: func() float64 { return yes(i.Node.Conn().IsConnected()) }},
		{Name: "im_cut", Help: "1 while NATS does not answer and users are sent to other servers.",
			Value: func() float64 { return yes(i.server.cut.Load()) }},
		{Name: "im_cluster_nodes", Help: "Access servers that this one hears, itself included.",
			Value: func() float64 { return float64(len(i.Node.Nodes())) }},
		count("im_logins_total", "Logins that were let in.", &c.logins),
		count("im_logins_wrong_token_total", "Logins that were refused for their token.", &c.wrongTokens),
		count("im_logins_limited_total", "Logins that were refused because their address had too many.", &c.limited),
		count("im_logins_failed_total", "Logins that failed for a fault of this system.", &c.loginsFailed),
		count("im_messages_stored_total", "Messages that were stored, and acknowledged.", &c.stored),
		count("im_requests_failed_total", "Requests of users that failed for a fault of this system.", &c.failed),
	}
}

func count(name, help string, n *atomic.Int64) monitor.Gauge {
	return monitor.Gauge{Name: name, Help: help, Value: func() float64 { return float64(n.Load()) }}
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
