//go:build schedules

package schedules

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
)

// What the scenarios' servers have set, unless they say otherwise. No two of these, nor of the times of a scenario's
// calls, may end at the same moment: which of two timers is first, or of two cases of a select, is chance.
const (
	writeTimeout = 5100 * time.Millisecond
	linger       = 1300 * time.Millisecond
	interval     = 10 * time.Second // of heartbeats, where there are any
)

// How long the bubble's clock may run.
const (
	patience = 2 * time.Minute  // until all actors are done
	settling = 12 * time.Second // then, until the library has done what was left to it
)

// A scenario is a session and what calls it.
type scenario struct {
	bound  int                       // of preemptions
	queue  int                       // SendQueue
	config func(*libnet.Server)      // nil: nothing else
	plain  bool                      // the codec only knows io.ReadWriter
	late   bool                      // the codec is made by whoever needs it
	room   int                       // how many frames the connection takes before the peer reads
	actors map[string]steps          // by a letter, which its messages begin with
	check  func(*run) (fault string) // after all else; nil: nothing
}

type steps []step

// A step is a call of the session, or something that the peer does.
type step struct {
	name   string
	most   time.Duration // how long it may take
	do     func(*run, *actor) error
	yields bool // before all else
}

// A run is a scenario in one schedule.
type run struct {
	sc        *scenario
	scheduler *scheduler
	server    *libnet.Server
	session   *libnet.Session
	conn      *conn

	mu sync.Mutex
	// mu guards the following.
	calls    []*call
	actors   int // at work
	accepted int // messages, but for heartbeats
	beats    int // heartbeats that were asked for
	unclear  int // messages that a synchronous SendContext gave up while they were perhaps being written
	fault    string
}

// A call is a step that was begun.
type call struct {
	step
	actor    *actor
	begun    time.Time
	returned bool
	took     time.Duration
	err      error
}

func (c *call) String() string { return c.actor.name + "'s " + c.name }

type actor struct {
	name string
	sent int
}

const frameSize = 4 + 2

// message is the actor's next: its letter and a number.
func (a *actor) message() []byte {
	a.sent++
	return []byte{a.name[0], byte('0' + a.sent)}
}

// play runs the scenario and returns what is wrong. It is called in a bubble of its own.
func (sc *scenario) play(s *scheduler) (fault string) {
	r := &run{sc: sc, scheduler: s, conn: newConn(sc.room * frameSize)}
	if err := r.open(); err != nil {
		return err.Error()
	}
	for _, name := range []string{"a", "b", "c"} {
		if steps, ok := sc.actors[name]; ok {
			r.start(name, steps)
		}
	}
	r.act()
	if r.fault == "" {
		s.run(settling, never, r.watch)
		r.settled()
	}
	if r.fault == "" {
		r.start("end", steps{closeNow()})
		s.run(patience, r.allReturned, r.watch)
		s.run(settling, never, r.watch) // for what may still be ending
		r.ended()
	}
	if r.fault != "" {
		r.fault += "; " + s.waiting()
		r.giveUp()
	}
	return r.fault
}

func never() bool { return false }

func (r *run) open() (err error) {
	r.server = libnet.NewServer(libnettest.NewListener(), r.sc.protocol(), r.sc.queue)
	r.server.WriteTimeout, r.server.Linger = writeTimeout, linger
	r.server.Logger = slog.New(slog.DiscardHandler)
	if r.sc.config != nil {
		r.sc.config(r.server)
	}
	if beat := r.server.Heartbeat.Message; beat != nil {
		r.server.Heartbeat.Message = func(s *libnet.Session) any {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.beats++
			return beat(s)
		}
	}
	if r.session, err = r.server.NewSession(r.conn); err == nil && !r.sc.late {
		r.session.Codec()
	}
	return err
}

func (sc *scenario) protocol() libnet.Protocol {
	full := codec.New(codec.Uint32BE, codec.Bytes)
	if !sc.plain {
		return full
	}
	return libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return struct{ libnet.Codec }{full.NewCodec(rw)} // which hides that it can do more
	})
}

// start has an actor take its steps.
func (r *run) start(name string, steps steps) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.actors++
	go r.actor(&actor{name: name}, steps)
}

func (r *run) actor(a *actor, steps steps) {
	defer r.left()
	r.scheduler.actor(a.name)
	defer r.scheduler.gone()
	if !steps[0].yields { // or chance would say who is first at a channel
		yield("begins")
	}
	for _, step := range steps {
		c := r.begin(a, step)
		err := step.do(r, a)
		r.returned(c, err)
	}
}

func (r *run) left() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.actors--
}

func (r *run) begin(a *actor, s step) *call {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &call{step: s, actor: a, begun: time.Now()}
	r.calls = append(r.calls, c)
	if r.scheduler.trace != nil {
		r.scheduler.trace(a.name + " calls " + s.name)
	}
	return c
}

