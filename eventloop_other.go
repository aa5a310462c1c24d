//go:build !linux

package libnet

// Elsewhere than on Linux every session of ServeMessages has a goroutine.
type eventLoop struct{}

func newEventLoop(*Server, MessageHandler) (*eventLoop, error) { return nil, nil }

func (*eventLoop) add(*Session) bool { return false }

func (*eventLoop) close() {}
