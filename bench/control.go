package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

// The control connection of a server process: a line of a command, a line of JSON back. Every
// server process has one, so that what it costs is alike for all.
const (
	usageCommand   = "usage"   // tell what has been used
	settleCommand  = "settle"  // tell, give freed memory back to the system, then tell again
	profileCommand = "profile" // "profile FILE" starts a CPU profile, "profile" ends it; then tell
)

// A usage is what a server process has used since it began.
type usage struct {
	CPU   time.Duration `json:"cpu"`            // user and system
	RSS   int64         `json:"rss"`            // bytes
	Kept  int64         `json:"kept,omitempty"` // RSS before memory was given back; of settle only
	Error string        `json:"error,omitempty"`
}

// controlTimeout bounds one command: longer than a garbage collection of a busy server.
const controlTimeout = 20 * time.Second

// settleTime lets goroutines that are about to end do so before memory is given back. Tests, which look at no figure,
// shorten it.
var settleTime = 200 * time.Millisecond

// serveControl answers the commands of one client after the other, and returns the address.
func serveControl() (net.Addr, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answerControl(conn)
			conn.Close()
		}
	}()
	return l.Addr(), nil
}

func answerControl(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		u, err := obey(lines.Text())
		if err != nil {
			u.Error = err.Error()
		}
		if json.NewEncoder(conn).Encode(u) != nil {
			return
		}
	}
}

func obey(line string) (usage, error) {
	command, argument, _ := strings.Cut(line, " ")
	switch command {
	case usageCommand:
	case settleCommand:
		return settled()
	case profileCommand:
		if err := profile(argument); err != nil {
			return usage{}, err
		}
	default:
		return usage{}, fmt.Errorf("no command %q", command)
	}
	return used()
}

func settled() (usage, error) {
	time.Sleep(settleTime)
	kept, err := residentBytes()
	if err != nil {
		return usage{}, err
	}
	debug.FreeOSMemory()
	u, err := used()
	u.Kept = kept
	return u, err
}

// profile begins a CPU profile into the file, or ends the one that runs.
func profile(file string) error {
	if file == "" {
		pprof.StopCPUProfile()
		return nil
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f)
}

func used() (usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}, err
	}
	rss, err := residentBytes()
	return usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), RSS: rss}, err
}

// residentBytes is VmRSS of /proc/self/status.
func residentBytes() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("no VmRSS in /proc/self/status")
}

// control is the client's end of the control connection.
type control struct {
	conn net.Conn
	in   *json.Decoder
}

func dialControl(address string) (*control, error) {
	conn, err := net.DialTimeout("tcp", address, controlTimeout)
	if err != nil {
		return nil, err
	}
	return &control{conn, json.NewDecoder(conn)}, nil
}

func (c *control) ask(command string) (usage, error) {
	c.conn.SetDeadline(time.Now().Add(controlTimeout))
	if _, err := fmt.Fprintln(c.conn, command); err != nil {
		return usage{}, fmt.Errorf("server's control: %w", err)
	}
	var u usage
	if err := c.in.Decode(&u); err != nil {
		return usage{}, fmt.Errorf("server's control: %w", err)
	}
	if u.Error != "" {
		return usage{}, fmt.Errorf("server's control: %s", u.Error)
	}
	return u, nil
}
