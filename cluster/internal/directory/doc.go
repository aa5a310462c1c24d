// Package directory knows which node of a cluster holds which user. It is a state machine over a [Bus], and knows
// nothing of NATS.
//
// Up to three nodes are a user's homes: those of the live ones whose hash with the user's name is greatest, so all
// nodes that see the same others agree on them. A login is registered with a majority of them, and a question is
// answered by a majority, so each question meets each login, though one of the three may be slow or stopped. A login
// has a number, greater than each that its node has heard of; a home that knows of a greater one refuses it, and it
// tries again above that. No clock of the machine takes part. The greatest login is a user's, on each home and on each
// holder, whatever the order in which they hear of it.
//
// When the nodes that are alive change, each node registers its users again with homes that are new to them. Until all
// have said that they are done, "nobody holds the user" is not certain, and [Directory.Locate] says so.
package directory

import (
	"cmp"
	"errors"
	"strings"
)

// A Login is one session of a user. They are totally ordered, and the greatest is the user's.
type Login struct {
	Number  uint64
	Node    string // the instance that holds the session; empty: no login
	Session uint64
}

// Compare orders logins: by number, and equal ones, which come of logins at one time, by node and session.
func (l Login) Compare(m Login) int {
	return cmp.Or(cmp.Compare(l.Number, m.Number), strings.Compare(l.Node, m.Node), cmp.Compare(l.Session, m.Session))
}

func (l Login) none() bool { return l.Node == "" }

// same reports whether both are one session; its number may have grown.
func (l Login) same(m Login) bool { return l.Node == m.Node && l.Session == m.Session }

// Errors of [Directory.Register] and [Directory.Locate].
var (
	ErrReplaced = errors.New("directory: replaced by a greater login")
	ErrGone     = errors.New("directory: the session no longer holds the user")
	ErrUnknown  = errors.New("directory: not all nodes have said whom they hold")
	ErrClosed   = errors.New("directory: closed")
)
