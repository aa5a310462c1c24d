package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/libnettest"
)

// TestMain is also the child whose clock is looked at.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "clock" {
		began := time.Now()
		time.Sleep(50 * time.Millisecond)
		fmt.Println(began.UnixMilli(), time.Since(began).Milliseconds())
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "sleep" {
		time.Sleep(time.Hour)
	}
	libnettest.VerifyMain(m)
}

type here struct{}

func (here) Start(cmd *exec.Cmd) error { return cmd.Start() }

func TestAProcessMayHaveAClockThatIsADayAhead(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, ahead := range []time.Duration{0, day, -day} {
		var out strings.Builder
		p := &Process{Name: "clock", Args: []string{"clock"}, Host: here{}, Log: &out}
		if err := p.StartAhead(ahead); errors.Is(err, ErrNoClock) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		if !p.Ended(30 * time.Second) {
			t.Fatal("it does not end")
		}
		fields := strings.Fields(out.String())
		if len(fields) != 2 {
			t.Fatalf("it said %q", out.String())
		}
		wall, _ := strconv.ParseInt(fields[0], 10, 64)
		slept, _ := strconv.ParseInt(fields[1], 10, 64)
		if off := time.Until(time.UnixMilli(wall)) - ahead; off > time.Second || off < -time.Minute {
			t.Errorf("%v ahead: its clock is %v off that", ahead, off)
		}
		if slept < 50 || slept > 30_000 {
			t.Errorf("%v ahead: it slept %d ms for 50", ahead, slept)
		}
	}
}

func TestAProcessIsHaltedResumedAndKilled(t *testing.T) {
	t.Parallel()
	p := &Process{Name: "sleeper", Args: []string{"sleep"}, Host: here{}, Log: io.Discard}
	if p.Running() {
		t.Error("it runs before it is started")
	}
	for range 2 {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		state := func() string {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.running.cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			_, after, _ := strings.Cut(string(status), ") ")
			return after[:1]
		}
		p.Halt()
		for state() != "T" {
			time.Sleep(time.Millisecond)
		}
		p.Resume()
		for state() == "T" {
			time.Sleep(time.Millisecond)
		}
		if !p.Running() || p.Ended(0) {
			t.Error("it does not run")
		}
		p.Halt() // one that is halted can be killed, too
		p.Kill()
		if p.Running() || !p.Ended(0) {
			t.Error("it runs after it was killed")
		}
	}
}
