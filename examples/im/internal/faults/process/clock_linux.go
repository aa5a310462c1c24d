package process

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// ErrNoClock is returned where the clock of one process cannot be changed.
var ErrNoClock = errors.New("no way to change one process's clock here")

// startAhead starts a command whose clock is wrong. A time namespace cannot do that, as it has no wall clock. The
// kernel however maps the function that reads the clock into each process, and who traces a process may write there:
// the command is held after exec, that function is replaced in its memory, and it is let go.
func startAhead(host Host, cmd *exec.Cmd, ahead time.Duration) error {
	code, err := clockCode(ahead)
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the thread that starts a process is the one that traces it
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr.Ptrace = true
	if err := host.Start(cmd); err != nil {
		return err
	}
	if err := replaceClock(cmd.Process.Pid, code); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	return nil
}

func replaceClock(pid int, code []byte) error {
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		return fmt.Errorf("wait for exec: %w", err)
	}
	if !status.Stopped() {
		return fmt.Errorf("it is not held after exec: %v", status)
	}
	at, err := clockAddress(pid)
	if err != nil {
		return err
	}
	if _, err := syscall.PtracePokeText(pid, at, code); err != nil {
		return fmt.Errorf("write to the vDSO: %w", err)
	}
	return syscall.PtraceDetach(pid)
}

// clockAddress finds the function that reads the clock in a process's memory.
func clockAddress(pid int) (uintptr, error) {
	begin, end, err := vdso(pid)
	if err != nil {
		return 0, err
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, err
	}
	defer memory.Close()
	image := make([]byte, end-begin)
	if _, err := io.ReadFull(io.NewSectionReader(memory, begin, end-begin), image); err != nil {
		return 0, fmt.Errorf("read the vDSO: %w", err)
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, err
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name == clockSymbol {
			return uintptr(begin) + uintptr(s.Value), nil
		}
	}
	return 0, fmt.Errorf("%w: the vDSO has no %s", ErrNoClock, clockSymbol)
}

// vdso says where the kernel's code is in a process's memory.
func vdso(pid int) (begin, end int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			_, err := fmt.Sscanf(line, "%x-%x", &begin, &end)
			return begin, end, err
		}
	}
	return 0, 0, fmt.Errorf("%w: no vDSO", ErrNoClock)
}
