package handover_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// fromEnvironment returns a number of a long run, or the usual one.
func fromEnvironment(t *testing.T, name string, usual int) int {
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSessionsThatNeverStopSendingPassThroughFiveProcesses(t *testing.T) {
	for _, set := range []settings{
		{Network: "tcp", Mode: "event"}, {Network: "tcp", Mode: "goroutine"},
		{Network: "unix", Mode: "event"}, {Network: "unix", Mode: "goroutine"},
	} {
		t.Run(set.Network+"/"+set.Mode, func(t *testing.T) {
			f := startFleet(t, set)
			n := fromEnvironment(t, "LIBNET_HANDOVER_SESSIONS", 200)
			cs := dialClients(t, f, n)
			settle := time.Duration(n) * 100 * time.Microsecond
			cs.pauses()
			time.Sleep(settle)
			t.Logf("without a handover: %v; %s", cs.pauses(), f.resident())
			cs.pauses()
			var all pauses
			for range 5 {
				gave, _ := f.upgrade()
				if gave.Error != "" || gave.Result.Moved != n || len(gave.Result.Stayed) > 0 || gave.Result.Ended > 0 {
					t.Fatalf("the handover says %+v, %s", gave.Result, gave.Error)
				}
				time.Sleep(settle)
				p := cs.pauses()
				t.Logf("took %v, stood still %v; a client's pause: %v; %s",
					gave.Took, gave.Result.Paused, p, f.resident())
				all = append(all, p...)
				cs.pauses()
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

// A process that takes over is killed at random times, from its start until it would serve: LIBNET_HANDOVER_KILLS has
// the number of a long run, and LIBNET_HANDOVER_SEED repeats one.
func TestAProcessThatIsKilledAtARandomTimeLeavesTheOldOneServing(t *testing.T) {
	for _, mode := range []string{"event", "goroutine"} {
		t.Run(mode, func(t *testing.T) {
			const n = 100
			random := seeded(t)
			kills := fromEnvironment(t, "LIBNET_HANDOVER_KILLS", 10)
			set := settings{Network: "tcp", Mode: mode, Deaths: randomDeaths(random, kills)}
			f := startFleet(t, set)
			cs := dialClients(t, f, n)
			for _, death := range set.Deaths {
				f.killed(death, n)
			}
			if len(f.died) == 0 {
				t.Error("none was killed")
			}
			t.Logf("%d of %d died, behind step %v; %d messages came once and in order", len(f.died), kills, f.died, cs.finish(t))
		})
	}
}

// randomDeaths has one in each of n equal parts of killWithin, so that the soonest comes before anything is taken over.
func randomDeaths(random *rand.Rand, n int) (deaths []string) {
	part := killWithin / time.Duration(n)
	for i := range n {
		deaths = append(deaths, "after "+(time.Duration(i)*part+time.Duration(random.Int64N(int64(part)))).String())
	}
	random.Shuffle(n, func(i, j int) { deaths[i], deaths[j] = deaths[j], deaths[i] })
	return deaths
}

// killWithin is about how long a handover of a test takes: a process that would be killed later takes over.
const killWithin = 12 * time.Millisecond

// seeded returns random numbers, which a test that fails tells how to repeat.
func seeded(t *testing.T) *rand.Rand {
	seed := uint64(fromEnvironment(t, "LIBNET_HANDOVER_SEED", int(rand.Uint32())))
	t.Logf("LIBNET_HANDOVER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestWhenBothProcessesDieTheClientsAreTold(t *testing.T) {
	random := seeded(t)
	for _, step := range []string{"session30", "held", "go", "random", "random", "random"} {
		t.Run(step, func(t *testing.T) {
			set := settings{Network: "tcp", Mode: "event", Deaths: []string{step}, Both: true}
			if step == "random" {
				set.Deaths = randomDeaths(random, 50) // those after the first are for where that takes over before
			}
			f := startFleet(t, set)
			cs := dialClients(t, f, 50)
			began := time.Now()
			over := make(chan struct{})
			go func() {
				defer close(over)
				cs.running.Wait() // each has read an end, or a reset
			}()
			f.signal(syscall.SIGHUP)
			for isOver := false; !isOver; {
				select {
				case <-over:
					isOver = true
				case r := <-f.reports:
					if r.What == "ready" {
						began, f.current = time.Now(), r.PID
						f.signal(syscall.SIGHUP)
					}
				}
			}
			for _, c := range cs.all {
				if c.err == nil || errors.Is(c.err, os.ErrDeadlineExceeded) {
					t.Errorf("a client was told nothing: %v", c.err)
				}
			}
			if took := time.Since(began); took > patience/2 {
				t.Errorf("it took %v", took)
			}
		})
	}
}
