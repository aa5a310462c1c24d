package resume

// The classes of the package's locks: see docs/locks.md.
type (
	sessionLock struct{}
	serverLock  struct{}
	groupLock   struct{}
)
