package testkit

import (
	"io"
	"net"
	"runtime"
	"testing"
)

// Steady measures allocations a call in the whole process, once pools and buffers have been filled.
func Steady(t *testing.T, what string, want float64, call func()) {
	t.Helper()
	if Race {
		t.Skip("the race detector allocates")
	}
	for range 200 {
		call()
	}
	// A garbage collection in the middle empties the pools: so the best of a few.
	got := testing.AllocsPerRun(500, call)
	for range 5 {
		if got <= want {
			break
		}
		got = min(got, testing.AllocsPerRun(500, call))
	}
	if got > want {
		t.Errorf("%s allocates %v times; want %v", what, got, want)
	}
}

// Request writes a frame to a session and reads one back, on a plain conn that allocates nothing.
func Request(t *testing.T, far net.Conn) func() {
	out := Frame("0123456789abcdef")
	in := make([]byte, len(out))
	return func() {
		if _, err := far.Write(out); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(far, in); err != nil {
			t.Error(err)
		}
	}
}

// ReadMemory collects twice before it reads: pools give their storage up at the second collection.
func ReadMemory(stats *runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(stats)
}

// InUse returns bytes of the heap and of stacks, without what pools keep.
func InUse() (heap, stack int) {
	var stats runtime.MemStats
	runtime.GC()
	ReadMemory(&stats)
	return int(stats.HeapAlloc), int(stats.StackInuse)
}
