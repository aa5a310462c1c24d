package gateway

import (
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/monitor"
)

// Libnet is the server of the clients' connections, for a monitor.
func (i *Instance) Libnet() *libnet.Server { return i.server.libnet }

// Ready reports whether there is an access server to send clients to.
func (i *Instance) Ready() bool { return i.taking() > 0 }

// taking is how many access servers take clients.
func (i *Instance) taking() (n int) {
	for s := range i.Servers().All() {
		if s.Takes() {
			n++
		}
	}
	return n
}

// Gauges are what an operator should see beside the numbers of the connections.
func (i *Instance) Gauges() []monitor.Gauge {
	return []monitor.Gauge{
		{Name: "im_access_servers", Help: "Access servers in the registry.",
			Value: func() float64 { return float64(i.Servers().Len()) }},
		{Name: "im_access_servers_taking", Help: "Access servers in the registry that take clients: neither draining nor cut from NATS.",
			Value: func() float64 { return float64(i.taking()) }},
		{Name: "im_etcd_away", Help: "1 while etcd does not answer and the last list is used.",
			Value: func() float64 {
				if i.watcher.Away() {
					return 1
				}
				return 0
			}},
		{Name: "im_picks_total", Help: "Clients that were given an access server.",
			Value: func() float64 { return float64(i.picked.Load()) }},
		{Name: "im_picks_failed_total", Help: "Clients for whom there was no access server.",
			Value: func() float64 { return float64(i.unpicked.Load()) }},
	}
}
