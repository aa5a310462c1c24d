//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of a server are counted as strace does it, by tracing its process: in event mode there is no conn to
// put a counter into. Times are of no matter: a traced process is slow, and does what it does all the same.

func TestAWindowIsReadAndWrittenAsOftenAsItsGuardSays(t *testing.T) {
	for _, g := range guards {
		t.Run(g.server, func(t *testing.T) {
			t.Parallel()
			s, err := findServer(g.server)
			if err != nil {
				t.Fatal(err)
			}
			traced := traceServer(t, g.server, echoKind)
			for i, r := range guardedWindows {
				reads, writes := traced.usualCalls(windowOf(t, s, traced.address, r))
				if reads != g.reads[i] || writes != g.writes[i] {
					t.Errorf("a window of row %s is %d reads and %d writes, want %d and %d", r.Name, reads, writes, g.reads[i], g.writes[i])
				}
			}
		})
	}
}

func TestABroadcastIsWrittenOnceToEachMember(t *testing.T) {
	const members = 5
	for _, name := range []string{"libnet", "libnet-event", "libnet-ws", "libnet-ws-event"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := findServer(name)
			if err != nil {
				t.Fatal(err)
			}
			traced := traceServer(t, name, broadcastKind)
			c := &client{job: job{Row: row{Window: 1, Size: 128}, Address: traced.address, Patience: 20 * time.Second, Over: s.over}}
			t.Cleanup(c.closeAll)
			conns, err := c.join(members)
			if err != nil {
				t.Fatal(err)
			}
			batch := c.batch(plainMark)
			got := make([]byte, len(batch.back))
			c.setDeadline(time.Time{})
			_, writes := traced.usualCalls(func() {
				if _, err := conns[0].Write(batch.out); err != nil {
					t.Fatal(err)
				}
				for _, conn := range conns {
					if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, batch.back) {
						t.Fatal("a member received another message:", err)
					}
				}
			})
			if writes != members {
				t.Errorf("%d writes to %d members", writes, members)
			}
		})
	}
}

// usualCalls is what most of the windows took. A machine that is busy elsewhere has now and then a session served in
// another way than usual, or a read that finds nothing come so late that it counts to the next window.
func (p *tracedServer) usualCalls(window func()) (reads, writes int) {
	const windows, settled = 60, time.Millisecond
	var allReads, allWrites []int
	for range 5 { // the first ones set up what the others use
		window()
	}
	for range windows {
		r, w := p.reads.Load(), p.writes.Load()
		window()
		time.Sleep(settled)
		allReads = append(allReads, int(p.reads.Load()-r))
		allWrites = append(allWrites, int(p.writes.Load()-w))
	}
	return mostFrequent(allReads), mostFrequent(allWrites)
}

func mostFrequent(values []int) (most int) {
	times := map[int]int{}
	for _, v := range values {
		if times[v]++; times[v] > times[most] {
			most = v
		}
	}
	return most
}

// tracedServer is a server process whose reads and writes of sockets are counted, whichever of its threads makes them.
type tracedServer struct {
	address       string
	reads, writes atomic.Int64
	sockets       map[uint64]bool // by descriptor; owned by the tracing goroutine
	pid           int
}

// traceServer starts one that ends with the test.
func traceServer(t *testing.T, name string, kind rowKind) *tracedServer {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, serveForm, name, string(kind))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &tracedServer{sockets: map[uint64]bool{}}
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // only the thread that starts a process may trace it; it ends with the goroutine
		if err := p.start(cmd); err != nil {
			started <- err
			return
		}
		started <- nil
		ended <- p.trace()
	}()
	if err := <-started; errors.Is(err, syscall.EPERM) {
		t.Skip("this machine lets no process trace another")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := <-ended; err != nil {
			t.Error("tracing:", err)
		}
	})
	if _, err := fmt.Fscan(io.LimitReader(stdout, 100), &p.address); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *tracedServer) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.pid = cmd.Process.Pid
	if _, err := syscall.Wait4(p.pid, nil, syscall.WALL, nil); err != nil { // it stops at its exec
		return err
	}
	const options = syscall.PTRACE_O_TRACESYSGOOD | syscall.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := syscall.PtraceSetOptions(p.pid, options); err != nil {
		return err
	}
	return syscall.PtraceSyscall(p.pid, 0)
}

// trace lets the process go on from one system call to the next until it has ended. __WNOTHREAD leaves the processes of
// other threads to those who wait for them.
func (p *tracedServer) trace() error {
	seen := map[int]bool{p.pid: true}
	for {
		var status syscall.WaitStatus
		thread, err := syscall.Wait4(-1, &status, syscall.WALL|syscall.WNOTHREAD, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return err
		case !status.Stopped():
			if thread == p.pid {
				return nil
			}
			continue
		}
		deliver := 0
		switch signal := status.StopSignal(); {
		case signal == syscall.SIGTRAP|0x80:
			p.count(thread)
		case signal == syscall.SIGTRAP:
		case signal == syscall.SIGSTOP && !seen[thread]: // a new thread begins so
		default:
			deliver = int(signal)
		}
		seen[thread] = true
		if err := syscall.PtraceSyscall(thread, deliver); err != nil && err != syscall.ESRCH {
			return err
		}
	}
}

// syscallInfo is the kernel's struct ptrace_syscall_info, at the entry of a system call.
type syscallInfo struct {
	op     uint8
	_      [3]uint8
	arch   uint32
	ip, sp uint64
	nr     uint64
	args   [6]uint64
}

const (
	ptraceGetSyscallInfo = 0x420e
	atEntry              = 1
)

func (p *tracedServer) count(thread int) {
	var info syscallInfo
	syscall.RawSyscall6(syscall.SYS_PTRACE, ptraceGetSyscallInfo, uintptr(thread), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if info.op != atEntry {
		return
	}
	fd, length := info.args[0], info.args[2]
	switch info.nr {
	case syscall.SYS_READ, syscall.SYS_READV, syscall.SYS_RECVFROM:
		// A read of nothing is how a build with the race detector tells it of a read.
		if length > 0 && p.isSocket(fd) {
			p.reads.Add(1)
		}
	case syscall.SYS_WRITE, syscall.SYS_WRITEV, syscall.SYS_SENDTO:
		if length > 0 && p.isSocket(fd) {
			p.writes.Add(1)
		}
	case syscall.SYS_CLOSE:
		delete(p.sockets, fd)
	}
}

func (p *tracedServer) isSocket(fd uint64) bool {
	is, known := p.sockets[fd]
	if !known {
		name, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", p.pid, fd))
		is = strings.HasPrefix(name, "socket:")
		p.sockets[fd] = is
	}
	return is
}
