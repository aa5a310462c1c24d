package main

import (
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// A placement says on which processors a row's two processes run. With one message under way either of them
// always waits for the other, and where the kernel happens to put them decides more than what they do.
type placement string

const (
	anywhere placement = ""
	apart    placement = "apart"    // the server on one processor, the client on another
	together placement = "together" // both on one
)

// cpus are the processors of the server and of the client; nil leaves them to the kernel.
func (p placement) cpus() (server, client *unix.CPUSet, err error) {
	if p == anywhere {
		return nil, nil, nil
	}
	var ours unix.CPUSet
	if err := unix.SchedGetaffinity(0, &ours); err != nil {
		return nil, nil, err
	}
	first := nextCPU(&ours, 0)
	second := first
	if p == apart && ours.Count() > 1 {
		second = nextCPU(&ours, first+1)
	}
	return oneCPU(second), oneCPU(first), nil
}

// nextCPU is the first processor of the set from i on, which must exist.
func nextCPU(set *unix.CPUSet, i int) int {
	for !set.IsSet(i) {
		i++
	}
	return i
}

func oneCPU(i int) *unix.CPUSet {
	var set unix.CPUSet
	set.Set(i)
	return &set
}

// startOn starts the process on these processors: it inherits those of the thread that starts it.
func startOn(cpus *unix.CPUSet, cmd *exec.Cmd) error {
	if cpus == nil {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var ours unix.CPUSet
	if err := unix.SchedGetaffinity(0, &ours); err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, cpus); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &ours)
	return cmd.Start()
}
