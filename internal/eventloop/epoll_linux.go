package eventloop

import (
	"cmp"
	"os"
	"syscall"
	"unsafe"
)

// A queue is an epoll descriptor (epoll(7)), edge-triggered. Waiting on it is left to the runtime's poller, so that no
// thread sleeps in the kernel for it.
//
// Package syscall has all that this takes; golang.org/x/sys would be a dependency of whoever imports libnet.
type queue struct {
	file *os.File
	raw  syscall.RawConn
	poll func(epfd uintptr) bool // pollOnce, bound once

	// Owned by the goroutine that waits.
	events [256]syscall.EpollEvent
	n      int  // events[:n] came of the last wait
	block  bool // the wait that is under way goes on until there is an event
}

func newQueue() (*queue, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // without it os.NewFile takes it for a disk file
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	q := &queue{file: os.NewFile(uintptr(fd), "epoll")}
	q.poll = q.pollOnce
	if q.raw, err = q.file.SyscallConn(); err != nil {
		q.close()
		return nil, err
	}
	return q, nil
}

// close ends a wait with an error.
func (q *queue) close() { _ = q.file.Close() }

// edgeTriggered is EPOLLET, which package syscall has as a negative number on some architectures only.
const edgeTriggered = 1 << 31

// add registers a descriptor: each time that something arrives there is an event. It carries the source's id, which,
// unlike the descriptor's number, nobody gets after it. Closing the descriptor takes it out again.
func (q *queue) add(id uint64, raw syscall.RawConn) error {
	event := syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLPRI | syscall.EPOLLRDHUP | edgeTriggered,
		Fd:     int32(id),
		Pad:    int32(id >> 32),
	}
	var err, ctlErr error
	queueErr := q.raw.Control(func(epfd uintptr) {
		err = raw.Control(func(fd uintptr) {
			ctlErr = os.NewSyscallError("epoll_ctl", syscall.EpollCtl(int(epfd), syscall.EPOLL_CTL_ADD, int(fd), &event))
		})
	})
	return cmp.Or(queueErr, err, ctlErr)
}

// remove takes a descriptor out again, if it is in.
func (q *queue) remove(raw syscall.RawConn) {
	_ = q.raw.Control(func(epfd uintptr) {
		_ = raw.Control(func(fd uintptr) { _ = syscall.EpollCtl(int(epfd), syscall.EPOLL_CTL_DEL, int(fd), nil) })
	})
}

// wait returns how many events there are, waiting for the first if it is to block.
func (q *queue) wait(block bool) (n int, err error) {
	q.block = block
	if err := q.raw.Read(q.poll); err != nil {
		return 0, err
	}
	return q.n, nil
}

// pollOnce is the body of wait: false says that the runtime's poller should wait.
func (q *queue) pollOnce(epfd uintptr) bool {
	n, err := pollNow(int(epfd), q.events[:])
	q.n = max(n, 0)
	return n > 0 || !q.block || err != nil && err != syscall.EINTR
}

// pollNow is epoll_wait that does not wait. It returns in microseconds, so the runtime's scheduler is not told of it,
// which would cost more than the call.
func pollNow(epfd int, events []syscall.EpollEvent) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// moreThanInput are the events after which a read that brings less than it asked for may not be the last: no other will
// tell of an end that has been announced, and urgent data (EPOLLPRI) stops a read where it lies.
const moreThanInput = syscall.EPOLLPRI | syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR

// event returns whose the i-th event of the last wait is, and whether all must be read.
func (q *queue) event(i int) (id uint64, all bool) {
	e := &q.events[i]
	return uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32, e.Events&moreThanInput != 0
}
