package eventloop

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// A tick is a timer of the kernel's (timerfd_create(2)), whose end comes as an event does. A timer of the runtime's
// that is pending while the pollers wait, as between two messages of a single peer, has the runtime wake a second
// thread with each event, which was a fifth of what such a message costs. One goroutine at a time waits.
type tick struct {
	file *os.File // nil where the kernel has no timer to give: then it is the runtime's
	raw  syscall.RawConn
	spec timerSpec

	begun bool // the timer runs, for this wait
	begin func(fd uintptr) bool
}

// timerSpec is struct itimerspec.
type timerSpec struct{ interval, first syscall.Timespec }

const clockMonotonic = 1 // CLOCK_MONOTONIC

func newTick(period time.Duration) *tick {
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return &tick{}
	}
	t := &tick{file: os.NewFile(fd, "timerfd"), spec: timerSpec{first: syscall.NsecToTimespec(int64(period))}}
	t.begin = t.setAndWait
	var err error
	if t.raw, err = t.file.SyscallConn(); err != nil {
		t.close()
		t.file = nil
	}
	return t
}

// wait returns after the period, or when the tick is closed.
func (t *tick) wait() {
	t.begun = false
	if t.file == nil || t.raw.Read(t.begin) != nil || !t.begun {
		time.Sleep(watchPeriod)
	}
}

// setAndWait is called with the runtime's poller ready to be told, and then when it was. The scheduler is not told of
// the system call: with each tick that would have the runtime's monitor look every 20 to 80 µs, which was a twentieth
// of a processor. Package sysmon has it look when it must.
func (t *tick) setAndWait(fd uintptr) (done bool) {
	if t.begun {
		return true
	}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&t.spec)), 0, 0, 0)
	t.begun = errno == 0
	return !t.begun
}

func (t *tick) close() {
	if t.file != nil {
		_ = t.file.Close()
	}
}
