package readbuf

import "math"

// A ReadSize is how many bytes a read of a connection is likely to bring; more than it can hold count as its largest.
type ReadSize uint16

// Update is told what a read brought: the next ones are expected to bring as much, and a little less each time
// that they bring less.
func (s *ReadSize) Update(n int) {
	size := ReadSize(min(n, math.MaxUint16))
	if size < *s {
		size = *s - (*s-size)/8
	}
	*s = size
}
