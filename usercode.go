package libnet

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/usercode"
)

// within has f called on a goroutine of its own and waits until it is done, but for d at most; false if f is not. f
// guards against panics itself.
func within(d time.Duration, f func()) (done bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f()
	}()
	return closedWithin(ended, d)
}

// closedWithin waits until c is closed, but for d at most; false if it is not.
func closedWithin(c <-chan struct{}, d time.Duration) bool {
	bound := time.NewTimer(d)
	defer bound.Stop()
	select {
	case <-c:
		return true
	case <-bound.C:
		return false
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// errorIs is errors.Is where err may be the user's, whose methods may panic, hang, end their goroutine or lead round in
// a circle: then it is not. Call it with no lock held.
func errorIs(err, target error) bool {
	return asked(err, func() bool { return errchain.Is(err, target) })
}

// asked answers a question that calls err's methods, with no where they do not return.
func asked(err error, question func() bool) (yes bool) {
	if isOwn(err) {
		return question()
	}
	yes, _ = usercode.Answer(question)
	return yes
}

// errorText is err.Error(), safe to log, or the type of an error that has no text to give.
func errorText(err error) string {
	switch e := err.(type) {
	case *timeoutError:
		return e.Error()
	case *explainedError:
		return errorText(e.err) + ": " + e.text
	}
	switch ownershipOf(err) {
	case ownText:
		return printable(err.Error())
	case ownCircle:
		return fmt.Sprintf("a %T without a text", err)
	}
	return printable(usercode.Text(err))
}

// isOwn reports whether all that errors.Is and errors.As call of err is the standard library's or this module's: it is
// asked where it is. On a goroutine of its own its answer could be late, on a machine with much to do, and would count
// as none.
func isOwn(err error) bool { return ownershipOf(err) >= ownChain }

// ownership says what of an error is the standard library's or this module's.
type ownership uint8

const (
	notOwn    ownership = iota
	ownCircle           // it has no text: the user has had it wrap itself
	ownChain            // what it wraps, and not what its text calls
	ownText             // all
)

func ownershipOf(err error) ownership {
	l := look{left: mostOwn, found: ownText}
	if !l.through(err) && l.found != ownCircle {
		return notOwn
	}
	return l.found
}

// A look is one through all that an error wraps.
type look struct {
	left  int // how many errors of packages net and os are followed
	found ownership
}

// mostOwn is how many of them are looked at. More are a circle.
const mostOwn = 100

func (l *look) through(err error) bool {
	if l.left--; l.left < 0 {
		l.found = ownCircle
		return false
	}
	return errchain.Answers(err, l.knows)
}

func (l *look) knows(err error) bool {
	switch e := err.(type) {
	case syscall.Errno, *plainError, *closedError, *timeoutError, *headerError, *panicError, tls.RecordHeaderError:
		return true
	case *net.OpError:
		if e == nil || e.Err == nil { // it has no text then
			return false
		}
		if !isOwnAddr(e.Source) || !isOwnAddr(e.Addr) {
			l.found = ownChain
		}
		return l.through(e.Err)
	case *os.SyscallError:
		return e != nil && e.Err != nil && l.through(e.Err)
	case *explainedError:
		return l.through(e.err)
	}
	return err == net.ErrClosed || err == os.ErrDeadlineExceeded || inside.IsCloseError != nil && inside.IsCloseError(err)
}

// isOwnAddr is asked about the addresses that the text of a net.OpError has.
func isOwnAddr(addr net.Addr) bool {
	switch addr.(type) {
	case nil, *net.TCPAddr, *net.UnixAddr:
		return true
	}
	return false
}

func init() { inside.IsOwn = func(err error) bool { return ownershipOf(err) == ownText } }

// isNil reports whether a value of the user's is nil, or a nil of some type within an interface: such a conn has
// nothing to read.
func isNil(value any) bool { return usercode.IsNil(value) }

// A panicError says that the user's code panicked. Its line in the log is written once, by whoever comes first to
// where no lock is held.
type panicError struct {
	what, text string
	stack      atomic.Pointer[string] // nil once it is logged
}

// caughtPanic makes an error of what a panic was given. It is called by the deferred function that recovered.
func caughtPanic(what string, value any) *panicError {
	p := &panicError{what: what, text: printable(usercode.Text(value))}
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

// errGoroutineEnded stays where user code has called runtime.Goexit. Nobody is told.
var errGoroutineEnded = newError("libnet: user code ended the goroutine")

// layerReturned is deferred around a read or write that does not wait, with *err at errGoroutineEnded: it calls the
// TLSConfig's Rand, which is the user's, on a goroutine that is not the session's own.
func (s *Session) layerReturned(err *error) {
	if r := recover(); r != nil {
		*err = s.panickedLocked("function of the TLSConfig", r)
	} else if *err == errGoroutineEnded {
		go s.terminate(ErrSessionClosed)
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
		s.owner.eventLog().panicked(s.owner.logger(), s, p)
	}
}

// panicked is for what panicked where there is no session.
func (srv *Server) panicked(what string, value any) error {
	srv.panics.Add(1)
	p := caughtPanic(what, value)
	srv.log.panicked(srv.logger(), nil, p)
	return p
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

// poisoned is what a message that is no longer valid is overwritten with: no UTF-8, no JSON, and as a length too long.
const poisoned = 0xdb

// poison overwrites what nobody may look at any more, if Config.PoisonMessages says so.
func (s *Session) poison(msg []byte) {
	if !s.owner.PoisonMessages {
		return
	}
	for i := range msg {
		msg[i] = poisoned
	}
}
