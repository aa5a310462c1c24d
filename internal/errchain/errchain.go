// Package errchain looks through the chain of an error that may be anybody's: what package errors does, but in a
// bounded number of steps, also where an Unwrap returns the error itself. A chain that goes on beyond that holds
// nothing more.
package errchain

import (
	"errors"
	"fmt"
	"reflect"
)

// most is how many errors of a chain, or of a tree, are looked at.
const most = 100

// Is reports whether target is in err's chain, as [errors.Is] does. Target must be comparable.
func Is(err, target error) bool {
	return find(err, func(e error) bool {
		if e == target {
			return true
		}
		x, ok := e.(interface{ Is(error) bool })
		return ok && x.Is(target)
	})
}

// As finds the first error of type T in err's chain, as [errors.As] does.
func As[T any](err error) (found T, ok bool) {
	ok = find(err, func(e error) bool {
		if v, is := e.(T); is {
			found = v
			return true
		}
		x, can := e.(interface{ As(any) bool })
		return can && x.As(&found)
	})
	return found, ok
}

func find(err error, is func(error) bool) bool {
	left := most
	return findIn(err, is, &left)
}

func findIn(err error, is func(error) bool, left *int) bool {
	for err != nil && *left > 0 {
		*left--
		if is(err) {
			return true
		}
		switch x := err.(type) {
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			for _, e := range x.Unwrap() {
				if findIn(e, is, left) {
					return true
				}
			}
			return false
		default:
			return false
		}
	}
	return false
}

// plain are the types of errors that packages errors and fmt make. Their methods do no more than call those of what
// they wrap.
var plain = func() map[reflect.Type]bool {
	e := errors.New("")
	types := make(map[reflect.Type]bool)
	for _, e := range []error{e, fmt.Errorf("%w", e), fmt.Errorf("%w%w", e, e), errors.Join(e)} {
		types[reflect.TypeOf(e)] = true
	}
	return types
}()

// Answers reports whether all errors of err's chain are known, or made by packages errors and fmt: then whatever is
// asked of err is answered at once. What a known one wraps is not looked at.
func Answers(err error, known func(error) bool) bool {
	left := most
	return answers(err, known, &left)
}

func answers(err error, known func(error) bool, left *int) bool {
	for err != nil && !known(err) {
		if *left--; *left < 0 || !plain[reflect.TypeOf(err)] {
			return false
		}
		switch x := err.(type) {
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			for _, e := range x.Unwrap() {
				if !answers(e, known, left) {
					return false
				}
			}
			return true
		default:
			return true
		}
	}
	return true
}
