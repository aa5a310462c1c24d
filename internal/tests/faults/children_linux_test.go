package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// Some faults concern a whole process: it is stopped, or out of descriptors. These tests run this test
// binary again as a child that plays a role.
const (
	roleEnv    = "LIBNET_FAULT_ROLE"
	argsEnv    = "LIBNET_FAULT_ARGS"
	answerMark = "> " // begins the child's answers: package testing writes to its output, too
)

// childArgs is what a child is told.
type childArgs struct {
	Address                 string // of the server, for a client
	Idle, Beat, Write, Peer time.Duration
	Queue, Files            int
	TLS                     bool // then no heartbeat is sent, though it is due: its write would do the handshake
}

func TestChildOfOtherTests(t *testing.T) {
	role := map[string]func(*testing.T, childArgs){"server": childServer, "client": childClient}[os.Getenv(roleEnv)]
	if role == nil {
		t.Skip("runs as a child of other tests only")
	}
	var args childArgs
	if err := json.Unmarshal([]byte(os.Getenv(argsEnv)), &args); err != nil {
		t.Fatal(err)
	}
	role(t, args)
}

// childServer echoes, and obeys: "stats", "logs" (how many lines about accepting), "push" (a full
// queue for everybody).
func childServer(t *testing.T, args childArgs) {
	if args.Files > 0 {
		limit := syscall.Rlimit{Cur: uint64(args.Files), Max: 1 << 20}
		_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
		limit.Cur = uint64(args.Files)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	network, beat := "tcp", any("beat")
	if args.TLS {
		network, beat = "tls", nil
	}
	r := testkit.Serve(t, network, func(srv *libnet.Server) {
		srv.SendQueue, srv.IdleTimeout, srv.WriteTimeout = args.Queue, args.Idle, args.Write
		srv.SendBuffer = 16 << 10
		srv.Heartbeat = libnet.Heartbeat{Interval: args.Beat, Message: func(*libnet.Session) any { return beat }}
	}, testkit.EchoWhileThereIsRoom)
	answer := func(v any) {
		text, _ := json.Marshal(v)
		fmt.Println(answerMark + string(text))
	}
	answer(r.Listener().Addr().String())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "stats":
			answer(r.Stats())
		case "logs":
			answer(len(r.Logs.With("accept failed")))
		case "push":
			pushed := 0
			for s := range r.Manager().All() {
				for s.Send(make([]byte, 32<<10)) == nil {
					pushed++
				}
			}
			answer(pushed)
		}
	}
}

// childClient answers every message until its session ends.
func childClient(t *testing.T, args childArgs) {
	dialer := libnet.Dialer{Protocol: testkit.Frames64K}
	dialer.Logger = slog.New(slog.DiscardHandler)
	s, err := dialer.Dial(t.Context(), "tcp", args.Address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(answerMark + `"connected"`)
	testkit.EchoWhileThereIsRoom(s)
}

// A process is a child.
type process struct {
	tb      testing.TB
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers chan string
}

func startChild(tb testing.TB, role string, args childArgs) *process {
	tb.Helper()
	text, err := json.Marshal(args)
	if err != nil {
		tb.Fatal(err)
	}
	p := &process{tb: tb, cmd: exec.Command(os.Args[0], "-test.run=^TestChildOfOtherTests$"), answers: make(chan string, 16)}
	p.cmd.Env = append(os.Environ(), roleEnv+"="+role, argsEnv+"="+string(text))
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	var output strings.Builder
	var wg sync.WaitGroup
	wg.Go(func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if answer, ok := strings.CutPrefix(lines.Text(), answerMark); ok {
				p.answers <- answer
			} else {
				fmt.Fprintln(&output, lines.Text())
			}
		}
	})
	tb.Cleanup(func() {
		p.signal(syscall.SIGCONT)
		p.stdin.Close()
		wg.Wait()
		if err := p.cmd.Wait(); err != nil {
			tb.Errorf("the child: %v\n%s", err, output.String())
		}
	})
	return p
}

func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// answer reads the child's next answer into v.
func (p *process) answer(v any) {
	p.tb.Helper()
	select {
	case text := <-p.answers:
		if err := json.Unmarshal([]byte(text), v); err != nil {
			p.tb.Fatalf("the child answered %q: %v", text, err)
		}
	case <-time.After(soon):
		p.tb.Fatal("the child does not answer")
	}
}

func (p *process) ask(command string, v any) {
	p.tb.Helper()
	if _, err := fmt.Fprintln(p.stdin, command); err != nil {
		p.tb.Fatal(err)
	}
	p.answer(v)
}

func (p *process) stats() (stats libnet.ServerStats) {
	p.tb.Helper()
	p.ask("stats", &stats)
	return stats
}

// dial connects to a child that serves at address.
func (p *process) dial(address string) net.Conn {
	p.tb.Helper()
	conn, err := testkit.DialTCP(address)
	if err != nil {
		p.tb.Fatal(err)
	}
	p.tb.Cleanup(func() { conn.Close() })
	return conn
}
