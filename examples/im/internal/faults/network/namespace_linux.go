package network

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// threadNamespace is the network namespace of the thread that opens it.
const threadNamespace = "/proc/thread-self/ns/net"

// inNewNamespace calls f on a thread that is in a new network namespace.
func inNewNamespace(f func() error) error {
	return elsewhere(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, f)
}

// Start starts a command on this host.
func (h *Host) Start(cmd *exec.Cmd) error { return h.Do(cmd.Start) }

// Do calls f on a thread that is on this host: what it starts and opens belongs there.
func (h *Host) Do(f func() error) error {
	if h.namespace == nil {
		return f()
	}
	return elsewhere(func() error { return unix.Setns(int(h.namespace.Fd()), unix.CLONE_NEWNET) }, f)
}

// elsewhere calls f on a thread that has gone somewhere, and brings it back. The thread has to stay: processes that it
// starts are killed when it ends, if they asked for the death of their parent.
func elsewhere(goThere, f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(threadNamespace)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := goThere(); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	result := f()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(fmt.Sprintf("network: a thread cannot leave a namespace: %v", err))
	}
	runtime.UnlockOSThread()
	return result
}
