package handover_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/testkit"
)

// patience bounds what a test waits for.
const patience = 60 * time.Second

// A fleet of server processes: the first, and those that it becomes.
type fleet struct {
	t       *testing.T
	set     settings
	reports chan report
	current int      // the process that serves
	died    []string // the steps behind which processes were killed
}

// startFleet starts the first server process.
func startFleet(t *testing.T, set settings) *fleet {
	t.Helper()
	if set.Network == "unix" {
		set.Address = filepath.Join(t.TempDir(), "socket")
	} else {
		set.Address = "127.0.0.1:0"
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := serverCommand(set)
	cmd.Stdout = write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	f := &fleet{t: t, set: set, reports: make(chan report, 64), current: cmd.Process.Pid}
	go f.readReports(read)
	t.Cleanup(func() {
		_ = syscall.Kill(f.current, syscall.SIGKILL)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = read.Close()
		for range f.reports { // until the last process has ended
		}
	})
	f.set.Address = f.await("ready").Address
	return f
}

func (f *fleet) readReports(from io.Reader) {
	defer close(f.reports)
	for lines := bufio.NewScanner(from); lines.Scan(); {
		var r report
		if json.Unmarshal(lines.Bytes(), &r) == nil && r.What != "" {
			f.reports <- r
		}
	}
}

// await returns the next report that says so; those before it are lost.
func (f *fleet) await(what string) report {
	f.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case r, ok := <-f.reports:
			if !ok {
				f.t.Fatalf("all server processes have ended before one said %q", what)
			}
			if r.What == what {
				return r
			}
			if r.What == "kept" || r.What == "failed" {
				f.t.Logf("process %d: %s: %s", r.PID, r.What, r.Error)
			}
		case <-timeout:
			f.t.Fatalf("no server process has said %q", what)
		}
	}
}

func (f *fleet) signal(sig syscall.Signal) {
	f.t.Helper()
	if err := syscall.Kill(f.current, sig); err != nil {
		f.t.Fatal(err)
	}
}

// upgrade has the server become a new process. It returns what the old one and the new one say.
func (f *fleet) upgrade() (gave, ready report) {
	f.t.Helper()
	f.signal(syscall.SIGHUP)
	seen := map[string]report{}
	for len(seen) < 2 {
		select {
		case r, ok := <-f.reports:
			if !ok {
				f.t.Fatal("all server processes have ended")
			}
			if r.What != "gave" && r.What != "ready" {
				f.t.Fatalf("process %d: %s: %s", r.PID, r.What, r.Error)
			}
			seen[r.What] = r
		case <-time.After(patience):
			f.t.Fatal("no new server process")
		}
	}
	f.current = seen["ready"].PID
	return seen["gave"], seen["ready"]
}

// resident says how much memory the server has.
func (f *fleet) resident() string {
	f.t.Helper()
	f.signal(syscall.SIGUSR1)
	r := f.await("resident")
	return fmt.Sprintf("%d KB resident, without garbage %d KB", r.Found>>10, r.RSS>>10)
}

// killed is upgrade to a process that is to die, and may take over n sessions before.
func (f *fleet) killed(death string, n int) {
	f.t.Helper()
	f.signal(syscall.SIGHUP)
	at, gave, ready := "", false, false
	for !gave || !ready {
		r := <-f.reports
		switch r.What {
		case "dies":
			at = r.At
		case "kept":
			if at == "" || r.PID != f.current {
				f.t.Fatalf("to be killed %s: process %d says %q", death, r.PID, r.Error)
			}
			f.died = append(f.died, at)
			return
		case "gave":
			if gave = true; r.Error != "" || r.Result.Moved != n {
				f.t.Fatalf("the handover says %+v, %s", r.Result, r.Error)
			}
		case "ready":
			f.current, ready = r.PID, true
		default:
			f.t.Fatalf("to be killed %s: %+v", death, r)
		}
	}
}

// window is how many messages of a client without a pace are under way.
const window = 4

// A client never stops sending numbered messages, and checks that each comes back once and in order. With a pace it
// sends one each time that has passed, whatever has come back, and otherwise one for each that comes back, of window
// that are under way.
type client struct {
	conn     net.Conn
	in       *bufio.Reader
	out      []byte
	pace     time.Duration
	halves   bool // it writes in two pieces, of which the first ends within a message
	sent     uint64
	received uint64
	begun    chan struct{} // closed with the first answer
	err      error

	last    atomic.Int64 // when something came back last, as since says
	longest atomic.Int64 // between two that came back, since pauses was called
}

func newClient(conn net.Conn) *client {
	c := &client{conn: conn, in: bufio.NewReaderSize(conn, 256), begun: make(chan struct{})}
	c.last.Store(since())
	return c
}

// since is the time in nanoseconds since the tests began.
func since() int64 { return int64(time.Since(testsBegan)) }

var testsBegan = time.Now()

func (c *client) run(stop *atomic.Bool) { c.err = c.talk(stop) }

// talk sends until stop, asks the server then how many messages it has had, and receives until it has answered.
func (c *client) talk(stop *atomic.Bool) error {
	sent := make(chan error, 1)
	over := make(chan struct{})
	defer close(over)
	if c.pace == 0 {
		sent <- c.send(window)
	} else {
		go func() { sent <- c.sendPaced(stop, over) }()
	}
	for asked := c.pace > 0; ; {
		n, answer, err := c.receive()
		switch {
		case err == nil && answer != nil:
			return errors.Join(<-sent, c.compare(answer))
		case err == nil && !asked && !stop.Load():
			err = c.send(n)
		case err == nil && !asked:
			asked, err = true, c.ask()
		}
		if err != nil {
			return err
		}
	}
}

