// Package usercode asks values of the user's something, and gets an answer, or none in time: their methods may panic,
// hang, or end their goroutine, and what a panic is given may panic in its turn.
package usercode

import (
	"fmt"
	"reflect"
	"time"
	"unicode/utf8"
)

// Patience bounds the wait for an answer.
const Patience = time.Second

// Answer asks a question on a goroutine of its own, which the user's code behind it may end, or keep; ok says that it
// was answered within Patience.
func Answer[T any](question func() T) (answer T, ok bool) { return AnswerWithin(Patience, question) }

// AnswerWithin is Answer with a bound of the caller's.
func AnswerWithin[T any](d time.Duration, question func() T) (answer T, ok bool) {
	answers := make(chan T, 1)
	go func() {
		defer close(answers)
		defer func() { _ = recover() }()
		answers <- question()
	}()
	bound := time.NewTimer(d)
	defer bound.Stop()
	select {
	case answer, ok = <-answers:
	case <-bound.C:
	}
	return answer, ok
}

// IsNil reports whether a value of the user's is nil, or a nil of some type within an interface.
func IsNil(value any) bool {
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan:
		return v.IsNil()
	}
	return false
}

// IsMissing is IsNil for a protocol, a handler or a codec: it needs something behind it, unless that is a type without
// fields.
func IsMissing(value any) bool {
	if !IsNil(value) {
		return false
	}
	t := reflect.TypeOf(value)
	return t == nil || t.Kind() != reflect.Pointer || t.Elem().Size() > 0
}

// Cut is text, or the whole characters of its first limit bytes.
func Cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit
	for end > limit-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// Text is what an error says, or what a panic was given, or its type where that says nothing. It may be long, and a
// part of it may come from a peer. fmt would follow a value that contains itself for ever, and a panic of a panicking
// value's method ends the process.
func Text(value any) string {
	text, none := "", fmt.Sprintf("a %T", value)
	switch v := value.(type) {
	case string:
		return v
	case error:
		var ok bool
		if text, ok = Answer(v.Error); !ok {
			return none + " without a text"
		}
		return text
	case fmt.Stringer:
		text, _ = Answer(v.String)
	default:
		if k := reflect.ValueOf(value).Kind(); k < reflect.Array || k == reflect.String {
			text, _ = Answer(func() string { return fmt.Sprint(value) }) // it may have a Format
		}
	}
	if text == "" {
		return none
	}
	return text
}

// An askedError is one of the user's that has been asked for its text.
type askedError struct {
	error
	text string
}

// Asked returns an error that says what err says, and is err, for who will ask it where it may not answer.
func Asked(err error) error { return &askedError{err, Text(err)} }

func (e *askedError) Error() string { return e.text }
func (e *askedError) Unwrap() error { return e.error }
