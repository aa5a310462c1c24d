package monitor

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// The exposition is written by hand: the package's documentation says why. Prometheus' own linter and parser
// check it, in the nested module monitortest.

// metricsType is version 0.0.4 of the text format, which every Prometheus reads.
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

// reasons are the values of the label reason. All are there from the beginning: a counter that appears with
// its first event has no increase for that one.
var reasons = []string{
	"closed", "eof", "error", "frame_timeout", "frame_too_large", "handshake_timeout", "idle_timeout",
	"malformed_frame", "panic", "rate_limit", "reset", "server_closed", "slow_consumer", "unexpected_eof", "write_timeout",
}

type exposition struct{ bytes.Buffer }

func (x *exposition) gauge(name, help string, value uint64)   { x.one(name, help, "gauge", value) }
func (x *exposition) counter(name, help string, value uint64) { x.one(name, help, "counter", value) }

func (x *exposition) one(name, help, kind string, value uint64) {
	x.head(name, help, kind)
	fmt.Fprintf(x, "%s %d\n", name, value)
}

func (x *exposition) head(name, help, kind string) {
	fmt.Fprintf(x, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// byReason needs no escaping of the values: they are libnet's own words.
func (x *exposition) byReason(name, help string, values map[string]uint64) {
	x.head(name, help, "counter")
	all := maps.Clone(values)
	if all == nil {
		all = make(map[string]uint64)
	}
	for _, reason := range reasons {
		all[reason] += 0
	}
	for _, reason := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(x, "%s{reason=%q} %d\n", name, reason, all[reason])
	}
}

func (m *monitor) metrics(*http.Request) answer {
	v := m.look(nil)
	var x exposition
	x.gauge("libnet_sessions", "Sessions open now.", uint64(v.Open))
	x.gauge("libnet_sessions_peak", "Sessions open at most.", uint64(v.Peak))
	x.counter("libnet_sessions_accepted_total", "Sessions that were made.", v.Accepted)
	x.byReason("libnet_sessions_closed_total", "Sessions that have closed, by reason.", v.Closed)
	x.counter("libnet_connections_rejected_total", "Connections refused by a limit or by OnSession.", v.Rejected)
	x.counter("libnet_accept_errors_total", "Errors of the listener that were waited out.", v.AcceptErrors)
	x.counter("libnet_received_messages_total", "Messages received.", v.MessagesIn)
	x.counter("libnet_sent_messages_total", "Messages written.", v.MessagesOut)
	x.counter("libnet_received_bytes_total", "Bytes received, on the wire.", v.BytesIn)
	x.counter("libnet_sent_bytes_total", "Bytes written, on the wire.", v.BytesOut)
	x.gauge("libnet_queued_messages", "Messages accepted by Send and not yet written.", uint64(v.Queued))
	x.gauge("libnet_queued_bytes", "Bytes accepted by Send and not yet written.", uint64(v.QueuedBytes))
	x.gauge("libnet_waiting_sessions", "Sessions with messages that are not yet written.", uint64(v.Waiting))
	x.counter("libnet_blocked_messages_total", "Messages that Send refused because a queue was full.", v.Blocked)
	x.counter("libnet_discarded_messages_total", "Messages accepted by Send that will not be written.", v.Discarded)
	x.counter("libnet_dropped_bytes_total", "Bytes that had arrived and that nobody received.", v.Dropped)
	x.counter("libnet_panics_total", "Panics of the program's handlers, codecs and callbacks.", v.Panics)
	draining := uint64(0)
	if v.Draining {
		draining = 1
	}
	x.gauge("libnet_draining", "1 once Stop or Shutdown has begun.", draining)
	return answer{http.StatusOK, metricsType, x.Bytes()}
}