// sendPaced sends a message each time that the pace has passed.
func (c *client) sendPaced(stop *atomic.Bool, over <-chan struct{}) error {
	for due := time.Now().Add(rand.N(c.pace)); !stop.Load(); due = due.Add(c.pace) {
		select {
		case <-over:
			return nil
		case <-time.After(time.Until(due)):
		}
		if err := c.send(1); err != nil {
			return err
		}
	}
	return c.ask()
}

// ask asks the server how many messages it has had.
func (c *client) ask() error {
	_, err := c.conn.Write([]byte{0, 0})
	return err
}

// send sends n messages.
func (c *client) send(n int) error {
	size := 8 + len(c.conn.LocalAddr().String())
	c.out = c.out[:0]
	for range n {
		c.out = binary.BigEndian.AppendUint16(c.out, uint16(size))
		c.out = binary.BigEndian.AppendUint64(c.out, c.sent)
		c.out = append(c.out, make([]byte, size-8)...)
		c.sent++
	}
	out := c.out
	if c.halves {
		n, err := c.conn.Write(out[:size/2])
		if err != nil {
			return err
		}
		out = out[n:]
	}
	_, err := c.conn.Write(out)
	return err
}

// receive takes what has come back, and waits for the first, until the answer to ask, if that has come.
func (c *client) receive() (n int, answer []byte, err error) {
	for ; n == 0 || c.in.Buffered() > 0; n++ {
		msg, err := c.read()
		if err != nil || len(msg) == 16 {
			return n, msg, err
		}
		if came := binary.BigEndian.Uint64(msg); came != c.received {
			return n, nil, fmt.Errorf("message %d came where %d was due: %q", came, c.received, msg)
		}
		c.received++
	}
	now := since()
	c.longest.Store(max(c.longest.Load(), now-c.last.Load()))
	c.last.Store(now)
	if c.received == uint64(n) {
		close(c.begun)
	}
	return n, nil, nil
}

func (c *client) compare(answer []byte) error {
	if n := binary.BigEndian.Uint64(answer); n != c.received || n != c.sent {
		return fmt.Errorf("the server has had %d messages of %d, of which %d came back", n, c.sent, c.received)
	}
	return nil
}

func (c *client) read() ([]byte, error) {
	if c.in.Buffered() == 0 {
		_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	}
	head, err := c.in.Peek(2)
	if err != nil {
		return nil, err
	}
	size := 2 + int(binary.BigEndian.Uint16(head))
	msg, err := c.in.Peek(size)
	if err != nil {
		return nil, err
	}
	_, err = c.in.Discard(size)
	return msg[2:], err
}

// clients are those of one test.
type clients struct {
	all     []*client
	stop    atomic.Bool
	running sync.WaitGroup
}

// dialClients connects n clients, which begin to send.
func dialClients(t *testing.T, f *fleet, n int) *clients {
	t.Helper()
	cs := new(clients)
	t.Cleanup(cs.close)
	for i := range n {
		conn, err := net.Dial(f.set.Network, f.set.Address)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(conn)
		c.halves = i%8 == 0
		if n > 1000 { // else they would have the machine to themselves
			if c.pace = slowPace; i%50 == 0 {
				c.pace = probePace
			}
		}
		cs.all = append(cs.all, c)
		cs.running.Go(func() { c.run(&cs.stop) })
	}
	for _, c := range cs.all { // each is a session by then
		testkit.Await(t, patience, "a first answer", c.begun)
	}
	return cs
}

func (cs *clients) close() {
	cs.stop.Store(true)
	for _, c := range cs.all {
		_ = c.conn.Close()
	}
	cs.running.Wait()
}

// finish has all clients stop, and ask the server what it has had. It returns how many messages came back.
func (cs *clients) finish(t *testing.T) (messages uint64) {
	t.Helper()
	cs.stop.Store(true)
	cs.running.Wait()
	failed := 0
	for i, c := range cs.all {
		if c.err != nil {
			if failed++; failed <= 5 {
				t.Errorf("client %d, after %d messages: %v", i, c.received, c.err)
			}
		}
		messages += c.received
	}
	if failed > 0 {
		t.Errorf("%d clients of %d failed", failed, len(cs.all))
	}
	return messages
}

// Of thousands of clients each sends at slowPace, and one of 50 at probePace: it is these whose pauses are looked at.
const (
	slowPace  = 500 * time.Millisecond
	probePace = 10 * time.Millisecond
)

// pauses are how long each client has heard nothing, at the longest, with messages under way all the time.
type pauses []time.Duration

func (p pauses) String() string {
	slices.Sort(p)
	return fmt.Sprintf("median %v, p99 %v, longest %v", p[len(p)/2], p[len(p)*99/100], p[len(p)-1])
}

// pauses returns those of all clients since the last call.
func (cs *clients) pauses() (all pauses) {
	now := since()
	for _, c := range cs.all {
		if c.pace != slowPace {
			all = append(all, time.Duration(max(c.longest.Swap(0), now-c.last.Load())))
		}
	}
	return all
}
