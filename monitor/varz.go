package monitor

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/libnet-go/libnet"
)

// Varz is what /varz answers: a server's numbers. Counters count from the server's beginning and never go
// down; the others are of the moment. Those of sessions add up over the open and the closed ones. Times are
// as RFC 3339 has them, sizes are in bytes.
type Varz struct {
	Name      string    `json:"name,omitempty"` // Options.Name
	GoVersion string    `json:"go_version"`
	Started   time.Time `json:"started"` // when the process began, or as good as

	Now      time.Time `json:"now"`      // when these numbers were taken
	Since    time.Time `json:"since"`    // when the monitor was made
	Listener string    `json:"listener"` // network and address of the server's listener, as in "tcp 127.0.0.1:7000"
	Draining bool      `json:"draining"` // Stop or Shutdown has begun

	// The bounds that some of the numbers have: Server.MaxSessions and Config.SendQueue; 0 is none, or no queue.
	MaxSessions int `json:"max_sessions"`
	SendQueue   int `json:"send_queue"`

	Open         int    `json:"open"`          // sessions open now
	Peak         int    `json:"peak"`          // sessions open at most
	Accepted     uint64 `json:"accepted"`      // counter: sessions that were made
	Rejected     uint64 `json:"rejected"`      // counter: connections refused by MaxSessions, MaxSessionsPerIP or OnSession
	AcceptErrors uint64 `json:"accept_errors"` // counter: errors of the listener that were waited out

	MessagesIn  uint64 `json:"messages_in"`  // counter: messages received
	MessagesOut uint64 `json:"messages_out"` // counter: messages written
	BytesIn     uint64 `json:"bytes_in"`     // counter: bytes received, on the wire (under TLS)
	BytesOut    uint64 `json:"bytes_out"`    // counter: bytes written, on the wire (under TLS)

	Queued      int    `json:"queued"`       // messages that Send has accepted and that are not yet written
	QueuedBytes int    `json:"queued_bytes"` // the same in bytes
	QueuedMost  int    `json:"queued_most"`  // such messages of the session that has the most of them
	Waiting     int    `json:"waiting"`      // sessions that have such messages
	Blocked     uint64 `json:"blocked"`      // counter: messages that Send refused because a queue was full
	Discarded   uint64 `json:"discarded"`    // counter: messages that Send had accepted and that will not be written
	Dropped     uint64 `json:"dropped"`      // counter: bytes that had arrived and that nobody received
	Slow        uint64 `json:"slow"`         // counter: sessions ended because of a slow peer: slow_consumer and write_timeout
	Panics      uint64 `json:"panics"`       // counter: panics of the program's handlers, codecs and callbacks

	// Closed is a counter for each reason for which a session has closed; libnet.CloseReason names them.
	Closed map[string]uint64 `json:"closed"`

	Goroutines int    `json:"goroutines"` // of the whole process
	Memory     uint64 `json:"memory"`     // what Go's runtime has of the system, in the whole process

	// MessageSize, HandlerTime and QueueWait are those of libnet.ServerStats; missing without Server.Histograms.
	MessageSize *Histogram `json:"message_size,omitempty"`
	HandlerTime *Histogram `json:"handler_time,omitempty"`
	QueueWait   *Histogram `json:"queue_wait,omitempty"`

	// Groups and Gauges are those of Options, but for what has no answer; of gauges, nor what is no finite number.
	Groups map[string]float64 `json:"groups,omitempty"`
	Gauges map[string]float64 `json:"gauges,omitempty"`
}

// Histogram is a libnet.Histogram. Counts[i] is how many values were above Bounds[i-1] and not above Bounds[i]; the
// last of Counts, which are one more than Bounds, has those above them all. Sum is the sum of all values.
type Histogram struct {
	Bounds []float64 `json:"bounds"`
	Counts []uint64  `json:"counts"`
	Sum    float64   `json:"sum"`
}

// histogramOf returns nil for one that is not filled.
func histogramOf(h libnet.Histogram) *Histogram {
	if h.Counts == nil {
		return nil
	}
	return &Histogram{h.Bounds, h.Counts, h.Sum}
}

// values is how many values there are.
func (h *Histogram) values() (n uint64) {
	for _, count := range h.Counts {
		n += count
	}
	return n
}

func (m *monitor) varz(*http.Request) answer {
	v := m.look(nil)
	v.Groups, v.Gauges = finite(numbersOf(m.groups)), finite(numbersOf(m.gauges))
	return asJSON(http.StatusOK, v)
}

// asJSON indents: the reader is as often a person with curl as a program.
func asJSON(status int, v any) answer {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return text(http.StatusInternalServerError, err.Error())
	}
	return answer{status, "application/json", body.Bytes()}
}
