package handover_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
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
	current int // the process that serves
}

// startFleet starts the first server process. env is for it and its successors.
func startFleet(t *testing.T, set settings, env ...string) *fleet {
	t.Helper()
	if set.Network == "unix" {
		set.Address = filepath.Join(t.TempDir(), "socket")
	} else {
		set.Address = freeAddress(t)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(set)
	cmd := exec.Command(os.Args[0])
	cmd.Stdout, cmd.Stderr = write, os.Stderr
	cmd.Env = append(append(os.Environ(), settingsVariable+"="+string(text)), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	f := &fleet{t: t, set: set, reports: make(chan report, 64)}
	go f.readReports(read)
	t.Cleanup(func() {
		_ = syscall.Kill(f.current, syscall.SIGKILL)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = read.Close()
		for range f.reports { // until the last process has ended
		}
	})
	f.current = f.await("ready").PID
	return f
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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

// window is how many messages of a client are under way.
const window = 4

// A client never stops sending numbered messages, and checks that each comes back once and in order.
type client struct {
	conn     net.Conn
	window   chan struct{}
	sent     uint64
	received uint64
	begun    chan struct{} // closed with the first answer
	over     chan struct{} // closed when nothing is received any more
	last     time.Time
	longest  time.Duration // between two messages
	err      error
}

func (c *client) send(stop *atomic.Bool) {
	size := 8 + int(uint16(len(c.conn.LocalAddr().String())))
	for !stop.Load() {
		select {
		case c.window <- struct{}{}:
		case <-c.over:
			return
		}
		msg := binary.BigEndian.AppendUint16(nil, uint16(size))
		msg = binary.BigEndian.AppendUint64(msg, c.sent)
		msg = append(msg, make([]byte, size-8)...)
		if _, err := c.conn.Write(msg); err != nil {
			return
		}
		c.sent++
		time.Sleep(pace)
	}
}

// pace is how long a client rests behind each message: thousands of them are to leave the machine some time.
var pace = 200 * time.Microsecond

func (c *client) read() ([]byte, error) {
	var head [2]byte
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err := io.ReadFull(c.conn, msg)
	return msg, err
}

func (c *client) receive() {
	defer close(c.over)
	c.last = time.Now()
	for {
		msg, err := c.read()
		if err != nil {
			c.err = err
			return
		}
		if len(msg) == 16 { // the answer to the last question
			if n := binary.BigEndian.Uint64(msg); n != c.received || n != c.sent {
				c.err = fmt.Errorf("the server has had %d messages of %d, of which %d came back", n, c.sent, c.received)
			}
			return
		}
		if n := binary.BigEndian.Uint64(msg); n != c.received {
			c.err = fmt.Errorf("message %d came where %d was due: %q", n, c.received, msg)
			return
		}
		if c.received++; c.received == 1 {
			close(c.begun)
		}
		now := time.Now()
		c.longest = max(c.longest, now.Sub(c.last))
		c.last = now
		<-c.window
	}
}

// clients are those of one test.
type clients struct {
	all       []*client
	stop      atomic.Bool
	senders   sync.WaitGroup
	receivers sync.WaitGroup
}

// dialClients connects n clients, which begin to send.
func dialClients(t *testing.T, f *fleet, n int) *clients {
	t.Helper()
	cs := new(clients)
	t.Cleanup(cs.close)
	for range n {
		conn, err := net.Dial(f.set.Network, f.set.Address)
		if err != nil {
			t.Fatal(err)
		}
		c := &client{conn: conn, window: make(chan struct{}, window), begun: make(chan struct{}), over: make(chan struct{})}
		cs.all = append(cs.all, c)
		cs.senders.Go(func() { c.send(&cs.stop) })
		cs.receivers.Go(c.receive)
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
	cs.receivers.Wait()
	cs.senders.Wait()
}

// finish has all clients stop, and ask the server what it has had. It returns how many messages came back.
func (cs *clients) finish(t *testing.T) (messages uint64) {
	t.Helper()
	cs.stop.Store(true)
	cs.senders.Wait()
	for _, c := range cs.all {
		_, _ = c.conn.Write([]byte{0, 0})
	}
	cs.receivers.Wait()
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

// pauses returns the longest pauses of all clients since the last call, in order.
func (cs *clients) pauses() (all []time.Duration) {
	for _, c := range cs.all {
		all = append(all, c.longest)
	}
	slices.Sort(all)
	return all
}
