package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// A usage is what a process uses at one moment.
type usage struct {
	RSS         int64         `json:"rss"`  // bytes, VmRSS
	Heap        int64         `json:"heap"` // bytes of objects, live or not yet collected
	Goroutines  int           `json:"goroutines"`
	Descriptors int           `json:"descriptors"`
	CPU         time.Duration `json:"cpu"` // user and system, since the process began
}

func currentUsage() (u usage) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.Heap = int64(m.HeapAlloc)
	u.Goroutines = runtime.NumGoroutine()
	entries, _ := os.ReadDir("/proc/self/fd")
	u.Descriptors = len(entries) - 1 // without the one that reads the folder
	status, _ := os.ReadFile("/proc/self/status")
	if _, after, ok := strings.Cut(string(status), "VmRSS:"); ok {
		_, _ = fmt.Sscan(after, &u.RSS)
		u.RSS <<= 10
	}
	u.CPU = cpuTime("self")
	return u
}

// cpuTime is what a process has used, "self" or a number; 0 if that is not known.
func cpuTime(process string) time.Duration {
	const tick = time.Second / 100 // USER_HZ, which Linux has promised
	stat, _ := os.ReadFile("/proc/" + process + "/stat")
	_, after, _ := strings.Cut(string(stat), ") ") // a name may contain blanks
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0
	}
	var user, system time.Duration
	_, _ = fmt.Sscan(fields[11], &user)
	_, _ = fmt.Sscan(fields[12], &system)
	return (user + system) * tick
}
