package monitor

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/internal/usercode"
)

const (
	// optionPatience is how long an answer waits for Options.Authorize and Options.Ready, which may ask others,
	// and for the callbacks of a session that it closes.
	optionPatience = 10 * time.Second

	// addressPatience is how long it waits for all the addresses that it shows.
	addressPatience = time.Second

	// maxStuck is how many calls may be under way that nobody waits for any more. While there are as many no
	// other is begun: a goroutine for each further request would be one too many. Of the logger there may be as many.
	maxStuck = 64
)

// outside is where code of the program's runs: options, and the methods of addresses and errors. It may panic, end its
// goroutine or never return, and keeps by that neither an answer nor the monitor.
type outside struct {
	logger  *slog.Logger // nil: slog.Default()
	most    int64        // calls that may be stuck
	stuck   atomic.Int64
	logging atomic.Int64 // calls of the logger that have not returned
}

var (
	errStuck = errors.New("too many earlier calls have not returned")
	errLate  = errors.New("it has not returned in time")
	errExit  = errors.New("it ended its goroutine")
	errPanic = errors.New("it panicked, and the log says more")
)

// outcome is how a call ended.
type outcome[T any] struct {
	v   T
	err error
}

// call runs f on a goroutine of its own and waits for it, but not for longer than patience.
func call[T any](o *outside, what string, patience time.Duration, f func() T) (v T, err error) {
	if o.stuck.Load() >= o.most {
		return v, fmt.Errorf("%s: %w", what, errStuck)
	}
	done, late := make(chan outcome[T]), make(chan struct{}) // late is closed when nobody waits any more
	go perform(o, what, f, done, late)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-done:
		v, err = r.v, r.err
	case <-timer.C:
		o.stuck.Add(1)
		close(late)
		err = errLate
	}
	if err != nil {
		return v, fmt.Errorf("%s: %w", what, err)
	}
	return v, nil
}

// option is call for those that see a request, or stand for its answer: they may abort it, as a handler may.
func option[T any](m *monitor, what string, f func() T) (v T, err error) {
	v, err = call(&m.outside, what, optionPatience, f)
	if errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	return v, err
}

func perform[T any](o *outside, what string, f func() T, done chan<- outcome[T], late <-chan struct{}) {
	r := outcome[T]{err: errExit}
	defer func() {
		p := recover()
		var stack []byte
		switch {
		case p == http.ErrAbortHandler:
			r.err, p = http.ErrAbortHandler, nil
		case p != nil:
			r.err, stack = errPanic, debug.Stack()
		}
		select {
		case done <- r:
		case <-late:
			o.stuck.Add(-1)
		}
		if p != nil { // after the answer: the logger is the program's, too
			o.log(what, p, stack)
		}
	}()
	r.v = f()
	r.err = nil
}

// log leaves a line out where a logger that hangs has as many already.
func (o *outside) log(what string, panicked any, stack []byte) {
	defer o.logging.Add(-1)
	defer func() { _ = recover() }()
	if o.logging.Add(1) > maxStuck {
		return
	}
	logger := o.logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.Error("libnet: monitor: panic", "in", what, "panic", usercode.Text(panicked), "stack", string(stack))
}

// numbered is the answer of one of many.
type numbered[T any] struct {
	at int
	v  T
}

// askEach asks f about 0 to n-1, one after the other. One that panics or ends its goroutine has no answer; with one
// that does not return, nor have those behind it.
func askEach[T any](o *outside, what string, n int, f func(i int) T) []T {
	answers := make([]T, n)
	if n == 0 {
		return answers
	}
	said := make(chan numbered[T], n) // with room for all, whether or not anybody still listens
	_, _ = call(o, what, addressPatience, func() struct{} {
		sayFrom(0, n, f, said)
		return struct{}{}
	})
	for {
		select {
		case a := <-said:
			answers[a.at] = a.v
		default:
			return answers
		}
	}
}

// sayFrom says those from i on, also when one of them panics or ends this goroutine.
func sayFrom[T any](i, n int, f func(int) T, said chan<- numbered[T]) {
	for ; i < n; i++ {
		sayOne(i, n, f, said)
	}
}

func sayOne[T any](i, n int, f func(int) T, said chan<- numbered[T]) {
	returned := false
	defer func() {
		if recover() == nil && !returned { // the goroutine ends; what is deferred still runs
			sayFrom(i+1, n, f, said)
		}
	}()
	v := f(i)
	returned = true
	said <- numbered[T]{i, v}
}
