package monitor

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/libnet-go/libnet"
)

// Connz is what /connz answers: sessions, in an order, some of them. Its parameters, each at most once:
//
//	state   open; closing, which deliver what is queued; closed, the last 64 that did; default: open and closing
//	sort    rate (default), messages, messages_in, messages_out, bytes, bytes_in, bytes_out, queued,
//	        queued_bytes, discarded: the most first; opened, last_received: the earliest first; id; closed: the
//	        latest first, with state=closed only and the default there. Equals come by their id.
//	limit   how many at most, 1 to 1000; default 100
//	offset  how many to leave out at the beginning; default 0
//	find    those with this text in their name, or in their address with Options.RemoteAddrs, and the one whose number
//	        it is; at most 256 bytes; default all
//
// Sessions come and go between two requests: a second page may repeat sessions of the first, or skip some.
// What is wrong with the parameters is answered with status 400 and {"error": "..."}.
type Connz struct {
	Now      time.Time `json:"now"`
	State    string    `json:"state"` // as asked for; "" for open and closing
	Sort     string    `json:"sort"`
	Limit    int       `json:"limit"`
	Offset   int       `json:"offset"`
	Find     string    `json:"find,omitempty"`
	Total    int       `json:"total"`    // sessions in that state that were searched for, on all pages
	Sessions []Session `json:"sessions"` // never null
}

// Session is one of [Connz]. Its Rate is measured since the monitor's look before the last, which under
// [ListenAndServe] was one or two seconds ago, and for a session that it did not see then, since it opened.
type Session struct {
	ID           uint64    `json:"id"`                  // libnet's number of the session, as in the log
	State        string    `json:"state"`               // open, closing or closed
	Name         string    `json:"name,omitempty"`      // libnet.Session.Name, made printable
	Remote       string    `json:"remote,omitempty"`    // the peer's address, with Options.RemoteAddrs only
	Transport    string    `json:"transport,omitempty"` // tcp, unix, tls, ws, wss or other: see libnet.ConnInfo; "" if closed, as the next
	TLS          string    `json:"tls,omitempty"`       // TLS's version, as in "TLS 1.3"
	Cipher       string    `json:"cipher,omitempty"`
	RTT          float64   `json:"rtt,omitempty"` // the kernel's round-trip time in seconds, where it tells
	Opened       time.Time `json:"opened"`
	LastReceived time.Time `json:"last_received"` // opened, while nothing has been received
	Rate         float64   `json:"rate"`          // messages in and out a second of late; 0 if closed
	MessagesIn   uint64    `json:"messages_in"`
	MessagesOut  uint64    `json:"messages_out"`
	BytesIn      uint64    `json:"bytes_in"` // on the wire (under TLS); 0 for a bare codec
	BytesOut     uint64    `json:"bytes_out"`
	Queued       int       `json:"queued"` // messages that Send has accepted and that are not yet written
	QueuedBytes  int       `json:"queued_bytes"`
	Discarded    uint64    `json:"discarded"` // messages that Send had accepted and that will not be written
	Dropped      uint64    `json:"dropped"`   // bytes that had arrived and that nobody received

	// Of a closed session.
	Closed time.Time `json:"closed,omitzero"`
	Reason string    `json:"reason,omitempty"` // as in Varz.Closed
	Error  string    `json:"error,omitempty"`  // the text of the error with which it ended, with Options.ErrorTexts only
}

const (
	stateOpen    = "open"
	stateClosing = "closing"
	stateClosed  = "closed"

	defaultLimit = 100
	maxLimit     = 1000
)

// question is what the parameters of /connz ask.
type question struct {
	state, sort   string
	limit, offset int
	find          string
}

func parseQuestion(query url.Values) (q question, err error) {
	q = question{limit: defaultLimit}
	for name, values := range query {
		if len(values) != 1 {
			return q, fmt.Errorf("%.64q is given %d times", name, len(values))
		}
		if err = q.set(name, values[0]); err != nil {
			return q, err
		}
	}
	switch {
	case q.sort == "closed" && q.state != stateClosed:
		return q, fmt.Errorf("sort=closed needs state=closed")
	case q.sort == "" && q.state == stateClosed:
		q.sort = "closed"
	case q.sort == "":
		q.sort = "rate"
	}
	return q, nil
}

