package monitor

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/libnet-go/libnet/internal/resumable"
)

// Resumez is what /resumez answers, with Options.Resume: package resume's sessions, those with the most messages that
// are not acknowledged first. Its parameters, each at most once:
//
//	state   connected, or detached: without a connection; default all
//	limit   how many at most, 1 to 1000; default 100
//
// What is wrong with the parameters is answered with status 400 and {"error": "..."}, and so is the path with 404
// without Options.Resume.
type Resumez struct {
	Now       time.Time `json:"now"`
	Open      int       `json:"open"`       // sessions, those without a connection included
	Kept      int       `json:"kept"`       // sessions without a connection
	KeptBytes int       `json:"kept_bytes"` // what these hold, as it counts for resume.Server.MaxKeptBytes
	Resumed   uint64    `json:"resumed"`    // counter: connections that went on with a session
	Refused   uint64    `json:"refused"`    // counter: clients whose session was not kept
	Expired   uint64    `json:"expired"`    // counter: sessions that had no connection for resume.Config.Window
	Evicted   uint64    `json:"evicted"`    // counter: sessions given up beyond resume.Server.MaxKept and its neighbours

	State    string      `json:"state"` // as asked for; "" for all
	Limit    int         `json:"limit"`
	Total    int         `json:"total"`    // sessions in that state
	Sessions []Resumable `json:"sessions"` // never null
}

// Resumable is a session of [Resumez]: see resume.Stats.
type Resumable struct {
	ID             uint64 `json:"id"` // resume.Session.ID
	State          string `json:"state"`
	Conn           uint64 `json:"conn,omitempty"` // the number of its connection, as in Session.ID of [Connz]; none while detached
	Resumes        uint64 `json:"resumes"`
	Accepted       uint64 `json:"accepted"`
	Acknowledged   uint64 `json:"acknowledged"`
	Unacknowledged uint64 `json:"unacknowledged"` // messages that the peer's application has not taken
	Received       uint64 `json:"received"`
	Taken          uint64 `json:"taken"`
	Untaken        uint64 `json:"untaken"` // messages that have arrived and that the application has not taken
}

// resumeQuestion is what the parameters of /resumez ask.
type resumeQuestion struct {
	state string
	limit int
}

func parseResumeQuestion(query url.Values) (q resumeQuestion, err error) {
	q.limit = defaultLimit
	for name, values := range query {
		value := values[0]
		switch {
		case len(values) != 1:
			return q, fmt.Errorf("%.64q is given %d times", name, len(values))
		case name == "state" && value != "connected" && value != "detached":
			return q, fmt.Errorf("state is connected or detached, not %.64q", value)
		case name == "state":
			q.state = value
		case name == "limit":
			if q.limit, err = wholeNumber(name, value, 1, maxLimit); err != nil {
				return q, err
			}
		default:
			return q, fmt.Errorf("%.64q is not a parameter; these are: state, limit", name)
		}
	}
	return q, nil
}

func (m *monitor) resumez(r *http.Request) answer {
	if m.Resume == nil {
		return asJSON(http.StatusNotFound, map[string]string{"error": errNoResume.Error()})
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	var q resumeQuestion
	if err == nil {
		q, err = parseResumeQuestion(query)
	}
	if err != nil {
		return asJSON(http.StatusBadRequest, map[string]string{"error": err.Error()})
	}
	return asJSON(http.StatusOK, m.askResume(q))
}

var errNoResume = errors.New("the program has not set Options.Resume")

func (m *monitor) askResume(q resumeQuestion) *Resumez {
	s := m.Resume.ResumableServer()
	answer := &Resumez{
		Now: time.Now(), State: q.state, Limit: q.limit, Sessions: []Resumable{},
		Open: s.Open, Kept: s.Kept, KeptBytes: s.KeptBytes,
		Resumed: s.Resumed, Refused: s.Refused, Expired: s.Expired, Evicted: s.Evicted,
	}
	for s := range m.Resume.ResumableSessions() {
		if q.state == "" || q.state == s.State {
			answer.Total++
			answer.offer(resumableOf(s))
		}
	}
	return answer
}

// offer keeps the first Limit sessions: one that comes too late costs one comparison.
func (z *Resumez) offer(r Resumable) {
	if n := len(z.Sessions); n == z.Limit {
		if compareResumable(r, z.Sessions[n-1]) > 0 {
			return
		}
		z.Sessions = z.Sessions[:n-1]
	}
	at, _ := slices.BinarySearchFunc(z.Sessions, r, compareResumable)
	z.Sessions = slices.Insert(z.Sessions, at, r)
}

func compareResumable(a, b Resumable) int {
	return cmp.Or(cmp.Compare(b.Unacknowledged, a.Unacknowledged), cmp.Compare(a.ID, b.ID))
}

func resumableOf(s resumable.Session) Resumable {
	return Resumable{
		ID: s.ID, State: s.State, Conn: s.Conn, Resumes: s.Resumes,
		Accepted: s.Accepted, Acknowledged: s.Acknowledged, Unacknowledged: s.Accepted - s.Acknowledged,
		Received: s.Received, Taken: s.Taken, Untaken: s.Received - s.Taken,
	}
}

// resumable has the numbers of a server of package resume, if there is one.
func (x *exposition) resumable(server resumable.Source) {
	if server == nil {
		return
	}
	s := server.ResumableServer()
	x.gauge("libnet_resume_sessions", "Resumable sessions, those without a connection included.", float64(s.Open))
	x.gauge("libnet_resume_kept_sessions", "Resumable sessions without a connection.", float64(s.Kept))
	x.gauge("libnet_resume_kept_bytes", "What these hold.", float64(s.KeptBytes))
	x.counter("libnet_resume_resumed_total", "Connections that went on with a session.", s.Resumed)
	x.counter("libnet_resume_refused_total", "Clients that came back to a session that was not kept.", s.Refused)
	x.counter("libnet_resume_expired_total", "Resumable sessions that had no connection for their window.", s.Expired)
	x.counter("libnet_resume_evicted_total", "Resumable sessions given up for others.", s.Evicted)
}
