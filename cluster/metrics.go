package cluster

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// metricsType is version 0.0.4 of Prometheus' text format, as package monitor writes it.
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

// A metric is what all nodes have one sample of, or one of each label.
type metric struct {
	name, kind, help string
	samples          func(s *snapshot) []sample
}

type sample struct {
	label, value string // of the sample beside the node's; none if label is empty
	number       uint64
}

// A snapshot is what a node's samples are made of.
type snapshot struct {
	Stats
	node          *Node
	health        Health
	connected     bool
	alive, silent uint64 // other nodes
	reconnects    uint64
}

func (n *Node) snapshot() *snapshot {
	s := &snapshot{Stats: n.Stats(), node: n, connected: n.conn.IsConnected(), reconnects: n.conn.Stats().Reconnects}
	s.health, _ = n.Health()
	for _, info := range n.Nodes() {
		switch {
		case info.Self:
		case info.Alive:
			s.alive++
		default:
			s.silent++
		}
	}
	return s
}

func plain(value func(*snapshot) uint64) func(*snapshot) []sample {
	return func(s *snapshot) []sample { return []sample{{number: value(s)}} }
}

func flag(is bool) uint64 {
	if is {
		return 1
	}
	return 0
}

var metrics = []metric{
	{"libnet_cluster_users", "gauge", "Users that the node holds sessions of.", plain(func(s *snapshot) uint64 { return uint64(s.Users) })},
	{"libnet_cluster_groups", "gauge", "Groups with members on the node.", plain(func(s *snapshot) uint64 { return uint64(s.Groups) })},
	{"libnet_cluster_peers", "gauge", "Other nodes that the node knows of.", func(s *snapshot) []sample {
		return []sample{{"state", "alive", s.alive}, {"state", "silent", s.silent}}
	}},
	{"libnet_cluster_connected", "gauge", "1 while the node has a connection to NATS.", plain(func(s *snapshot) uint64 { return flag(s.connected) })},
	{"libnet_cluster_health", "gauge", "1 for what the node is: whole, degraded, or lost.", func(s *snapshot) (all []sample) {
		for _, h := range []Health{Whole, Degraded, Lost} {
			all = append(all, sample{"state", h.String(), flag(s.health == h)})
		}
		return all
	}},
	{"libnet_cluster_draining", "gauge", "1 once Drain or Close has begun.", plain(func(s *snapshot) uint64 { return flag(s.node.state() != stateServing) })},
	{"libnet_cluster_sent_messages_total", "counter", "Messages that the program has sent, by how.", func(s *snapshot) []sample {
		return []sample{{"by", "broadcast", s.Broadcasts}, {"by", "post", s.Posts}, {"by", "send", s.Sends}}
	}},
	{"libnet_cluster_delivered_messages_total", "counter", "Messages that sessions of the node have queued.", plain(func(s *snapshot) uint64 { return s.Delivered })},
	{"libnet_cluster_blocked_messages_total", "counter", "Messages that a full queue refused.", plain(func(s *snapshot) uint64 { return s.Blocked })},
	{"libnet_cluster_rejected_messages_total", "counter", "Messages that a session could not encode.", plain(func(s *snapshot) uint64 { return s.Rejected })},
	{"libnet_cluster_dropped_messages_total", "counter", "Messages lost because the node did not keep up with NATS.", plain(func(s *snapshot) uint64 { return s.Dropped })},
	{"libnet_cluster_ended_sessions_total", "counter", "Sessions that the cluster has ended, by why.", func(s *snapshot) []sample {
		return []sample{{"why", "kicked", s.Kicked}, {"why", "replaced", s.Replaced}}
	}},
	{"libnet_cluster_calls_total", "counter", "Calls of services that the program has made.", plain(func(s *snapshot) uint64 { return s.Calls })},
	{"libnet_cluster_failed_calls_total", "counter", "Those that brought no reply.", plain(func(s *snapshot) uint64 { return s.FailedCalls })},
	{"libnet_cluster_served_calls_total", "counter", "Calls that the node has served.", plain(func(s *snapshot) uint64 { return s.Served })},
	{"libnet_cluster_refused_calls_total", "counter", "Calls that the node refused for want of room.", plain(func(s *snapshot) uint64 { return s.Refused })},
	{"libnet_cluster_reconnects_total", "counter", "How often the connection to NATS was made again.", plain(func(s *snapshot) uint64 { return s.reconnects })},
}

// WriteMetrics writes the numbers of nodes in Prometheus' text format, version 0.0.4, each with the label node. It
// costs a microsecond or so for each other node that they know of, whatever the users. The error is w's.
func WriteMetrics(w io.Writer, nodes ...*Node) error {
	var snapshots []*snapshot
	for _, n := range nodes {
		snapshots = append(snapshots, n.snapshot())
	}
	var text bytes.Buffer
	for _, m := range metrics {
		fmt.Fprintf(&text, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
		for _, s := range snapshots {
			for _, sample := range m.samples(s) {
				sample.write(&text, m.name, s.node.id)
			}
		}
	}
	_, err := w.Write(text.Bytes())
	return err
}

// escape is what the format wants of a label's value.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (s sample) write(text *bytes.Buffer, name, node string) {
	fmt.Fprintf(text, `%s{node="%s"`, name, escape.Replace(node))
	if s.label != "" {
		fmt.Fprintf(text, `,%s="%s"`, s.label, s.value)
	}
	fmt.Fprintf(text, "} %d\n", s.number)
}

// Metrics returns a handler of what [WriteMetrics] writes. It answers whoever asks: where it listens is the caller's
// matter.
func Metrics(nodes ...*Node) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", metricsType)
		_ = WriteMetrics(w, nodes...) // whoever asked has gone
	})
}
