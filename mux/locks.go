package mux

// The classes of the package's locks: see docs/locks.md.
type (
	callsLock    struct{}
	placeLock    struct{}
	registryLock struct{}
)
