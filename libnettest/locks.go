package libnettest

// The classes of the package's locks: see docs/locks.md.
type (
	clientsLock struct{}
	faultsLock  struct{}
	proxyLock   struct{}
	signalLock  struct{}
	sourceLock  struct{}
	wireLock    struct{}
)
