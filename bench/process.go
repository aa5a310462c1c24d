package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Hidden forms of the command line, for the processes that the orchestrator starts from its own
// binary.
const (
	serveForm = "serve" // serve SERVER KIND: prints its address and its control address
	loadForm  = "load"  // a job as JSON on standard input, its Result as JSON on standard output
)

// jobLimit bounds one measurement, connecting included; a window comes on top.
const jobLimit = 90 * time.Second

// runChild runs one of the hidden forms, if args is one. The process ends when its standard input
// does, so it never outlives the orchestrator, however that ends.
func runChild(args []string) (isChild bool, err error) {
	switch {
	case len(args) == 3 && args[0] == serveForm:
		return true, serveProcess(args[1], rowKind(args[2]))
	case len(args) == 1 && args[0] == loadForm:
		return true, loadProcess()
	}
	return false, nil
}

func serveProcess(name string, kind rowKind) error {
	s, err := findServer(name)
	if err != nil {
		return err
	}
	answers, err := takeOutput()
	if err != nil {
		return err
	}
	address, err := s.start(kind)
	if err != nil {
		return err
	}
	control, err := serveControl()
	if err != nil {
		return err
	}
	fmt.Fprintln(answers, address, control)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// takeOutput keeps the standard output for what the orchestrator reads: what libraries log there goes to the standard
// error.
func takeOutput() (*os.File, error) {
	fd, err := unix.Dup(int(os.Stdout.Fd()))
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "answers"), unix.Dup3(int(os.Stderr.Fd()), int(os.Stdout.Fd()), 0)
}

func loadProcess() error {
	in := json.NewDecoder(os.Stdin)
	var j job
	if err := in.Decode(&j); err != nil {
		return err
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	debug.SetGCPercent(400) // the client's own collections are no part of what is measured
	return json.NewEncoder(os.Stdout).Encode(runJob(j))
}

// child is a process of this binary.
type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr bytes.Buffer // read after the process ended
}

// startChild starts one that is killed when ctx ends, on these processors or, with nil, on any.
func startChild(ctx context.Context, cpus *unix.CPUSet, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, args...)}
	c.cmd.Stderr = &limitedWriter{w: &c.stderr, left: 4 << 10}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.stdout = bufio.NewReader(stdout)
	return c, startOn(cpus, c.cmd)
}

// stop kills the process: nothing that it holds is worth waiting for.
func (c *child) stop() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// failure stops the process and says what it said, beside err.
func (c *child) failure(err error) error {
	c.stop()
	if said := strings.TrimSpace(c.stderr.String()); said != "" {
		return fmt.Errorf("%w; it wrote: %s", err, said)
	}
	return err
}

// limitedWriter keeps the beginning and drops the rest.
type limitedWriter struct {
	w    io.Writer
	left int
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	keep := p[:min(len(p), l.left)]
	l.left -= len(keep)
	l.w.Write(keep)
	return len(p), nil
}

// measureOnce gives the row to the server, each side in a new process.
func measureOnce(ctx context.Context, s server, j job) Result {
	ctx, cancel := context.WithTimeout(ctx, jobLimit+2*(j.Warm+j.Window))
	defer cancel()
	r, err := measureJob(ctx, s, j)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("not done after %v", jobLimit)
	}
	if err != nil {
		return Result{Error: err.Error()}
	}
	return r
}

func measureJob(ctx context.Context, s server, j job) (Result, error) {
	serverCPUs, clientCPUs, err := j.Row.On.cpus()
	if err != nil {
		return Result{}, err
	}
	serving, err := startChild(ctx, serverCPUs, serveForm, s.name, string(j.Row.Kind))
	if err != nil {
		return Result{}, err
	}
	defer serving.stop()
	line, err := serving.stdout.ReadString('\n')
	if err != nil {
		return Result{}, serving.failure(fmt.Errorf("server process: %w", err))
	}
	if _, err := fmt.Sscan(line, &j.Address, &j.Control); err != nil {
		return Result{}, err
	}
	loading, err := startChild(ctx, clientCPUs, loadForm)
	if err != nil {
		return Result{}, err
	}
	defer loading.stop()
	if err := json.NewEncoder(loading.stdin).Encode(j); err != nil {
		return Result{}, loading.failure(err)
	}
	var r Result
	if err := json.NewDecoder(loading.stdout).Decode(&r); err != nil {
		return Result{}, loading.failure(fmt.Errorf("load process: %w", err))
	}
	if r.Error != "" {
		r.Error = serving.failure(errors.New(r.Error)).Error()
	}
	return r, nil
}
