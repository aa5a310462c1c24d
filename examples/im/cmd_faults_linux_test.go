package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

// A faultRun is a fault programme in a process of its own, with a folder for temporary files.
type faultRun struct {
	t   *testing.T
	cmd *exec.Cmd
	out bytes.Buffer
	tmp string
}

func startFaults(t *testing.T, args ...string) *faultRun {
	t.Helper()
	r := &faultRun{t: t, tmp: t.TempDir()}
	r.cmd = exec.Command("/proc/self/exe", append([]string{"faults"}, args...)...)
	r.cmd.Env = append(os.Environ(), asIm+"=1", "TMPDIR="+r.tmp)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// leavesNothing is checked when the programme has ended: its folder is gone, and no process has it in its arguments.
func (r *faultRun) leavesNothing() {
	r.t.Helper()
	if left, _ := filepath.Glob(filepath.Join(r.tmp, "*")); len(left) > 0 {
		r.t.Errorf("it left %q", left)
	}
	imtest.Eventually(r.t, "its processes have ended", func() bool {
		commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range commands {
			if line, _ := os.ReadFile(file); bytes.Contains(line, []byte(r.tmp)) {
				return false
			}
		}
		return true
	})
}

func TestTheFaultProgrammeKillsAGatewayThatIsAProcess(t *testing.T) {
	t.Parallel()
	r := startFaults(t, "-only", "kill-gateway")
	_ = r.cmd.Wait() // how long things take is not judged beside other tests
	out := r.out.String()
	t.Log("\n" + out)
	if !strings.Contains(out, "kill-gateway ") || !strings.Contains(out, "promises were") {
		t.Error("it does not say what came out")
	}
	if !strings.Contains(out, " 0 lost, 0 twice, 0 out of order") {
		t.Error("something was lost, repeated or reordered")
	}
	r.leavesNothing()
}

func TestAFaultProgrammeThatIsInterruptedLeavesNothing(t *testing.T) {
	t.Parallel()
	r := startFaults(t, "-only", "pause-etcd")
	time.Sleep(time.Second)
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Wait(); err == nil {
		t.Error("it ended as if it had a result")
	}
	if strings.Contains(r.out.String(), "PASS") {
		t.Errorf("it claims:\n%s", &r.out)
	}
	r.leavesNothing()
}

func TestTheFaultProgrammeKnowsItsFaults(t *testing.T) {
	t.Parallel()
	out, err := output(t, "faults", "-list")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) < 20 {
		t.Errorf("%d faults:\n%s", len(lines), out)
	}
	_, err = output(t, "faults", "-only", "kill-gateway,earthquake")
	wantError(t, err, "earthquake", "-list")
	_, err = output(t, "faults", "now")
	wantError(t, err, "now", "-help")
}
