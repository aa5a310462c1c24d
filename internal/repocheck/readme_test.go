package repocheck

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/testkit"
)

// The README's two programs are what one pastes first. They are run as they stand, but for the port, and must print
// what it says.

// A program is one of them, built.
type program struct {
	path string
	says string // what it prints, by the README
}

// readmePrograms returns the programs of the README with the port replaced, built.
func readmePrograms(t *testing.T, port string) (server, client program) {
	t.Helper()
	text := readDocument(t, "README.md")
	var paths []string
	for _, b := range (document{"README.md", text}).codeBlocks() {
		if !strings.HasPrefix(b.code, "package main\n") {
			continue
		}
		code := strings.Replace(b.code, ":7000\"", port+"\"", 1)
		if code == b.code {
			t.Fatalf("README.md:%d: a program without port 7000", b.line)
		}
		paths = append(paths, build(t, code))
	}
	if len(paths) != 2 {
		t.Fatalf("README.md has %d programs, want a server and a client", len(paths))
	}
	_, afterwards, _ := strings.Cut(text, "The server prints `")
	serves, afterwards, ok := strings.Cut(afterwards, "`")
	_, afterwards, opens := strings.Cut(afterwards, "```text\n")
	receives, _, closes := strings.Cut(afterwards, "```")
	if !ok || !opens || !closes {
		t.Fatal("README.md does not say what its programs print")
	}
	return program{paths[0], serves + "\n"}, program{paths[1], receives}
}

func build(t *testing.T, code string) (path string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "program.exe")
	if out, err := exec.Command("go", "build", "-o", path, filepath.Join(dir, "main.go")).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// freePort returns one as ":7000" is written, held until release is called: none that the kernel gives to a connection
// meanwhile.
func freePort(t *testing.T) (port string, release func()) {
	t.Helper()
	for range 100 {
		port = fmt.Sprintf(":%d", 20_000+rand.IntN(10_000))
		if l, err := net.Listen("tcp", port); err == nil {
			return port, func() { _ = l.Close() }
		}
	}
	t.Fatal("no port is free")
	return
}

func TestTheProgramsOfTheReadmePrintWhatItSaysAndEndAtSIGTERM(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signal ends a program in order there")
	}
	testkit.Slow(t)
	port, release := freePort(t)
	server, client := readmePrograms(t, port)
	release()
	serving := exec.Command(server.path)
	var log bytes.Buffer
	serving.Stderr = &log
	out, err := serving.StdoutPipe()
	if err == nil {
		err = serving.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(20*time.Second, func() { _ = serving.Process.Kill() })
	defer killer.Stop()
	said, _ := bufio.NewReader(out).ReadString('\n')
	said = strings.Replace(said, "0.0.0.0:", "[::]:", 1) // on a machine without IPv6
	if want := strings.Replace(server.says, ":7000", port, 1); said != want {
		t.Errorf("the server prints %q, want %q", said, want)
	}
	received, err := exec.Command(client.path).CombinedOutput()
	if err != nil || string(received) != client.says {
		t.Errorf("the client prints %q, %v; want %q", received, err, client.says)
	}
	_ = serving.Process.Signal(syscall.SIGTERM)
	if err := serving.Wait(); err != nil {
		t.Errorf("the server ends at SIGTERM with: %v\n%s", err, &log)
	}
}
