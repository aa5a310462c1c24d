package monitor

// The classes of the package's locks: see docs/locks.md.
type (
	historyLock struct{}
	notingLock  struct{}
	ratesLock   struct{}
)
