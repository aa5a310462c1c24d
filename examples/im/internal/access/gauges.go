package access

import (
	"sync/atomic"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/monitor"
)

// Libnet is the server of the sessions, for a monitor.
func (i *Instance) Libnet() *libnet.Server { return i.server.libnet }

// Ready reports whether the gateway may send clients here: the server is in the registry, NATS answers, and the node in
// the cluster is of use.
func (i *Instance) Ready() bool {
	health, _ := i.Node.Health()
	return i.registration.Err() == nil && !i.server.cut.Load() && health != cluster.Lost
}

// Gauges are what an operator should see beside the numbers of the sessions.
func (i *Instance) Gauges() []monitor.Gauge {
	c := &i.server.count
	return append(i.clusterGauges(), []monitor.Gauge{
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
	}...)
}

// clusterGauges are the node's, as of one look at it: those that the messenger has a use for.
func (i *Instance) clusterGauges() (all []monitor.Gauge) {
	health := func(is cluster.Health) func() float64 {
		return func() float64 { h, _ := i.Node.Health(); return yes(h == is) }
	}
	all = append(all,
		monitor.Gauge{Name: "im_cluster_degraded", Help: "1 while some access server is silent, or NATS: who is not found there is unknown.",
			Value: health(cluster.Degraded)},
		monitor.Gauge{Name: "im_cluster_lost", Help: "1 once the connection to NATS is closed for good: the process ends.",
			Value: health(cluster.Lost)},
	)
	for _, n := range []struct {
		name, help string
		of         func(cluster.Stats) uint64
	}{
		{"im_cluster_users", "Users whose sessions are here.", func(s cluster.Stats) uint64 { return uint64(s.Users) }},
		{"im_cluster_groups", "Groups with members here.", func(s cluster.Stats) uint64 { return uint64(s.Groups) }},
		{"im_cluster_posted_total", "Notifications of users that were sent.", func(s cluster.Stats) uint64 { return s.Posts }},
		{"im_cluster_broadcast_total", "Notifications of groups that were sent.", func(s cluster.Stats) uint64 { return s.Broadcasts }},
		{"im_cluster_delivered_total", "Notifications that sessions here have queued.", func(s cluster.Stats) uint64 { return s.Delivered }},
		{"im_cluster_blocked_total", "Notifications for which a session here had no room: it has others.", func(s cluster.Stats) uint64 { return s.Blocked }},
		{"im_cluster_dropped_total", "Messages lost because the server did not keep up with NATS.", func(s cluster.Stats) uint64 { return s.Dropped }},
		{"im_cluster_replaced_total", "Sessions here that a later login of their user has ended.", func(s cluster.Stats) uint64 { return s.Replaced }},
	} {
		all = append(all, monitor.Gauge{Name: n.name, Help: n.help, Value: func() float64 { return float64(n.of(i.Node.Stats())) }})
	}
	return all
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
