package monitor

import (
	"strconv"
	"strings"

	"github.com/libnet-go/libnet"
)

// maxSearch bounds what is searched for, in bytes: a name that is shown has as many at most.
const maxSearch = maxShown

// search says which sessions are meant by a text: those that have it in their name, whatever its case, or in their
// address where that is shown, and the one whose number it is.
type search struct {
	text string // in lower case; "" means all
	id   uint64
}

func newSearch(text string) search {
	s := search{text: strings.ToLower(strings.TrimSpace(text))}
	s.id, _ = strconv.ParseUint(s.text, 10, 64)
	return s
}

func (s search) has(id uint64, name string) bool {
	return s.text == "" || id == s.id || name != "" && s.isIn(shown(name))
}

func (s search) isIn(text string) bool { return strings.Contains(strings.ToLower(text), s.text) }

// found returns which open sessions are meant: nil for all. It asks for addresses, which may be slow, before the look.
func (m *monitor) found(s search) map[uint64]bool {
	if s.text == "" {
		return nil
	}
	found := make(map[uint64]bool)
	var rest []*libnet.Session
	for session := range m.server.Manager().All() {
		if s.has(session.ID(), session.Name()) {
			found[session.ID()] = true
		} else if m.RemoteAddrs {
			rest = append(rest, session)
		}
	}
	remotes := askEach(&m.outside, "addresses", len(rest), func(i int) string { return remoteText(rest[i].RemoteAddr()) })
	for i, remote := range remotes {
		if remote != "" && s.isIn(remote) {
			found[rest[i].ID()] = true
		}
	}
	return found
}

// foundClosed leaves those of the closed sessions that are meant.
func (m *monitor) foundClosed(s search, entries []entry) (found []entry) {
	if s.text == "" {
		return entries
	}
	var remotes []string
	if m.RemoteAddrs {
		remotes = askEach(&m.outside, "addresses", len(entries), func(i int) string { return remoteText(entries[i].remote) })
	}
	for i, e := range entries {
		if s.has(e.id, e.name) || remotes != nil && remotes[i] != "" && s.isIn(remotes[i]) {
			found = append(found, e)
		}
	}
	return found
}
