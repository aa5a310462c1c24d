package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"time"
)

// serveForm is the hidden command line of the process that has the servers. It obeys a line of a command on standard
// input and answers with a line of JSON, and ends when its input does, so it never outlives who started it.
const serveForm = "serve"

const (
	startCommand  = "start"  // start all servers; tell their addresses
	stopCommand   = "stop"   // shut all servers down; tell the accounts
	sampleCommand = "sample" // tell what the process uses
	quietCommand  = "quiet"  // give freed memory back to the system, then the same
)

// An answer is what a command brought. Fields that do not belong to the command are empty.
type answer struct {
	Addresses map[string]string `json:"addresses,omitempty"` // by station
	Accounts  []account         `json:"accounts,omitempty"`
	Usage     usage             `json:"usage"`
	Open      int               `json:"open"` // sessions
	Error     string            `json:"error,omitempty"`
}

func serve(in io.Reader, out io.Writer) {
	var p place
	answers := json.NewEncoder(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if err := answers.Encode(p.obey(lines.Text())); err != nil {
			return
		}
	}
}

func (p *place) obey(command string) (a answer) {
	var err error
	switch command {
	case startCommand:
		a.Addresses, err = p.start()
	case stopCommand:
		a.Accounts = p.stop()
	case quietCommand:
		a.Usage = quietUsage()
	case sampleCommand:
		a.Usage = currentUsage()
	default:
		err = fmt.Errorf("unknown command %q", command)
	}
	a.Open = p.open()
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

// settleTime lets goroutines that are about to end do so before memory is given back.
const settleTime = time.Second

// quietUsage is taken when nothing is under way. A second collection frees what pools kept through the first.
func quietUsage() usage {
	time.Sleep(settleTime)
	runtime.GC()
	debug.FreeOSMemory()
	return currentUsage()
}

// child is the process that has the servers.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func startChild() (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, serveForm)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = json.NewDecoder(out)
	return c, c.cmd.Start()
}

// command is called by one goroutine at a time.
func (c *child) command(command string) (a answer, err error) {
	if _, err = fmt.Fprintln(c.in, command); err == nil {
		err = c.out.Decode(&a)
	}
	if err == nil && a.Error != "" {
		err = fmt.Errorf("%s: %s", command, a.Error)
	}
	return a, err
}

// end lets the process leave, and kills it if it does not.
func (c *child) end() {
	_ = c.in.Close()
	kill := time.AfterFunc(5*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	_ = c.cmd.Wait()
}
