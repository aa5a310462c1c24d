// Package inside keeps a method that one package of this module looks for on a value, by a type assertion, from being a
// user's: by accident, or on purpose. No other module can name a [Call], so no type of one can have a method that takes
// it. What a user's value may be asked is in docs/optional.md.
package inside

import "github.com/libnet-go/libnet/internal/sendqueue"

// A Call is the last parameter of such a method. It has no size, and costs nothing to pass.
type Call struct{}

// OnEnd has f called once when a *libnet.Session has ended, before its Done is closed and the user's close callbacks
// run, of which one may not return; on one that has ended at once. f calls nothing of the user's, and does not wait.
// stop takes it back, as that of libnet.Session.OnClose. Package libnet sets it when that is initialised.
var OnEnd func(session any, f func()) (stop func() bool)

// An End is told that a session has ended.
type End interface{ Ended() }

// Keep has e told as OnEnd has f called, and [Kept] find it until then, in the same time whatever else waits for the
// end. A session needs no more for it than for a callback. Package libnet sets both.
var Keep func(session any, e End)

// Kept returns what Keep was given last; nil if that was nothing, or the session has ended.
var Kept func(session any) End

// Put queues a message that is marshalled already, as Send does a *[sendqueue.Payload] of it, where nobody's code has
// to be asked: so it may be called with a lock of the caller's held. Not ok: Send it. by is what Flush is to be told
// then, with no lock held. Package libnet sets both.
var Put func(session any, payload []byte) (by sendqueue.By, ok bool)

// Flush has written what Put has queued.
var Flush func(session any, by sendqueue.By)

// IsOwn reports whether an error's methods are the standard library's or this module's: they return, and at once.
// Package libnet sets it.
var IsOwn func(err error) bool

// IsCloseError reports whether an error is one of package ws's library, for IsOwn. Package ws sets it, where that is
// used.
var IsCloseError func(err error) bool
