//go:build unix

package cluster_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet/cluster"
)

// stoppedNode is where the node of another process finds the server, and has that process be one.
const stoppedNode = "LIBNET_CLUSTER_STOPPED_NODE"

// A machine that gives a process no time for a while, or a signal, is no fault of the others: they must not seem to
// have fallen silent.
func TestAProcessThatWasStoppedMissesNobodyWhenItGoesOn(t *testing.T) {
	if server := os.Getenv(stoppedNode); server != "" {
		beStopped(t, server)
		return
	}
	server, err := cluster.NewServer(patience(t), cluster.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	here := startNode(t, cluster.Options{NodeID: "here", Servers: []string{server.URL()}})
	process := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	process.Env = append(os.Environ(), stoppedNode+"="+server.URL())
	input, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	eventually(t, "the other process", func() bool { return alive(here) == 2 })
	time.Sleep(500 * time.Millisecond)
	if err := process.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its silence", func() bool { return alive(here) == 1 })
	time.Sleep(time.Second)
	if err := process.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other process again", func() bool { return alive(here) == 2 })
	time.Sleep(500 * time.Millisecond)
	input.Close()
	said, err := io.ReadAll(output)
	if err != nil || !strings.Contains(string(said), "ended") || strings.Contains(string(said), cluster.Degraded.String()) {
		t.Errorf("the process that was stopped said %q, %v", said, err)
	}
}

// beStopped is a node that says how it is until its input ends.
func beStopped(t *testing.T, server string) {
	startNode(t, cluster.Options{NodeID: "stopped", Servers: []string{server}, OnHealth: func(h cluster.Health, err error) {
		fmt.Println(h, err)
	}})
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
	}
	fmt.Println("ended")
}
