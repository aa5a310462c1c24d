package libnet

import (
	"fmt"
	"reflect"
	"runtime/debug"
	"strconv"
	"sync/atomic"
)

// A panicError says that the user's code panicked. Its line in the log is written once, by whoever comes first to
// where no lock is held.
type panicError struct {
	what, text string
	stack      atomic.Pointer[string] // nil once it is logged
}

// caughtPanic makes an error of what a panic was given. It is called by the deferred function that recovered.
func caughtPanic(what string, value any) *panicError {
	p := &panicError{what: what, text: describe(value)}
	trace := stack()
	p.stack.Store(&trace)
	return p
}

func (p *panicError) Error() string { return fmt.Sprintf("%v in a %s: %s", ErrPanic, p.what, p.text) }
func (p *panicError) Unwrap() error { return ErrPanic }

// recovered is deferred around user code, where no lock is held. It turns a panic into *err, and logs it.
func (s *Session) recovered(what string, err *error) {
	if r := recover(); r != nil {
		*err = s.panicked(what, r)
	}
}

// recoveredLocked is recovered where a lock is held, which a logger must not find so: the line is written when the
// session ends for *err.
func (s *Session) recoveredLocked(what string, err *error) {
	if r := recover(); r != nil {
		*err = s.panickedLocked(what, r)
	}
}

// panicked logs a panic, with its stack, and returns it as a session's reason. It is called by the
// deferred function that recovered, with no lock held.
func (s *Session) panicked(what string, value any) error {
	err := s.panickedLocked(what, value)
	s.logPanic(err)
	return err
}

// panickedLocked is panicked where a lock is held.
func (s *Session) panickedLocked(what string, value any) error {
	s.owner.countPanic()
	return caughtPanic(what, value)
}

// logPanic writes the line of a panic that has none yet.
func (s *Session) logPanic(err error) {
	if p, ok := err.(*panicError); ok {
		s.owner.eventLog().panicked(s.owner.logger(), s.id, p)
	}
}

// panicked is for what panicked where there is no session.
func (srv *Server) panicked(what string, value any) error {
	srv.panics.Add(1)
	p := caughtPanic(what, value)
	srv.log.panicked(srv.logger(), 0, p)
	return p
}

// describe is the text of what a panic was given. A value's own methods may panic in their turn, and fmt would follow
// one that contains itself for ever.
func describe(value any) string {
	text, question := "", func() {}
	switch v := value.(type) {
	case string:
		return printable(v)
	case error:
		return errorText(v)
	case fmt.Stringer:
		question = func() { text = v.String() }
	default:
		if k := reflect.TypeOf(value).Kind(); k < reflect.Array || k == reflect.String {
			question = func() { text = fmt.Sprint(value) }
		}
	}
	if !apart(question) || text == "" {
		text = fmt.Sprintf("a %T", value)
	}
	return printable(text)
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
