package process

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// self is this program's executable, also when its file has been removed.
const self = "/proc/self/exe"

// A Host starts a command where it belongs.
type Host interface {
	Start(cmd *exec.Cmd) error
}

// A Process is a server that can be started again and again, one at a time. Its methods may be called by any goroutine.
type Process struct {
	// Immutable.
	Name string
	Args []string
	Host Host
	Log  io.Writer // both outputs; nil: nowhere

	// mu guards the following.
	mu      sync.Mutex
	running *running // nil before the first start
}

// running is one life of a process.
type running struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended, after err
	err   error
}

// Start starts the process, unless it runs.
func (p *Process) Start() error { return p.StartAhead(0) }

// StartAhead is Start with a wall clock that is ahead of the others'. Only what asks the vDSO for the time is deceived,
// as Go programs do.
func (p *Process) StartAhead(ahead time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil && !p.running.over() {
		return nil
	}
	cmd := exec.Command(self, p.Args...)
	cmd.Stdout, cmd.Stderr = p.Log, p.Log
	// A process group of its own keeps Ctrl-C from it: this process ends it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	start := p.Host.Start
	if ahead != 0 {
		start = func(cmd *exec.Cmd) error { return startAhead(p.Host, cmd, ahead) }
	}
	if err := start(cmd); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	p.running = &running{cmd: cmd, ended: make(chan struct{})}
	go p.running.wait()
	return nil
}

func (r *running) wait() {
	r.err = r.cmd.Wait()
	close(r.ended)
}

func (r *running) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// Running says whether the process has been started and has not ended.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running != nil && !p.running.over()
}

// Kill ends the process at once, and returns when it has ended. One that does not run stays so.
func (p *Process) Kill() { _ = p.end(syscall.SIGKILL, 0) }

// Stop asks the process to end, and kills it after a time. It returns how it ended.
func (p *Process) Stop(patience time.Duration) error { return p.end(syscall.SIGTERM, patience) }

func (p *Process) end(signal syscall.Signal, patience time.Duration) error {
	r := p.signal(signal)
	if r == nil {
		return nil
	}
	if patience > 0 {
		select {
		case <-r.ended:
			return r.err
		case <-time.After(patience):
			_ = p.signal(syscall.SIGKILL)
			<-r.ended
			return errors.Join(fmt.Errorf("%s had to be killed", p.Name), r.err)
		}
	}
	<-r.ended
	return r.err
}

// Halt stops the process in the middle of what it does, until Resume.
func (p *Process) Halt() { p.signal(syscall.SIGSTOP) }

// Resume has a halted process go on.
func (p *Process) Resume() { p.signal(syscall.SIGCONT) }

// Reload sends the signal at which servers read their configuration again.
func (p *Process) Reload() { p.signal(syscall.SIGHUP) }

// Ended waits until the process has ended by itself, and reports false when it has not in that time.
func (p *Process) Ended(patience time.Duration) bool {
	p.mu.Lock()
	r := p.running
	p.mu.Unlock()
	if r == nil || r.over() {
		return true
	}
	select {
	case <-r.ended:
		return true
	case <-time.After(patience):
		return false
	}
}

// signal returns the life that it was sent to, or nil when there was none.
func (p *Process) signal(signal syscall.Signal) *running {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil || p.running.over() {
		return nil
	}
	_ = p.running.cmd.Process.Signal(signal)
	return p.running
}
