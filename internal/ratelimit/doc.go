// Package ratelimit promises that no more passes than a [Limit] says, and that what waits for it waits not a nanosecond
// longer than it must: its numbers are whole, and nothing is rounded off between two messages.
//
// A [Meter] is two token buckets, for messages and for bytes: each holds what may pass within Limit.Per, is full at
// first, and fills again evenly. A message needs one token of the first and takes it. Of the second it needs one byte
// and takes its whole size, which nobody knows before it is there: what was not in the bucket is a debt, and time pays
// it off.
//
// A [Throttle] is a meter with the timer that ends a pause. It starts no goroutine.
package ratelimit
