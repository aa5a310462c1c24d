package reconnect

// The class of the package's lock: see docs/locks.md.
type clientLock struct{}
