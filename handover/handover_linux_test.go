package handover_test

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// sessions is how many a test has; LIBNET_HANDOVER_SESSIONS has the number of a long run.
func sessions(t *testing.T) int {
	if text := os.Getenv("LIBNET_HANDOVER_SESSIONS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 300
}

func TestSessionsThatNeverStopSendingPassThroughFiveProcesses(t *testing.T) {
	for _, set := range []settings{
		{Network: "tcp", Mode: "event"}, {Network: "tcp", Mode: "goroutine"},
		{Network: "unix", Mode: "event"}, {Network: "unix", Mode: "goroutine"},
	} {
		t.Run(set.Network+"/"+set.Mode, func(t *testing.T) {
			f := startFleet(t, set)
			n := sessions(t)
			cs := dialClients(t, f, n)
			settle := time.Duration(n) * 100 * time.Microsecond
			cs.pauses()
			time.Sleep(settle)
			t.Logf("without a handover: %v", cs.pauses())
			var all pauses
			for range 5 {
				gave, ready := f.upgrade()
				if gave.Error != "" || gave.Result.Moved != n || len(gave.Result.Stayed) > 0 || gave.Result.Ended > 0 {
					t.Fatalf("the handover says %+v, %s", gave.Result, gave.Error)
				}
				time.Sleep(settle)
				p := cs.pauses()
				t.Logf("took %v, stood still %v; resident %d KB before, %d KB after; a client's pause: %v",
					gave.Took, gave.Result.Paused, gave.RSS>>10, ready.RSS>>10, p)
				all = append(all, p...)
			}
			t.Logf("%d messages; a client's pause in 5 handovers: %v", cs.finish(t), all)
		})
	}
}

// steps are where the process that takes over is killed: at its start, and at each step of the exchange.
var steps = []string{"start", "hello", "made", "ready", "session1", "session60", "end", "thawed", "held", "output", "go"}

func TestAProcessThatDiesBeforeItHasTakenAllLeavesTheOldOneServing(t *testing.T) {
	for _, mode := range []string{"event", "goroutine"} {
		t.Run(mode, func(t *testing.T) {
			f := startFleet(t, settings{Network: "tcp", Mode: mode, Deaths: steps})
			cs := dialClients(t, f, 100)
			for _, step := range steps {
				f.signal(syscall.SIGHUP)
				if kept := f.await("kept"); kept.PID != f.current {
					t.Fatalf("killed at %s: process %d has the server", step, kept.PID)
				}
				time.Sleep(20 * time.Millisecond)
			}
			if gave, _ := f.upgrade(); gave.Result.Moved != 100 {
				t.Errorf("then %+v", gave.Result)
			}
			time.Sleep(20 * time.Millisecond)
			if n := cs.finish(t); n == 0 {
				t.Error("no messages")
			}
		})
	}
}

func TestWhenBothProcessesDieTheClientsAreTold(t *testing.T) {
	for _, step := range []string{"session30", "held", "go"} {
		t.Run(step, func(t *testing.T) {
			f := startFleet(t, settings{Network: "tcp", Mode: "event", Deaths: []string{step}, Both: true})
			cs := dialClients(t, f, 50)
			f.signal(syscall.SIGHUP)
			began := time.Now()
			cs.running.Wait() // each has read an end, or a reset
			for _, c := range cs.all {
				if c.err == nil || errors.Is(c.err, os.ErrDeadlineExceeded) {
					t.Errorf("a client was told nothing: %v", c.err)
				}
			}
			if took := time.Since(began); took > patience/2 {
				t.Errorf("it took %v", took)
			}
			cs.stop.Store(true)
		})
	}
}
