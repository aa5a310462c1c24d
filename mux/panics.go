package mux

import (
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/libnet-go/libnet"
)

// guarded calls f, which runs handlers on a goroutine of the package's own: one that panics, or ends the goroutine, ends
// the session.
func (m *Mux) guarded(r Request, f func()) {
	returned := false
	defer func() {
		if !returned {
			m.ended(r, recover())
		}
	}()
	f()
	returned = true
}

func (m *Mux) ended(r Request, value any) {
	if value == nil { // it has ended its goroutine
		_ = r.Session.CloseWithError(libnet.ErrSessionClosed)
		return
	}
	err := fmt.Errorf("%w in a handler: %s", libnet.ErrPanic, clip(describe(value), maxText))
	_ = r.Session.CloseWithError(err)
	defer func() { _ = recover() }() // the logger is the user's
	m.log(r, fmt.Errorf("%w\n%s", err, debug.Stack()))
}

// describe is the text of what a panic was given. A value's own method may panic in its turn, and fmt would follow a value
// that contains itself for ever.
func describe(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case error:
		return answerOf(v, v.Error)
	case fmt.Stringer:
		return answerOf(v, v.String)
	}
	if k := reflect.TypeOf(value).Kind(); k < reflect.Array || k == reflect.String {
		return fmt.Sprint(value)
	}
	return typeOf(value)
}

func typeOf(value any) string { return fmt.Sprintf("a %T", value) }

// answerPatience bounds the wait for a value's text.
const answerPatience = time.Second

// answerOf asks a value for its text on another goroutine, which the method may end, or keep: then it is the value's type.
func answerOf(value any, text func() string) string {
	answers := make(chan string, 2) // the second is not looked at
	go func() {
		defer func() {
			_ = recover()
			answers <- typeOf(value)
		}()
		answers <- text()
	}()
	select {
	case answer := <-answers:
		return answer
	case <-time.After(answerPatience):
		return typeOf(value)
	}
}
