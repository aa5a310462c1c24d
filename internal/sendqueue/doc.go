// Package sendqueue has what was sent and is not yet written: in order, bounded in messages and bytes, and counted
// once, as written or as discarded. It promises that nothing is left lying: whoever puts a message into a [Queue] is
// told who has to flush it, and one flush at a time writes.
//
// It knows no connection and no session. A sender encodes into a draft, a [Batch], and puts that into the queue, or has
// a frame copied. Whoever flushes takes a batch, writes what it can of it, and says how much that was:
//
//	for b := q.Take(); b != nil && err == nil; {
//		n, failed := conn.Write(b.Rest())
//		b, err = q.Wrote(b, n)
//		...
//	}
//
// The receiver of the same connection says what it does, since a reply may wait for it: see [By]. docs/sendside.md has
// the states of all, and what may not be changed without thought.
//
// All methods of a Queue may be called by any goroutine, but for those of the receiver, which belong to one. A Batch
// belongs to who made it until it is put, and then to the queue; one that was taken may be read by the flush that took
// it. No code of a user's runs under the queue's lock, and no other lock is taken but a Lender's.
package sendqueue
