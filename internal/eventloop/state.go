package eventloop

import "sync/atomic"

// A State says who serves a source. Its zero value is that of a source which no loop serves. It may be used by any
// goroutine.
type State struct{ bits atomic.Int32 }

const (
	inLoop  = 1 << iota // the loop serves the source, for ever
	serving             // a goroutine serves it
	again               // and something arrived since that began
	readAll             // a short read says nothing: read until there is nothing
	held                // nobody is to begin serving it
)

// Start gives the source to a loop, and makes the caller the one who serves it until [Loop.Release]. With readAll a
// read that brings less than it asked for never is the last.
func (s *State) Start(all bool) {
	bits := int32(inLoop | serving)
	if all {
		bits |= readAll
	}
	s.bits.Store(bits)
}

// Started reports whether Start was called.
func (s *State) Started() bool { return s.bits.Load() != 0 }

// ReadAll reports whether a read that brings less than it asked for may have left something behind, of which no event
// will tell.
func (s *State) ReadAll() bool { return s.bits.Load()&readAll != 0 }

// Hold keeps whoever wants to begin serving the source from it, until Unhold, and reports whether nobody serves it now.
// What arrives meanwhile stays where it is: who takes the hold back has the loop serve the source.
func (s *State) Hold() (alone bool) { return s.bits.Or(held)&serving == 0 }

// Unhold takes a Hold back.
func (s *State) Unhold() { s.bits.And(^held) }

func (s *State) isHeld() bool { return s.bits.Load()&held != 0 }

// begin makes the caller the one who serves the source. If somebody does so already, they will look again.
func (s *State) begin() bool {
	for {
		was := s.bits.Load()
		is := was | serving
		if was&(serving|held) != 0 {
			is = was | again
		}
		if s.bits.CompareAndSwap(was, is) {
			return was&(serving|held) == 0
		}
	}
}

// LookAgain has whoever serves the source do so once more; false if nobody does.
func (s *State) LookAgain() bool {
	for {
		was := s.bits.Load()
		if was&serving == 0 {
			return false
		}
		if s.bits.CompareAndSwap(was, was|again) {
			return true
		}
	}
}

// end reports whether something arrived meanwhile: the caller then still serves.
func (s *State) end() (more bool) {
	for {
		was := s.bits.Load()
		more = was&(again|held) == again
		is := was &^ serving
		if more {
			is = was &^ again
		}
		if s.bits.CompareAndSwap(was, is) {
			return more
		}
	}
}

// release is end for a caller who does not go on in any case.
func (s *State) release() (more bool) {
	return s.bits.And(^(serving|again))&again != 0
}
