package history

import (
	"strconv"
	"strings"
)

// A membership is what the key u.<user>.<group> says.
type membership struct {
	since    int64  // the version at which it began, or ended
	ended    bool   // it is the mark of one that has
	revision uint64 // of the key
}

// endedBefore is in front of the version of a mark.
const endedBefore = "-"

func (m membership) encode() []byte {
	text := strconv.FormatInt(m.since, 10)
	if m.ended {
		text = endedBefore + text
	}
	return []byte(text)
}

func parseMembership(data []byte, revision uint64) (m membership, err error) {
	text, ended := strings.CutPrefix(string(data), endedBefore)
	since, err := strconv.ParseInt(text, 10, 64)
	return membership{since: since, ended: ended, revision: revision}, err
}

// overBefore reports whether it had ended when another one of the same user in the same group began: a server of the
// version before has taken the user in again.
func (m membership) overBefore(since int64) bool { return m.ended && since > m.since }
