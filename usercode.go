package libnet

import (
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/errchain"
)

// apart has f called on a goroutine of its own and waits for it. What f does to its goroutine, a panic or
// [runtime.Goexit], it does not do to the caller's; ok says that f returned. Nothing that f sets counts otherwise.
func apart(f func()) (ok bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		f()
		ok = true
	}()
	<-done
	return ok
}

// within has f called on a goroutine of its own and waits until it is done, but for d at most; false if f is not. f guards against
// panics itself.
func within(d time.Duration, f func()) (done bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f()
	}()
	bound := time.NewTimer(d)
	defer bound.Stop()
	select {
	case <-ended:
		return true
	case <-bound.C:
		return false
	}
}

// errorIs is errors.Is where err may be the user's, whose methods may panic, end their goroutine or lead round in a circle: then it
// is not. Call it with no lock held.
func errorIs(err, target error) bool {
	return asked(err, func() bool { return errchain.Is(err, target) })
}

// asked answers a question that calls err's methods, with no where they do not return.
func asked(err error, question func() bool) (yes bool) {
	if isOwn(err) {
		return question()
	}
	answer := false
	return apart(func() { answer = question() }) && answer
}

// errorText is err.Error(), safe to log, or the type of an error that has no text to give.
func errorText(err error) string {
	text := ""
	if !apart(func() { text = err.Error() }) {
		text = fmt.Sprintf("a %T without a text", err)
	}
	return printable(text)
}

// isOwn reports whether all that errors.Is and errors.As call of err is the standard library's or this package's.
func isOwn(err error) bool {
	for {
		switch e := err.(type) {
		case nil, syscall.Errno, *plainError, *closedError, *timeoutError, *panicError:
			return true
		case *net.OpError:
			if e == nil {
				return false
			}
			err = e.Err
		case *os.SyscallError:
			if e == nil {
				return false
			}
			err = e.Err
		default:
			return err == io.EOF || err == io.ErrUnexpectedEOF || err == net.ErrClosed || err == os.ErrDeadlineExceeded
		}
	}
}

// isNil reports whether a value of the user's is nil, or a nil of some type within an interface: such a conn has
// nothing to read.
func isNil(value any) bool {
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan:
		return v.IsNil()
	}
	return false
}
