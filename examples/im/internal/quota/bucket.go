package quota

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// A bucket is how much was taken and not given back yet, at a time.
type bucket struct {
	Level float64 `json:"n"`
	At    int64   `json:"t"` // ms since 1970
}

// A rule is how much a bucket holds, and how fast it leaks.
type rule struct {
	holds float64 // negative: it has no end
	leaks float64 // a ms
}

// skew is by how many ms the clocks of servers may differ. A bucket that another server has brought to a time so little
// ahead waits for it, or who changes between two servers would be given the difference each time. One further ahead was
// brought there by a clock that was wrong, and is not waited for.
const skew = 60_000

// leak brings a bucket to now. A clock that was set back gives nothing back.
func (b *bucket) leak(r rule, now int64) {
	past := now - b.At
	if past > 0 {
		b.Level = max(0, b.Level-r.leaks*float64(past))
	}
	if past > 0 || past < -skew {
		b.At = now
	}
}

// room says whether so much more fits. An empty bucket takes anything, or what is larger than it never passed.
func (b *bucket) room(r rule, amount float64) bool {
	return r.holds < 0 || b.Level == 0 || b.Level+amount <= r.holds
}

func (l Limits) rate() rule {
	if l.PerSecond < 0 || l.Burst < 0 {
		return rule{holds: -1}
	}
	return rule{holds: float64(l.Burst), leaks: float64(l.PerSecond) / 1000}
}

func (l Limits) share() rule { return l.within(float64(l.Share)) }
func (l Limits) bytes() rule { return l.within(float64(l.Bytes)) }

// within is the rule of a bucket that is empty again after Span. Where messages are kept for ever it never is.
func (l Limits) within(holds float64) rule {
	if holds < 0 || l.Span < 0 {
		return rule{holds: holds}
	}
	return rule{holds: holds, leaks: holds / float64(max(l.Span, time.Millisecond)/time.Millisecond)}
}

// maxBoxes bounds a record. Of the boxes beyond it those are forgotten of which the sender has taken least.
const maxBoxes = 256

// A record is a sender's buckets.
type record struct {
	Rate  bucket            `json:"rate"`
	Bytes bucket            `json:"bytes"`
	Boxes map[string]bucket `json:"boxes,omitempty"`
	Said  []said            `json:"said,omitempty"` // in order
}

// read returns an empty record for one that cannot be read: nobody is locked out by it.
func read(data []byte) (r record) {
	if json.Unmarshal(data, &r) != nil {
		r = record{}
	}
	if r.Boxes == nil {
		r.Boxes = make(map[string]bucket)
	}
	return r
}

func (r *record) encode() []byte {
	data, err := json.Marshal(r)
	if err != nil {
		panic("quota: " + err.Error()) // numbers and strings
	}
	return data
}

// leak brings all buckets to now, and forgets those that are empty, and what was said long ago.
func (r *record) leak(l Limits, now int64) {
	r.Said = slices.DeleteFunc(r.Said, func(s said) bool { return now-s.At >= saidFor.Milliseconds() })
	r.Rate.leak(l.rate(), now)
	r.Bytes.leak(l.bytes(), now)
	for name, box := range r.Boxes {
		box.leak(l.share(), now)
		r.Boxes[name] = box
		if box.Level == 0 {
			delete(r.Boxes, name)
		}
	}
	if len(r.Boxes) > maxBoxes {
		names := slices.SortedFunc(maps.Keys(r.Boxes), func(a, b string) int {
			return cmp.Compare(r.Boxes[b].Level, r.Boxes[a].Level)
		})
		for _, name := range names[maxBoxes:] {
			delete(r.Boxes, name)
		}
	}
}

// add is what was taken besides.
func (r *record) add(taken *record) {
	r.Rate.Level += taken.Rate.Level
	r.Bytes.Level += taken.Bytes.Level
	for name, box := range taken.Boxes {
		sum := r.Boxes[name]
		sum.Level += box.Level
		sum.At = max(sum.At, box.At, r.Rate.At)
		r.Boxes[name] = sum
	}
	for _, s := range taken.Said {
		r.note(s)
	}
}