func (q *question) set(name, value string) (err error) {
	switch name {
	case "state":
		if value != stateOpen && value != stateClosing && value != stateClosed {
			return fmt.Errorf("state is open, closing or closed, not %.64q", value)
		}
		q.state = value
	case "sort":
		if orders[value] == nil {
			return fmt.Errorf("sort is one of %s, not %.64q", sorts, value)
		}
		q.sort = value
	case "limit":
		q.limit, err = wholeNumber(name, value, 1, maxLimit)
	case "offset":
		q.offset, err = wholeNumber(name, value, 0, math.MaxInt32)
	case "find":
		if len(value) > maxSearch {
			return fmt.Errorf("find is at most %d bytes", maxSearch)
		}
		q.find = value
	default:
		return fmt.Errorf("%.64q is not a parameter; these are: state, sort, limit, offset, find", name)
	}
	return err
}

func wholeNumber(name, value string, least, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s is a number from %d to %d, not %.64q", name, least, most, value)
	}
	return n, nil
}

func (m *monitor) connz(r *http.Request) answer {
	query, err := url.ParseQuery(r.URL.RawQuery)
	var q question
	if err == nil {
		q, err = parseQuestion(query)
	}
	if err != nil {
		return asJSON(http.StatusBadRequest, map[string]string{"error": err.Error()})
	}
	return asJSON(http.StatusOK, m.ask(q))
}

func (m *monitor) ask(q question) Connz {
	c := Connz{Now: time.Now(), State: q.state, Sort: q.sort, Limit: q.limit, Offset: q.offset, Find: shown(q.find)}
	s := newSearch(q.find)
	first := top{order: orders[q.sort], most: q.offset + q.limit}
	if q.offset >= m.atMost(q.state) {
		first.most = 0 // the page is empty, and the look only counts
	}
	visit := func(e *entry) {
		if q.state == "" || q.state == e.state() {
			c.Total++
			first.offer(e)
		}
	}
	if q.state == stateClosed {
		for _, e := range m.foundClosed(s, m.lastClosed()) {
			visit(&e)
		}
	} else {
		found := m.found(s)
		m.look(func(e *entry) {
			if found == nil || found[e.id] {
				visit(e)
			}
		})
	}
	c.Sessions = m.describe(first.sorted()[min(q.offset, first.Len()):])
	return c
}

// atMost is how many sessions there may be in that state.
func (m *monitor) atMost(state string) int {
	if state == stateClosed {
		return len(m.server.LastClosed())
	}
	return m.server.Manager().Len()
}

// lastClosed asks for the reasons as it does for addresses: they may be errors of the program's types.
func (m *monitor) lastClosed() []entry {
	closed := m.server.LastClosed()
	entries, err := call(&m.outside, "the reasons of sessions", addressPatience, func() (entries []entry) {
		for _, c := range closed {
			entries = append(entries, closedEntry(c, libnet.CloseReason(c.Err)))
		}
		return entries
	})
	if err != nil {
		for _, c := range closed {
			entries = append(entries, closedEntry(c, "error"))
		}
	}
	return entries
}

// describe asks connections for their addresses, which may be slow: it comes after the look.
func (m *monitor) describe(entries []*entry) []Session {
	sessions := make([]Session, 0, len(entries))
	peers := m.peersOf(entries)
	for i, e := range entries {
		sessions = append(sessions, Session{
			ID:           e.id,
			State:        e.state(),
			Name:         shown(e.nameNow()),
			Remote:       peers[i].remote,
			Transport:    peers[i].info.Transport,
			TLS:          nameOfVersion(peers[i].info.TLSVersion),
			Cipher:       nameOfSuite(peers[i].info.CipherSuite),
			RTT:          peers[i].info.RTT.Seconds(),
			Opened:       e.stats.Opened,
			LastReceived: e.stats.LastReceived,
			Rate:         math.Round(e.rate*10) / 10,
			MessagesIn:   e.stats.MessagesIn,
			MessagesOut:  e.stats.MessagesOut,
			BytesIn:      e.stats.BytesIn,
			BytesOut:     e.stats.BytesOut,
			Queued:       e.stats.Queued,
			QueuedBytes:  e.stats.QueuedBytes,
			Discarded:    e.stats.Discarded,
			Dropped:      e.stats.Dropped,
			Closed:       e.closed,
			Reason:       e.reason,
			Error:        peers[i].ended,
		})
	}
	return sessions
}
