package handover

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/usercode"
)

// environment names the variable that tells a new process the number of its end of the socket.
const environment = "LIBNET_HANDOVER_FD"

// Upgrade starts cmd, the new program, and gives it srv as [Give] does, with the same errors. The new program finds its
// end of the socket with [Inherited]. Where nothing was given it is killed, and its output is no longer read half a
// second later; otherwise it runs, goes on when this process ends, and who stays for longer may Wait for it. cmd must
// not have been started; its ExtraFiles and Env may be set.
func Upgrade(ctx context.Context, cmd *exec.Cmd, srv *libnet.Server, o GiveOptions) (Result, error) {
	ctx = usercode.Context(ctx, "handover.Upgrade")
	conn, err := start(cmd)
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrKept, err)
	}
	defer conn.Close()
	result, err := Give(ctx, conn, srv, o)
	if is(err, ErrKept) {
		kill(cmd)
	}
	return result, err
}

// killTime is how long Upgrade waits for the end of a process that it has killed, and then for what reads its output:
// processes that it has started may keep that open.
const killTime = 500 * time.Millisecond

// kill ends a process that was given nothing.
func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	if cmd.WaitDelay <= 0 || cmd.WaitDelay > killTime {
		cmd.WaitDelay = killTime
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(2 * killTime): // SIGKILL waits for a system call that cannot be interrupted
	}
}

// start starts cmd with one end of a socket, and returns the other.
func start(cmd *exec.Cmd) (*net.UnixConn, error) {
	near, far, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer far.Close()
	fd := 3 + len(cmd.ExtraFiles)                             // as os/exec numbers them
	cmd.ExtraFiles = append(slices.Clip(cmd.ExtraFiles), far) // what lies behind a part of a slice is not ours
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(slices.Clip(cmd.Env), environment+"="+strconv.Itoa(fd))
	if err := cmd.Start(); err != nil {
		_ = near.Close()
		return nil, err
	}
	return near, nil
}

func socketPair() (near *net.UnixConn, far *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	far = os.NewFile(uintptr(fds[1]), "handover")
	near, err = unixConn(fds[0])
	if err != nil {
		_ = far.Close()
	}
	return near, far, err
}

// unixConn makes a conn of a descriptor, which it has in any case.
func unixConn(fd int) (*net.UnixConn, error) {
	file := os.NewFile(uintptr(fd), "handover")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("handover: a %s where a Unix socket is due", conn.LocalAddr().Network())
	}
	return unix, nil
}

// Inherited returns this process's end of the socket of an [Upgrade] that has started it, for [Take]; nil where none
// has. Programs that it starts do not inherit it. The second call returns nil.
func Inherited() (*net.UnixConn, error) {
	value := os.Getenv(environment)
	if value == "" {
		return nil, nil
	}
	_ = os.Unsetenv(environment)
	fd, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("handover: %s: %w", environment, err)
	}
	syscall.CloseOnExec(int(fd))
	return unixConn(int(fd))
}

// Notify tells systemd, or who else has set NOTIFY_SOCKET, of the service's state (sd_notify(3)): "READY=1" and
// "MAINPID=" with the process's number after a Take, so that the service is the new process. It does nothing where that
// is not set, and waits for no longer than a second where whoever has set it does not listen.
func Notify(state ...string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(notifyTime))
	_, err = conn.Write([]byte(strings.Join(state, "\n")))
	return err
}

// notifyTime is how long Notify waits for room in the other's socket.
const notifyTime = time.Second
