package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/embedded"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/libnettest"
)

// asIm in the environment has the processes that a test starts from its own binary be im.
const asIm = "IM_TEST_AS_IM"

// TestMain is im itself for the processes of the fault programme.
func TestMain(m *testing.M) {
	if os.Getenv(asIm) != "" {
		main()
		return
	}
	libnettest.VerifyMain(m)
}

// A command is one that runs, as main runs it.
type command struct {
	t      testing.TB
	stdin  *io.PipeWriter
	stdout *screen
	stderr *screen
	cancel context.CancelFunc // Ctrl-C
	done   chan struct{}      // closed when it has ended, after err
	err    error
}

// start begins a command, which is interrupted at the end of the test.
func start(t testing.TB, args ...string) *command {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*imtest.Patience)
	in, stdin := io.Pipe()
	c := &command{
		t: t, stdin: stdin, stdout: newScreen(), stderr: newScreen(), cancel: cancel, done: make(chan struct{}),
	}
	go func() {
		defer close(c.done)
		c.err = run(ctx, args, std{in, c.stdout, c.stderr})
	}()
	t.Cleanup(func() {
		stdin.Close()
		cancel()
		c.wait()
	})
	return c
}

// wait returns how the command ended.
func (c *command) wait() error {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(imtest.Patience):
		c.t.Fatalf("it does not end; it said:\n%s%s", c.stdout, c.stderr)
	}
	return c.err
}

// say types a line.
func (c *command) say(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// sees waits until the command has written what matches, and returns what the first group does.
func (c *command) sees(pattern string) string {
	c.t.Helper()
	return c.await(c.stdout, pattern)
}

// complains is sees on the standard error.
func (c *command) complains(pattern string) {
	c.t.Helper()
	c.await(c.stderr, pattern)
}

func (c *command) await(s *screen, pattern string) string {
	c.t.Helper()
	expression := regexp.MustCompile(pattern)
	tooLate := time.After(imtest.Patience)
	for ended := false; ; {
		changed := s.changes()
		if found := expression.FindStringSubmatch(s.String()); found != nil {
			return found[len(found)-1]
		}
		if ended {
			c.t.Fatalf("it ended (%v) without %q:\n%s%s", c.err, pattern, c.stdout, c.stderr)
		}
		select {
		case <-changed:
		case <-c.done:
			ended = true // and may have written what is waited for
		case <-tooLate:
			c.t.Fatalf("no %q in\n%s%s", pattern, c.stdout, c.stderr)
		}
	}
}

// output runs a command to its end.
func output(t testing.TB, args ...string) (stdout string, err error) {
	t.Helper()
	c := start(t, args...)
	err = c.wait()
	return c.stdout.String(), err
}

// A screen is a buffer that can be waited on.
type screen struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newScreen() *screen { return &screen{changed: make(chan struct{})} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// changes is closed at the next Write.
func (s *screen) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// engines starts an etcd and a NATS and returns the options that say where, and a key file's.
func engines(t testing.TB) (etcd, nats, key []string) {
	t.Helper()
	etcd, nats, key, engine := laterNATS(t)
	if err := engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return etcd, nats, key
}

// laterNATS is engines with a NATS that is yet to be started.
func laterNATS(t testing.TB) (etcd, nats, key []string, engine *embedded.NATS) {
	t.Helper()
	e := imtest.StartEtcd(t, t.TempDir())
	engine = imtest.StartNATS(t, t.TempDir())
	engine.Stop()
	key = []string{"-key-file", newKeyFile(t)}
	return []string{"-etcd", e.Endpoint()}, []string{"-nats", engine.URL()}, key, engine
}

func with(first string, more ...[]string) []string {
	args := []string{first}
	for _, m := range more {
		args = append(args, m...)
	}
	return args
}

func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q says nothing of %q", err, part)
		}
	}
}
