package resume

import (
	"iter"

	"github.com/libnet-go/libnet/internal/resumable"
)

// Sessions iterates over the sessions of the moment it begins, those without a connection included, in no order. No
// lock is held meanwhile; some may have ended.
func (srv *Server) Sessions() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		for _, s := range srv.all() {
			if !yield(s) {
				return
			}
		}
	}
}

func (srv *Server) all() []*Session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	all := make([]*Session, 0, srv.stats.Open)
	for key, s := range srv.sessions {
		if key == s.hash.key() { // else it is that of the token before
			all = append(all, s)
		}
	}
	return all
}

// ResumableServer and ResumableSessions are for package monitor, whose Options.Resume takes a Server.
func (srv *Server) ResumableServer() resumable.Server { return resumable.Server(srv.Stats()) }

// ResumableSessions is said with ResumableServer.
func (srv *Server) ResumableSessions() iter.Seq[resumable.Session] {
	return func(yield func(resumable.Session) bool) {
		for s := range srv.Sessions() {
			if state := s.State(); state != Closed && !yield(s.monitored(state)) {
				return
			}
		}
	}
}

func (s *Session) monitored(state State) resumable.Session {
	stats := s.Stats()
	r := resumable.Session{
		ID: s.id, State: state.String(), Resumes: stats.Resumes,
		Accepted: stats.Accepted, Acknowledged: stats.Acknowledged, Received: stats.Received, Taken: stats.Taken,
	}
	if conn := s.Conn(); conn != nil {
		r.Conn = conn.ID()
	}
	return r
}
