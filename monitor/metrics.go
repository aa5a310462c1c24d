package monitor

import "net/http"

// metricsType is version 0.0.4 of the text format, which every Prometheus reads.
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

// reasons are the values of the label reason.
var reasons = []string{
	"closed", "eof", "error", "frame_timeout", "frame_too_large", "handshake_timeout", "idle_timeout",
	"handed_over", "malformed_frame", "panic", "proxy_header", "rate_limit", "reset", "server_closed", "slow_consumer", "unexpected_eof", "write_timeout",
}

func (m *monitor) metrics(*http.Request) answer {
	var x exposition
	x.write(m.look(nil))
	for _, other := range m.others {
		x.write(other.look(nil))
	}
	x.server = shown(m.Name)
	if groups := numbersOf(m.groups); len(groups) > 0 {
		f := x.family("libnet_group_members", "Members of the program's groups.", "gauge")
		for _, g := range groups {
			x.sample(f, "", g.Value, "group", g.name)
		}
	}
	x.resumable(m.Resume)
	x.server = ""
	for _, g := range numbersOf(m.gauges) { // the program's: of no server
		x.gauge(g.name, g.help, g.Value)
	}
	return answer{http.StatusOK, metricsType, x.text()}
}

// write has a server's numbers.
func (x *exposition) write(v Varz) {
	x.server = shown(v.Name)
	x.gauge("libnet_sessions", "Sessions open now.", float64(v.Open))
	x.gauge("libnet_sessions_peak", "Sessions open at most.", float64(v.Peak))
	if v.MaxSessions > 0 {
		x.gauge("libnet_sessions_limit", "Sessions that may be open, where that is bounded.", float64(v.MaxSessions))
	}
	x.counter("libnet_sessions_accepted_total", "Sessions that were made.", v.Accepted)
	x.byReason("libnet_sessions_closed_total", "Sessions that have closed, by reason.", v.Closed)
	x.counter("libnet_connections_rejected_total", "Connections refused by a limit or by OnSession.", v.Rejected)
	x.counter("libnet_accept_errors_total", "Errors of the listener that were waited out.", v.AcceptErrors)
	x.counter("libnet_received_messages_total", "Messages received.", v.MessagesIn)
	x.counter("libnet_sent_messages_total", "Messages written.", v.MessagesOut)
	x.counter("libnet_received_bytes_total", "Bytes received, on the wire.", v.BytesIn)
	x.counter("libnet_sent_bytes_total", "Bytes written, on the wire.", v.BytesOut)
	x.gauge("libnet_queued_messages", "Messages accepted by Send and not yet written.", float64(v.Queued))
	x.gauge("libnet_queued_messages_most", "Such messages of the session that has the most of them.", float64(v.QueuedMost))
	if v.SendQueue > 0 {
		x.gauge("libnet_queue_limit_messages", "Such messages that a session may have.", float64(v.SendQueue))
	}
	x.gauge("libnet_queued_bytes", "Bytes accepted by Send and not yet written.", float64(v.QueuedBytes))
	x.gauge("libnet_waiting_sessions", "Sessions with messages that are not yet written.", float64(v.Waiting))
	x.counter("libnet_blocked_messages_total", "Messages that Send refused because a queue was full.", v.Blocked)
	x.counter("libnet_discarded_messages_total", "Messages accepted by Send that will not be written.", v.Discarded)
	x.counter("libnet_dropped_bytes_total", "Bytes that had arrived and that nobody received.", v.Dropped)
	x.counter("libnet_panics_total", "Panics of the program's handlers, codecs and callbacks.", v.Panics)
	draining := 0.0
	if v.Draining {
		draining = 1
	}
	x.gauge("libnet_draining", "1 once Stop or Shutdown has begun.", draining)
	x.histogram("libnet_handler_duration_seconds", "How long messages were worked on.", v.HandlerTime)
	x.histogram("libnet_queue_wait_seconds", "How long messages that were written had been queued.", v.QueueWait)
	x.histogram("libnet_received_message_size_bytes", "Messages received, by their size without the frame.", v.MessageSize)
}
