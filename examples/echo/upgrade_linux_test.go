package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// programVariable has the test binary be the program: only a process of its own can be upgraded.
const programVariable = "LIBNET_ECHO_PROGRAM"

// written is what processes write, as far as they have.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

// after returns the word behind a text, or nothing while that is not there.
func (w *written) after(text string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, rest, found := strings.Cut(w.text.String(), text)
	word, _, whole := strings.Cut(rest, " ")
	if !found || !whole {
		return ""
	}
	return strings.TrimRight(word, ";")
}

func TestAClientTalksOnWhileTheServerBecomesANewProcess(t *testing.T) {
	var out written
	server := exec.Command(os.Args[0], "-listen", "127.0.0.1:0", "-upgrade")
	server.Env = append(os.Environ(), programVariable+"=1")
	server.Stdout, server.Stderr = &out, &out
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	next := 0
	defer func() {
		_ = server.Process.Kill()
		if next > 0 {
			_ = syscall.Kill(next, syscall.SIGKILL)
		}
		_ = server.Wait()
	}()
	testkit.Eventually(t, "a server", func() bool { return out.after("listening at ") != "" })
	client, err := libnet.Connect("tcp", out.after("listening at "), protocol, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	say := func(msg string) {
		t.Helper()
		if err := client.Send(msg); err != nil {
			t.Fatal(err)
		}
		if answer, err := client.Receive(); string(answer) != msg || err != nil {
			t.Fatalf("%q came back as %q, %v", msg, answer, err)
		}
	}
	say("before")
	if err := server.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	say("meanwhile")
	testkit.Eventually(t, "a new process", func() bool { return out.after("takes over ") == "1" })
	if _, err := fmt.Sscan(out.after("process "), &next); err != nil {
		t.Fatal(err)
	}
	say("after")
}
