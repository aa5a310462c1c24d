package monitor

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"
)

const (
	// optionPatience is how long an answer waits for Options.Authorize and Options.Ready, which may ask others,
	// and for the callbacks of a session that it closes.
	optionPatience = 10 * time.Second

	// addressPatience is how long it waits for all the addresses that it shows.
	addressPatience = time.Second

	// maxStuck is how many calls may be under way that nobody waits for any more. While there are as many no
	// other is begun: a goroutine for each further request would be one too many.
	maxStuck = 64
)

// outside is where code of the program's runs: options, and the methods of addresses and errors. It may panic, end its
// goroutine or never return, and keeps by that neither an answer nor the monitor.
type outside struct {
	logger *slog.Logger // nil: slog.Default()
	stuck  atomic.Int64
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
	if o.stuck.Load() >= maxStuck {
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
	switch {
	case err == http.ErrAbortHandler:
		panic(err)
	case err != nil:
		return v, fmt.Errorf("%s: %w", what, err)
	}
	return v, nil
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

func (o *outside) log(what string, panicked any, stack []byte) {
	defer func() { _ = recover() }()
	logger := o.logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.Error("libnet: monitor: panic", "in", what, "panic", fmt.Sprint(panicked), "stack", string(stack))
}
