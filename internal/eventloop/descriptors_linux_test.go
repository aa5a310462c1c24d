package eventloop

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// The pollers come first: without a timer of the kernel's the runtime has one.
func TestALoopNeedsADescriptorForEachPollerAndNoOther(t *testing.T) {
	warm, err := New(nil) // what the runtime waits with is there from then on
	if err != nil {
		t.Fatal(err)
	}
	warm.Close()
	give := takeAllDescriptors(t, runtime.GOMAXPROCS(0))
	l, err := New(nil)
	give()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.watch.tick.file != nil {
		t.Error("there was a descriptor more")
	}
	began := time.Now()
	if l.watch.tick.wait(); time.Since(began) < watchPeriod {
		t.Error("it does not tick")
	}
}

func TestALoopThatCannotBeMadeLeavesNoDescriptor(t *testing.T) {
	give := takeAllDescriptors(t, runtime.GOMAXPROCS(0)-1)
	l, err := New(nil)
	give()
	if err == nil {
		l.Close()
		t.Fatal("it was made")
	}
	before := openDescriptors(t)
	for range 10 {
		l, err := New(nil)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	if after := openDescriptors(t); after > before {
		t.Errorf("%d descriptors became %d", before, after)
	}
}

// takeAllDescriptors leaves the process so many.
func takeAllDescriptors(t *testing.T, left int) (give func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	short := limit
	short.Cur = min(limit.Cur, 256)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &short); err != nil {
		t.Fatal(err)
	}
	var taken []int
	for {
		fd, err := syscall.Dup(2)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	if len(taken) < left {
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
		t.Skip("too many are open")
	}
	for _, fd := range taken[:left] {
		_ = syscall.Close(fd)
	}
	return func() {
		for _, fd := range taken[left:] {
			_ = syscall.Close(fd)
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
