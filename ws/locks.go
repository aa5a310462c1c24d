package ws

// The classes of the package's locks: see docs/locks.md.
type (
	deadlineLock     struct{}
	inboxLock        struct{}
	linkDeadlineLock struct{}
	linkLock         struct{}
	writerLock       struct{}
)
