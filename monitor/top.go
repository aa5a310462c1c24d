package monitor

import (
	"container/heap"
	"slices"
)

// top keeps the first few entries of an order out of many. Once it has enough of them they are a heap with
// the last one on top: each entry that comes too late costs one comparison, and memory does not grow with the
// number of sessions.
type top struct {
	order order
	most  int
	kept  []*entry
}

// offer copies e if it keeps it.
func (t *top) offer(e *entry) {
	switch {
	case len(t.kept) < t.most:
		kept := *e
		if t.kept = append(t.kept, &kept); len(t.kept) == t.most {
			heap.Init(t)
		}
	case t.most > 0 && t.order.before(e, t.kept[0]):
		*t.kept[0] = *e
		heap.Fix(t, 0)
	}
}

// sorted returns what was kept, in order. It is the last call.
func (t *top) sorted() []*entry {
	slices.SortFunc(t.kept, t.order.compare)
	return t.kept
}

// Len, Less, Swap, Push and Pop are for package heap.
func (t *top) Len() int           { return len(t.kept) }
func (t *top) Less(i, j int) bool { return t.order.before(t.kept[j], t.kept[i]) }
func (t *top) Swap(i, j int)      { t.kept[i], t.kept[j] = t.kept[j], t.kept[i] }

func (t *top) Push(any) { panic("libnet: not called by heap.Init and heap.Fix") }
func (t *top) Pop() any { panic("libnet: not called by heap.Init and heap.Fix") }
