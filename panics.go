package libnet

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
)

// closeIfPanic ends the session when err came from a panic of its codec.
func (s *Session) closeIfPanic(err error) error {
	if err != nil && errors.Is(err, ErrPanic) {
		s.terminate(err)
	}
	return err
}

// recovered is deferred around user code. It turns a panic into *err.
func (s *Session) recovered(what string, err *error) {
	if r := recover(); r != nil {
		*err = s.panicked(what, r)
	}
}

// panicked logs a panic, with its stack, and returns it as a session's reason. It is called by the
// deferred function that recovered.
func (s *Session) panicked(what string, value any) error {
	err := fmt.Errorf("%w in a %s: %s", ErrPanic, what, printable(fmt.Sprint(value)))
	s.owner.countPanic()
	s.owner.eventLog().panicked(s, err, stack())
	return err
}

// stack is the panicking goroutine's, cut where it would only repeat itself.
func stack() string {
	const limit = 16 << 10
	stack := debug.Stack()
	return string(stack[:min(len(stack), limit)])
}

// printable makes text that may come from a peer safe to log: one line, no control characters, at most
// 128 bytes of it.
func printable(text string) string {
	const limit = 128
	if len(text) > limit {
		text = text[:limit] + "…"
	}
	quoted := strconv.Quote(text) // whose quotes a log handler adds where it needs them
	return quoted[1 : len(quoted)-1]
}
