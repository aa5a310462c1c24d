package libnet

// The classes of the package's locks. docs/locks.md says what each guards and which may be taken under which;
// a build with the tag lockcheck holds it to that.
type (
	flusherLock  struct{}
	groupLock    struct{}
	guardLock    struct{}
	logLock      struct{}
	receiverLock struct{}
	resultLock   struct{}
	serverLock   struct{}
	sessionLock  struct{}
	shardLock    struct{}
)
