//go:build !linux

package eventloop

import (
	"errors"
	"syscall"
	"time"
)

// A queue is to be written for each system, as in epoll_linux.go; kqueue would do with EV_CLEAR.
type queue struct{}

func newQueue() (*queue, error) { return nil, errors.ErrUnsupported }

func (*queue) close()                            {}
func (*queue) add(uint64, syscall.RawConn) error { return errors.ErrUnsupported }
func (*queue) remove(syscall.RawConn)            {}
func (*queue) wait(bool) (int, error)            { return 0, errors.ErrUnsupported }
func (*queue) event(int) (id uint64, all bool)   { return 0, false }

// A tick has no loop that would wait for it.
type tick struct{}

func newTick(time.Duration) *tick { return nil }

func (*tick) wait()  {}
func (*tick) close() {}
