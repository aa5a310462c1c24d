package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // of what players do wrong here, the log tells
	libnettest.VerifyMain(m)
}

// start is game -listen until end, which returns what it says in the end.
func start(t *testing.T) (address string, end func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, "127.0.0.1:0", stdout)
		stdout.Close()
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the server has not started: %v", <-ended)
	}
	if _, err := fmt.Sscanf(lines.Text(), "players at %s", &address); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(address, ";"), func() string {
		t.Helper()
		cancel()
		lines.Scan()
		last := lines.Text()
		for lines.Scan() {
		}
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		return last
	}
}

func TestBotsGetStatesAndEachStepIsTaken(t *testing.T) {
	address, end := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 1100*time.Millisecond)
	defer cancel()
	var out strings.Builder
	if err := play(ctx, address, 20, 0, &out); err != nil {
		t.Error(err)
	}
	var states int
	if _, err := fmt.Sscanf(out.String(), "20 bots: %d states in a second\n", &states); err != nil || states == 0 {
		t.Errorf("the bots said %q", &out)
	}
	var ticks, came, taken int
	last := end()
	_, err := fmt.Sscanf(last, "%d ticks; of %d steps %d taken", &ticks, &came, &taken)
	if err != nil || ticks == 0 || came < states || taken != came {
		t.Errorf("the server said %q, %v; the bots took %d steps in a second", last, err, states)
	}
}

// A person plays by hand, and fails the test where a state is not newer than the one before.
type person struct {
	*testing.T
	*libnet.Session
	tick uint32 // of the newest state
}

func enter(t *testing.T, address string) *person {
	t.Helper()
	s, err := libnet.Connect("tcp", address, protocol, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &person{T: t, Session: s}
}

func (p *person) look() (x, y byte) {
	state, err := p.Receive()
	if err != nil {
		p.Errorf("a player's session ended with %v", err)
		runtime.Goexit()
	}
	tick := binary.BigEndian.Uint32(state)
	if tick <= p.tick {
		p.Errorf("the state of tick %d came after that of %d", tick, p.tick)
	}
	p.tick = tick
	return state[4], state[5]
}

func (p *person) step(dx, dy byte) {
	if err := p.Send(append(binary.BigEndian.AppendUint32(nil, p.tick), dx, dy)); err != nil {
		p.Error(err)
	}
}

func TestASlowPlayerGetsFewerStatesAndNeverOlder(t *testing.T) {
	address, end := start(t)
	defer end()
	quick, slow := enter(t, address), enter(t, address)
	defer quick.Close() // or the server would wait for their ends
	defer slow.Close()
	slow.look()
	first := slow.tick

	var seen atomic.Uint32 // by the quick one
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case <-stop:
				return
			default:
				quick.look()
				quick.step(0, 0)
				seen.Store(quick.tick)
			}
		}
	}()
	defer func() { <-over }()
	defer close(stop)
	for began := time.Now(); seen.Load() < first+4*window; time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("the quick player has not got 4 windows of states, but is at tick %d", seen.Load())
		}
	}
	under := 0 // states that were under way to the slow one
	for ; slow.tick <= first+window; under++ {
		now := seen.Load()
		slow.step(1, 2) // it has seen this one
		if slow.look(); slow.tick > first+window && slow.tick < now {
			t.Errorf("the slow player, having caught up, got the state of tick %d when %d was seen by others", slow.tick, now)
		}
		if under > window {
			t.Fatalf("the slow player got %d states that lay in buffers", under)
		}
	}
	slow.step(0, 0)
	if x, y := slow.look(); x != byte(under) || y != byte(2*under) { // its steps are taken, whatever it has missed
		t.Errorf("%d steps led to %d, %d", under, x, y)
	}
}

func TestWhatIsNoStepEndsItsPlayerAlone(t *testing.T) {
	address, end := start(t)
	good, bad := enter(t, address), enter(t, address)
	good.look()
	if err := bad.Send("no step"); err != nil {
		t.Fatal(err)
	}
	for err := error(nil); err == nil; {
		_, err = bad.Receive()
	}
	good.step(3, 4)
	for began := time.Now(); ; {
		if x, y := good.look(); x == 3 && y == 4 {
			break
		} else if time.Since(began) > 20*time.Second {
			t.Fatalf("the step led to %d, %d", x, y)
		}
	}
	ended := make(chan error, 1)
	go func() {
		for err := error(nil); ; {
			if _, err = good.Receive(); err != nil {
				ended <- err
				return
			}
		}
	}()
	end()
	if err := <-ended; err != io.EOF {
		t.Errorf("the good player's session ended with %v", err)
	}
}
