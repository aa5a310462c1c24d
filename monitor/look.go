package monitor

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// started is as near to the process's beginning as this package comes.
var started = time.Now()

// look passes over all sessions. It calls visit, if there is one, with each, and returns the server's
// numbers; it also feeds the history and the rates when their time has come. visit must not wait.
func (m *monitor) look(visit func(*entry)) Varz {
	began := time.Now()
	v := m.serverNumbers(began)
	rates := m.rates.begin(began)
	e := entry{}
	for s := range m.server.Manager().All() {
		e.observe(s)
		if e.stats.Queued > 0 {
			v.Queued += e.stats.Queued
			v.QueuedBytes += e.stats.QueuedBytes
			v.QueuedMost = max(v.QueuedMost, e.stats.Queued)
			v.Waiting++
		}
		if visit != nil {
			e.rate = rates.of(&e, began)
			visit(&e)
		}
		rates.note(&e)
	}
	rates.end()
	m.past.add(sampleOf(v), time.Since(began))
	return v
}

// serverNumbers is v without what only a pass over the sessions can tell.
func (m *monitor) serverNumbers(now time.Time) Varz {
	stats := m.server.Stats()
	return Varz{
		Name:         m.Name,
		GoVersion:    runtime.Version(),
		Started:      started,
		MaxSessions:  max(m.server.MaxSessions, 0),
		SendQueue:    max(m.server.SendQueue, 0),
		Now:          now,
		Since:        m.since,
		Listener:     m.listener(),
		Draining:     m.draining(),
		Open:         stats.Open,
		Peak:         stats.Peak,
		Accepted:     stats.Accepted,
		Rejected:     stats.Rejected,
		AcceptErrors: stats.AcceptErrors,
		MessagesIn:   stats.MessagesIn,
		MessagesOut:  stats.MessagesOut,
		BytesIn:      stats.BytesIn,
		BytesOut:     stats.BytesOut,
		Blocked:      stats.Blocked,
		Discarded:    stats.Discarded,
		Dropped:      stats.Dropped,
		Slow:         stats.Closed["slow_consumer"] + stats.Closed["write_timeout"],
		Panics:       stats.Panics,
		Closed:       stats.Closed,
		Goroutines:   runtime.NumGoroutine(),
		Memory:       processMemory(),
		MessageSize:  histogramOf(stats.MessageSize),
		HandlerTime:  histogramOf(stats.HandlerTime),
		QueueWait:    histogramOf(stats.QueueWait),
	}
}

// listenerAddr is empty where the listener does not say.
func (m *monitor) listenerAddr() string {
	text, _ := call(&m.outside, "the listener's address", addressPatience, func() string {
		addr := m.server.Listener().Addr()
		return shown(addr.Network() + " " + addr.String())
	})
	return text
}

// processMemory is what the Go runtime has of the system, in bytes. Unlike runtime.ReadMemStats, reading it
// stops nobody.
func processMemory() uint64 {
	read := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(read)
	for _, s := range read {
		if s.Value.Kind() != metrics.KindUint64 {
			return 0
		}
	}
	return read[0].Value.Uint64() - read[1].Value.Uint64()
}
