// Package errchain looks through the chain of an error that may be anybody's: what package errors does, but in a
// bounded number of steps, also where an Unwrap returns the error itself. A chain that goes on beyond that holds
// nothing more.
package errchain

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