func (r *run) returned(c *call, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.returned, c.took, c.err = true, time.Since(c.begun), err
	if c.took > c.most {
		r.failLocked("%v took %v", c, c.took)
	}
}

func (r *run) accept(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepted += n
}

func (r *run) leaveUnclear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unclear++
}

func (r *run) failLocked(format string, args ...any) {
	if r.fault == "" {
		r.fault = fmt.Sprintf(format, args...)
	}
}

// act lets the actors take all their steps, but for those that only the session's end ends.
func (r *run) act() {
	r.scheduler.run(patience, r.onlyReceivers, r.watch)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		if !c.returned && c.most < forever {
			r.failLocked("%v does not return", c)
		}
	}
}

// onlyReceivers reports whether the actors that are not done wait for the session's end.
func (r *run) onlyReceivers() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting := 0
	for _, c := range r.calls {
		if !c.returned && c.most == forever {
			waiting++
		}
	}
	return r.actors == waiting
}

func (r *run) allReturned() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.actors == 0
}

// giveUp ends what can be ended of a run that failed.
func (r *run) giveUp() {
	r.scheduler.abandon()
	_ = r.conn.Close()
	go func() { _ = r.session.Close() }()
	time.Sleep(patience)
	synctest.Wait()
	runtime.Gosched()
}

// ---- the steps

// forever is for calls that end with their session.
const forever = time.Duration(1<<63 - 1)

func send() step {
	return step{name: "Send", most: 0, do: func(r *run, a *actor) error {
		msg := a.message()
		if a.sent%2 == 0 {
			return r.sent(r.session.SendBytes(msg))
		}
		return r.sent(r.session.Send(msg))
	}}
}

// sendSync is Send on a synchronous session, where it waits for the peer, behind the other actors.
func sendSync() step {
	s := send()
	s.most = 6 * writeTimeout
	return s
}

func (r *run) sent(err error) error {
	if err == nil {
		r.accept(1)
	}
	return err
}

func sendContext(within time.Duration) step {
	return step{name: "SendContext", most: within, do: func(r *run, a *actor) error {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		err := r.sent(r.session.SendContext(ctx, a.message()))
		if r.sc.queue == 0 && err == context.DeadlineExceeded {
			r.leaveUnclear()
		}
		return err
	}}
}

// writeReturns is how much longer SendContext may take where the message is being written when its context ends.
const writeReturns = 5 * time.Millisecond

// sendContextSync is SendContext on a synchronous session.
func sendContextSync(within time.Duration) step {
	s := sendContext(within)
	s.most += writeReturns
	return s
}

func broadcast() step {
	return step{name: "Broadcast", most: 0, do: func(r *run, a *actor) error {
		result := r.server.Manager().Broadcast(a.message())
		r.accept(result.Sent)
		if result.Blocked > 0 {
			return libnet.ErrSessionBlocked
		}
		return nil
	}}
}

func receive() step {
	return step{name: "Receive", most: forever, do: func(r *run, _ *actor) error {
		_, err := r.session.Receive()
		return err
	}}
}

// flushEnd is how long a close may wait for a write that it interrupts.
const flushEnd = time.Second

func closeNow() step {
	return step{name: "Close", most: flushEnd, do: func(r *run, _ *actor) error { return r.session.Close() }}
}

func closeWithError() step {
	return step{name: "CloseWithError", most: flushEnd, do: func(r *run, _ *actor) error {
		return r.session.CloseWithError(fmt.Errorf("on purpose"))
	}}
}

func shutdown(within time.Duration) step {
	return step{name: "Shutdown", most: within + flushEnd, do: func(r *run, _ *actor) error {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		return r.session.Shutdown(ctx)
	}}
}

func serverShutdown(within time.Duration) step {
	return step{name: "Server.Shutdown", most: within + flushEnd, do: func(r *run, _ *actor) error {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		return r.server.Shutdown(ctx)
	}}
}

// sleep is itself no yield point: it ends with one.
func sleep(d time.Duration) step {
	return step{name: "sleep", most: d, yields: true, do: func(*run, *actor) error {
		time.Sleep(d)
		yield("has slept")
		return nil
	}}
}

// peer is something that the peer does.
func peer(what string, do func(*conn)) step {
	return step{name: "peer " + what, yields: true, do: func(r *run, _ *actor) error {
		yield("peer " + what)
		do(r.conn)
		return nil
	}}
}

func peerReads(frames int) step {
	return peer("reads", func(c *conn) { c.peerReads(frames * frameSize) })
}

func peerSends(frames int) step {
	return peer("sends", func(c *conn) { c.peerSends(bytes.Repeat([]byte{0, 0, 0, 1, 'p'}, frames)) })
}

func peerEnds() step { return peer("ends", (*conn).peerEnds) }
