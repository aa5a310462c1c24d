package quota

import "time"

// said is a message that was stored when there was little room left. Its repetition, by a client that has not heard so,
// finds no room, and must not be refused: it is stored already.
type said struct {
	Once    string `json:"o"`
	Version int64  `json:"v"`
	At      int64  `json:"t"` // ms since 1970
}

const (
	// maxSaid is how many a record keeps: those that a client may have under way when its connection breaks.
	maxSaid = 16

	// saidFor is how long a repetition is told apart. The store does so for ten minutes; what it stores anew is
	// counted.
	saidFor = time.Minute
)

// find returns the version of a message that was said, 0 if it was not.
func (r *record) find(once string, now int64) int64 {
	for _, s := range r.Said {
		if once != "" && s.Once == once && now-s.At < saidFor.Milliseconds() {
			return s.Version
		}
	}
	return 0
}

// note keeps the latest.
func (r *record) note(s said) {
	r.Said = append(r.Said, s)
	r.Said = r.Said[max(0, len(r.Said)-maxSaid):]
}
