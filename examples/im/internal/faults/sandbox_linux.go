package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/trial"
)

const (
	// noSandbox is the exit code of a process that could not arrange the namespaces that it was given.
	noSandbox = 7
	// endTimeout is how long the inner process may take to end.
	endTimeout = 10 * time.Second
)

// outside runs the programme in a process that is the first one of its own namespaces, if that is possible. When that
// process ends, the kernel kills all others in there and removes network and mounts: nothing stays, whatever happens.
func outside(ctx context.Context, o options, args []string, out, progress io.Writer) error {
	dir, err := os.MkdirTemp("", "im-faults-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	why := unprivileged()
	if why == nil {
		if why, err = sandboxed(ctx, dir, args, out, progress); why == nil {
			return err
		}
	}
	fmt.Fprintf(progress, "no namespaces (%v): faults that need them are skipped\n", why)
	return try(ctx, o, dir, false, out, progress)
}

// unprivileged says why there can be no sandbox.
func unprivileged() error {
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	tun, err := os.Open("/dev/net/tun")
	if err != nil {
		return err
	}
	return tun.Close()
}

// sandboxed returns why the sandbox could not be made, or how the programme in it ended.
func sandboxed(ctx context.Context, dir string, args []string, out, progress io.Writer) (why, err error) {
	result, results, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer result.Close()
	cmd := exec.Command("/proc/self/exe", append([]string{"faults", "inside", dir}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out, progress, []*os.File{results}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Setpgid:    true, // Ctrl-C comes to this process, which passes it on
		Pdeathsig:  syscall.SIGKILL,
	}
	err = cmd.Start()
	_ = results.Close()
	if err != nil {
		return err, nil
	}
	ended := make(chan struct{})
	defer close(ended)
	go interrupt(ctx, cmd.Process, ended)
	said, _ := io.ReadAll(result)
	err = cmd.Wait()
	switch {
	case cmd.ProcessState.ExitCode() == noSandbox:
		return errors.New(string(said)), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case string(said) == trial.ErrBroken.Error():
		return nil, trial.ErrBroken
	case len(said) > 0:
		return nil, errors.New(string(said))
	}
	return nil, err
}

// interrupt passes the end of ctx on to a process, and kills one that does not heed it.
func interrupt(ctx context.Context, p *os.Process, ended <-chan struct{}) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		select {
		case <-ctx.Done():
			_ = p.Signal(signal)
		case <-ended:
			return
		}
		select {
		case <-time.After(endTimeout):
		case <-ended:
			return
		}
	}
}

// inside is the first process of the namespaces. It says over the pipe that it was given how the programme ended.
func inside(ctx context.Context, args []string, out, progress io.Writer) error {
	results := os.NewFile(3, "results")
	if results == nil || len(args) == 0 {
		return errRole
	}
	syscall.CloseOnExec(3)
	dir := args[0]
	if err := arrange(dir); err != nil {
		_, _ = io.WriteString(results, err.Error())
		os.Exit(noSandbox)
	}
	o, err := parse(args[1:], out)
	if err == nil {
		err = try(ctx, o, dir, true, out, progress)
	}
	if err != nil {
		_, _ = io.WriteString(results, err.Error())
	}
	return nil
}

// arrange gives the namespaces their files: what is mounted from now on is not seen outside, processes are seen by
// their numbers in here, and the programme's folder is in memory. Each NATS server has a disk of its own, which can be
// filled.
func arrange(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := mountMemory(dir, "2g"); err != nil {
		return err
	}
	for _, name := range natsNames {
		if err := mountMemory(filepath.Join(dir, name), natsDisk); err != nil {
			return err
		}
	}
	return nil
}

func mountMemory(dir, size string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	return nil
}

// fill leaves no space on the disk of a folder, until the file that it returns is removed.
func fill(dir string) (ballast string, err error) {
	ballast = filepath.Join(dir, "ballast")
	file, err := os.Create(ballast)
	if err != nil {
		return "", err
	}
	defer file.Close()
	chunk := []byte(strings.Repeat("x", 1<<20))
	for size := len(chunk); size > 0; {
		if _, err := file.Write(chunk[:size]); err != nil {
			size /= 2
		}
	}
	return ballast, nil
}
