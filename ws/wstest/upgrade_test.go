//go:build linux

package wstest

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

	"github.com/libnet-go/libnet/libnettest"
)

// An upgradedChat is a server of examples/chat, as far as it has come: one process after the other.
type upgradedChat struct {
	*testing.T
	lines          chan string
	pid            int    // of the process that serves
	old            []int  // of those before, which may be draining still
	terminals, web string // addresses
}

func startUpgradedChat(t *testing.T, program string) *upgradedChat {
	t.Helper()
	server := exec.Command(program, "-listen", "127.0.0.1:0", "-web", "127.0.0.1:0", "-upgrade")
	c := &upgradedChat{T: t, lines: startLines(t, server, nil)}
	c.pid = server.Process.Pid
	t.Cleanup(func() {
		for _, pid := range append(c.old, c.pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	c.awaitLine("terminals at %s browsers at http://%s ", &c.terminals, &c.web)
	c.terminals, c.web = strings.Trim(c.terminals, ","), strings.Trim(c.web, "/;")
	return c
}

// startLines starts a program until the test's end, and returns what it and its successors print.
func startLines(t *testing.T, cmd *exec.Cmd, stdin io.Reader) chan string {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, write, os.Stderr
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(read); in.Scan(); {
			lines <- in.Text()
		}
		_ = read.Close()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for range lines { // until its successors have ended, too
		}
	})
	return lines
}

// awaitLine waits for a line like that.
func (c *upgradedChat) awaitLine(format string, values ...any) {
	c.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line := <-c.lines:
			if n, _ := fmt.Sscanf(line, format, values...); n == len(values) {
				return
			}
		case <-timeout:
			c.Fatalf("the server has printed nothing like %q", format)
		}
	}
}

// upgrade has the server become a new process, to which so many terminals move.
func (c *upgradedChat) upgrade(terminals int) {
	c.Helper()
	if err := syscall.Kill(c.pid, syscall.SIGHUP); err != nil {
		c.Fatal(err)
	}
	was, moved := c.pid, 0
	c.old = append(c.old, was)
	c.awaitLine("process %d takes over %d sessions", &c.pid, &moved)
	if c.pid == was || moved != terminals {
		c.Fatalf("process %d has taken over %d sessions of process %d", c.pid, moved, was)
	}
}

// A terminal is the program as somebody who types.
type terminal struct {
	*testing.T
	stdin io.Writer
	lines chan string
}

func openTerminal(t *testing.T, program, address, name string) *terminal {
	t.Helper()
	stdin, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &terminal{t, typed, startLines(t, exec.Command(program, "-as", name, "-connect", address), stdin)}
	_ = stdin.Close()
	t.Cleanup(func() { _ = typed.Close() })
	return p
}

func (p *terminal) types(line string) {
	p.Helper()
	if _, err := fmt.Fprintln(p.stdin, line); err != nil {
		p.Fatal(err)
	}
}

// sees checks what comes next: a terminal that had to come back would be told who is there.
func (p *terminal) sees(lines ...string) {
	p.Helper()
	for _, want := range lines {
		select {
		case line := <-p.lines:
			if line != want {
				p.Fatalf("the terminal shows %q; want %q", line, want)
			}
		case <-time.After(patience):
			p.Fatalf("the terminal does not show %q", want)
		}
	}
}

func TestAPageAndATerminalTalkOnWhileTheNetworkIsCutAndTheServerUpgraded(t *testing.T) {
	browser := startBrowser(t)
	program := buildChat(t)
	server := startUpgradedChat(t, program)
	network := libnettest.NewProxy(t, "tcp", server.web, libnettest.Chaos{Every: -1})
	ann := openChat(t, browser, "http://"+network.Addr().String()+"/", "ann", "secret")
	ann.sees("lobby: ann", "You are in lobby")
	bob := openTerminal(t, program, server.terminals, "bob")
	bob.sees("in lobby: ann, bob")
	ann.sees("lobby: ann, bob", "bob has come")
	last := "bob has come"
	talk := func(text string) {
		t.Helper()
		ann.types(text)
		bob.sees("ann: " + text)
		bob.types("yes, " + text)
		bob.sees("bob: yes, " + text)
		ann.sees("lobby: ann, bob", last, "ann: "+text, "bob: yes, "+text)
		last = "bob: yes, " + text
	}
	talk("hello")
	for _, n := range []string{"one", "two"} {
		network.CutAll() // under the page, which resumes its session
		talk("cut " + n)
		network.CutAll()
		server.upgrade(1) // under the terminal, which notices nothing; the page's session ends, and it enters again
		bob.types("meanwhile " + n)
		bob.sees("bob: meanwhile " + n)
		bob.sees("ann has come")
		ann.sees("lobby: ann, bob", last, "You are in lobby")
		last = "You are in lobby"
		talk("upgraded " + n)
	}
}
