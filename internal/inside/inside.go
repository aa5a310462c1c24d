// Package inside keeps a method that one package of this module looks for on a value, by a type assertion, from being a
// user's: by accident, or on purpose. No other module can name a [Call], so no type of one can have a method that takes
// it. What a user's value may be asked is in docs/optional.md.
package inside

// A Call is the last parameter of such a method. It has no size, and costs nothing to pass.
type Call struct{}

// OnEnd has f called once when a *libnet.Session has ended, before its Done is closed and the user's close callbacks
// run, of which one may not return; on one that has ended at once. f calls nothing of the user's, and does not wait.
// stop takes it back, as that of libnet.Session.OnClose. Package libnet sets it when that is initialised.
var OnEnd func(session any, f func()) (stop func() bool)
