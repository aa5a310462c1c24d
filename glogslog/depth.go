package glogslog

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
)

// nowhere is a depth at which there is no caller, as a stack of at most 1 GB has none: glog then
// writes ???:1. It leaves room for what glog adds to it.
const nowhere = 1 << 28

// depthOf returns how many callers above the function that calls it the one is from which pc is, as
// glog's functions with a depth count them. Handlers that pass records on add frames, and so does the
// user's own logging function; but slog has taken pc where the user wanted, and it is on the stack
// unless the record was handed to another goroutine.
func depthOf(pc uintptr) (depth int, onStack bool) {
	if pc == 0 {
		return nowhere, false
	}
	want, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	// Not the pc itself: functions inlined into one another share one.
	depth = findFrame(func(f runtime.Frame) bool {
		return f.Line == want.Line && f.Function == want.Function && f.File == want.File
	})
	return depth, depth != nowhere
}

// depthOfSlogCall is depthOf for Enabled, which gets no pc: the first function beyond those of
// log/slog, or Enabled's own caller.
func depthOfSlogCall() int {
	inSlog := false
	depth := findFrame(func(f runtime.Frame) bool {
		was := inSlog
		inSlog = strings.HasPrefix(f.Function, "log/slog.")
		return was && !inSlog
	})
	if depth == nowhere {
		return 1
	}
	return depth
}

// findFrame walks up from the caller of its caller, whose depth is 0, to the first frame that match
// accepts.
func findFrame(match func(runtime.Frame) bool) int {
	var few [32]uintptr
	pcs := few[:]
	const skip = 3 // runtime.Callers, findFrame, its caller
	n := runtime.Callers(skip, pcs)
	for n == len(pcs) {
		pcs = make([]uintptr, 4*len(pcs))
		n = runtime.Callers(skip, pcs)
	}
	frames := runtime.CallersFrames(pcs[:n])
	for depth := 0; n > 0; depth++ {
		frame, more := frames.Next()
		if match(frame) {
			return depth
		}
		if !more {
			break
		}
	}
	return nowhere
}

func shortSource(s *slog.Source) string {
	return fmt.Sprintf("%s:%d", filepath.Base(s.File), s.Line)
}
