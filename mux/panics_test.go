package mux_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/mux"
)

// A badText is a value whose text is user code.
type badText func() string

func (f badText) String() string { return f() }

// A badError is an error whose text is user code.
type badError struct{ text func() string }

func (e badError) Error() string { return e.text() }

func TestAPanicEndsItsSessionWhateverItWasGiven(t *testing.T) {
	hung := make(chan string)
	itself := []any{nil}
	itself[0] = itself
	again := badError{}
	again.text = func() string { panic(again) }
	for _, c := range []struct {
		name  string
		value any
		want  string
	}{
		{"a string", "whatever", "in a handler: whatever"},
		{"a number", 7, "in a handler: 7"},
		{"an error", errors.New("whatever"), "in a handler: whatever"},
		{"nil", nil, "in a handler: panic called with nil argument"},
		{"a value whose text panics", badText(func() string { panic("again") }), "in a handler: a mux_test.badText"},
		{"an error that panics with itself", again, "in a handler: a mux_test.badError"},
		{"a value whose text ends the goroutine", badText(func() string { runtime.Goexit(); return "" }), "in a handler: a mux_test.badText"},
		{"a value whose text does not come", badText(func() string { return <-hung }), "in a handler: a mux_test.badText"},
		{"a value that contains itself", itself, "in a handler: a []interface {}"},
	} {
		for _, way := range [][]mux.Option{nil, {mux.Concurrent(1)}} {
			synctest.Test(t, func(t *testing.T) {
				hung = make(chan string)
				m := newMux()
				mux.Handle(m, double, func(context.Context, *libnet.Session, *num) (*num, error) { panic(c.value) }, way...)
				s, hand := raw(t, m)
				if err := hand.Send(append(header(1, 1, mux.Ask), 0, 0, 0, 0, 0, 0, 0, 1)); err != nil {
					t.Fatal(err)
				}
				<-s.Done()
				if err := s.Err(); !errors.Is(err, libnet.ErrPanic) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: the session ended with %v", c.name, err)
				}
				close(hung)
			})
		}
	}
}
