package handover

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/usercode"
)

var errGoroutine = errors.New("handover: a function of the user's has ended its goroutine")

// call calls what calls functions of the user's, which may end its goroutine, or not return. After an error f may still
// be at work.
func call(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	go func() {
		err := errGoroutine
		defer func() { result <- err }()
		err = recovering(f)
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// callEach calls f for each of n, which calls a function of the user's, and returns those for which that has failed,
// panicked or ended the goroutine. After an error f may still be at work.
func callEach(ctx context.Context, n int, f func(i int) error) (refused []bool, err error) {
	refused = make([]bool, n)
	for next := 0; next < n; {
		err := call(ctx, func() error {
			for next < n && ctx.Err() == nil {
				i := next
				next++
				refused[i] = true // stays if the goroutine ends
				refused[i] = recovering(func() error { return f(i) }) != nil
			}
			return ctx.Err()
		})
		if err != nil && err != errGoroutine {
			return nil, err
		}
	}
	return refused, nil
}

// recovering is f with a panic as an error.
func recovering(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %s\n%s", libnet.ErrPanic, usercode.Text(r), debug.Stack())
		}
	}()
	return f()
}
