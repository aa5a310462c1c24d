// Package setting has the one rule of the module's numbers that users set: zero is the default, negative is off.
package setting

import "time"

// Resolve returns what set stands for: byDefault if it is zero, off if it is negative, else itself.
func Resolve[T int | time.Duration](set, byDefault, off T) T {
	switch {
	case set == 0:
		return byDefault
	case set < 0:
		return off
	}
	return set
}
