// Package resumable is what package monitor shows of package resume's sessions. Neither imports the other: resume needs
// codecs, and with them modules that a monitor does not need.
package resumable

import "iter"

// A Session is a snapshot of a resumable one: see resume.Stats.
type Session struct {
	ID                     uint64
	State                  string // resume.State's text
	Conn                   uint64 // the number of its connection, or 0
	Resumes                uint64
	Accepted, Acknowledged uint64
	Received, Taken        uint64
}

// A Server has the numbers of resume.ServerStats.
type Server struct {
	Open, Kept, KeptBytes              int
	Resumed, Refused, Expired, Evicted uint64
}

// A Source is a resume.Server. Its methods may be called by any goroutine, and call no code of the user's.
type Source interface {
	ResumableServer() Server
	ResumableSessions() iter.Seq[Session]
}
