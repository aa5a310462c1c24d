package hostile

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/testkit"
)

// Bounds of what a server promises, and the slack that a loaded machine is allowed.
const (
	statsBound    = 100 * time.Millisecond
	shutdownBound = time.Second
	slack         = 4 * time.Second
)

// patience is how long a victim waits for an answer once the bomb has gone off, which may have cost it: longer than
// WriteTimeout.
const patience = writeTimeout + 300*time.Millisecond

var all = flag.Bool("all", false, "play each row in all of its modes")

// Of a row's modes those are played that come to its turn, so that the other rows of a site are taken through others:
// one in raceTurns in a build with the race detector, or the check of locks, and one in webTurns of those over
// WebSocket in the normal build, which plays all else.
const raceTurns, webTurns = 3, 2

// played are the modes of a row, by its number.
func played(row int, in []mode) []mode {
	switch {
	case *all:
		return in
	case testkit.Race:
		return inTurn(row, raceTurns, in)
	}
	var web, others []mode
	for _, m := range in {
		if overWeb(m) {
			web = append(web, m)
		} else {
			others = append(others, m)
		}
	}
	return append(others, inTurn(row, webTurns, web)...)
}

func inTurn(row, turns int, in []mode) (some []mode) {
	for i := row % min(turns, max(len(in), 1)); i < len(in); i += turns {
		some = append(some, in[i])
	}
	return some
}

// modesOf are those in which what a site does is played.
func (s *site) modesOf(does behaviour) (in []mode) {
	for _, m := range modes {
		if _, forbidden := s.not[does]; !forbidden && (s.in == nil || s.in(m)) {
			in = append(in, m)
		}
	}
	return in
}

// TestUserCodeThatMisbehavesCostsWhatItsRowOfTheTableSays is the table: a subtest a row,
// interface.method/behaviour/mode.
func TestUserCodeThatMisbehavesCostsWhatItsRowOfTheTableSays(t *testing.T) {
	for i := range table {
		s := &table[i]
		name := s.name
		if s.source != "" {
			name += " of " + s.source
		}
		for row, does := range append(append([]behaviour(nil), anywhere...), s.does...) {
			for _, m := range played(i+row, s.modesOf(does)) {
				t.Run(fmt.Sprintf("%s/%s/%s", name, does, m.name), func(t *testing.T) {
					t.Parallel()
					play(t, s, does, m)
				})
			}
		}
	}
}

// play has a victim's session meet the row's user code, and looks at what that left of the server.
func play(t *testing.T, s *site, does behaviour, m mode) {
	r := newRig(t, m, s, does)
	witness, err := r.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer witness.close()
	if err := ask(witness, "before"); err != nil {
		t.Fatal("before: ", err)
	}
	r.b.armed.Store(true)
	r.lead(t, s)
	if s.name != "net.Listener.Close" {
		r.wantCalled(t)
	}
	if does != stops && s.name != "net.Listener.Close" {
		r.wantServed(t, witness, !s.endsAccepting(does, m))
	}
	r.wantStats(t)
	r.conns.Go(func() { _ = atEnd(witness); witness.close() })
	r.wantShutdown(t)
	close(r.b.freed)
	r.wantCalled(t)
	if !t.Failed() { // else this might not return
		r.wantCounters(t)
	}
	r.end()
	within(t, "the rig's own goroutines", inTime, r.conns.Wait)
}

// lead takes a client through all that a session can come to.
func (r *rig) lead(t *testing.T, s *site) {
	victim, err := r.dial()
	if err != nil {
		return // as a server that is being shut down answers
	}
	defer victim.close()
	ctx, cancel := r.victimsContext()
	defer cancel()
	defer context.AfterFunc(ctx, victim.close)()
	steps := []string{"one", "address", "two", strings.Repeat("large", 16<<10)}
	if s.source == "libnet.Session.CloseWithError" {
		steps = append(steps, "fail")
	}
	for _, msg := range steps {
		if err := r.askVictim(victim, msg); err != nil {
			break
		}
	}
	within(t, "a broadcast", inTime, r.broadcast)
	if strings.HasPrefix(s.name, "libnet.Heartbeat.") {
		select {
		case <-r.b.fired:
		case <-time.After(inTime):
		}
	}
	if s.name == "net.Listener.Close" {
		return // Shutdown calls it
	}
	_ = victim.send([]byte("bye"))
	_ = atEnd(victim)
}

// victimsContext ends when the patience of a victim does.
func (r *rig) victimsContext() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	r.conns.Go(func() {
		select {
		case <-r.b.fired:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(patience):
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// askVictim is ask, whose answer may get lost.
func (r *rig) askVictim(c client, msg string) error {
	if msg == "address" {
		return c.send([]byte(msg))
	}
	return ask(c, msg)
}

func (r *rig) wantCalled(t *testing.T) {
	t.Helper()
	select {
	case <-r.b.fired:
	case <-time.After(inTime):
		t.Fatal("the site was not called")
	}
}

// wantServed asks for answers on another session, and on a new one where the server still accepts.
func (r *rig) wantServed(t *testing.T, witness client, accepts bool) {
	t.Helper()
	if err := ask(witness, "after"); err != nil {
		t.Error("the other session is not served: ", err)
	}
	if !accepts {
		return
	}
	fresh, err := r.dial()
	if err == nil {
		defer fresh.close()
		err = ask(fresh, "fresh")
	}
	if err != nil {
		t.Error("a new session is not served: ", err)
	}
}

func (r *rig) wantStats(t *testing.T) {
	t.Helper()
	took := within(t, "Server.Stats", statsBound+slack, func() { _ = r.srv.Stats() })
	if took > statsBound {
		t.Logf("Server.Stats took %v: more than %v, which a busy machine may explain", took, statsBound)
	}
}

func (r *rig) wantShutdown(t *testing.T) {
	t.Helper()
	within(t, "Shutdown(1 s)", shutdownBound+slack, func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownBound)
		defer cancel()
		_ = r.srv.Shutdown(ctx)
	})
}

// wantCounters compares the server's counters with each other and with what Send has taken.
func (r *rig) wantCounters(t *testing.T) {
	t.Helper()
	exact := func() string {
		stats := r.srv.Stats()
		closed := uint64(0)
		for _, n := range stats.Closed {
			closed += n
		}
		if stats.Open != 0 || stats.Accepted != closed || r.srv.Manager().Len() != 0 || r.group.Len() != 0 {
			return fmt.Sprintf("%+v; %d in the manager, %d in the group", stats, r.srv.Manager().Len(), r.group.Len())
		}
		sent, unsure, known := r.sent.Load(), r.unsure.Load(), stats.MessagesOut+stats.Discarded
		if known < sent || known > sent+unsure {
			return fmt.Sprintf("%d messages sent and perhaps %d, %d written, %d discarded", sent, unsure, stats.MessagesOut, stats.Discarded)
		}
		return ""
	}
	for end := time.Now().Add(inTime); ; time.Sleep(time.Millisecond) {
		wrong := exact()
		if wrong == "" {
			return
		}
		if time.Now().After(end) {
			t.Error("the account is wrong: ", wrong)
			return
		}
	}
}

// within calls f, fails the test if that does not return within d, and says how long it took.
func within(t *testing.T, what string, d time.Duration, f func()) time.Duration {
	t.Helper()
	began := time.Now()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(d):
		t.Errorf("%s: not done after %v", what, d)
	}
	return time.Since(began)
}
