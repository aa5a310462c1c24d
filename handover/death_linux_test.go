package handover_test

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// death returns what is called at each step of Take, and ends the process where the settings say so.
func (set settings) death() func(name string, n int) {
	after, timed := strings.CutPrefix(set.Dies, "after ")
	if !timed {
		set.dieAt("start")
		return func(name string, n int) { set.dieAt(name + number(n)) }
	}
	var at atomic.Value
	at.Store("start")
	d, _ := time.ParseDuration(after)
	timer := time.AfterFunc(d, func() { set.die(at.Load().(string)) })
	return func(name string, n int) {
		at.Store(name + number(n))
		if name == "go" && !timer.Stop() { // from here on the sessions are this process's
			select {}
		}
	}
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func (set settings) dieAt(here string) {
	if set.Dies == here {
		set.die(here)
	}
}

// die kills the process, and with Both the one that gives.
func (set settings) die(here string) {
	report{What: "dies", At: here}.write()
	if set.Both {
		_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
