package handover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/moving"
	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/usercode"
)

// Take takes over the server that another process gives by [Give] at the other end of conn, a Unix stream socket. make
// is called with the listener, and returns the new server with all its fields set; it does not accept yet. When Take
// returns, the sessions are the server's, with their numbers and counters, and they go on as soon as Serve,
// ServeMessages or Accept is called: that is to be at once, for until then their peers wait. Sessions that are made in
// this process later have numbers above all of the old process's; so none may have been made before.
//
// An error wraps [ErrNotTaken]: the old process goes on, and nothing was read, written or told to a peer here; Take may
// be called again, with another conn, if no session was made here meanwhile. ctx bounds the waiting; let it be longer
// than the other side's, which decides. conn stays the caller's.
func Take(ctx context.Context, conn *net.UnixConn, make func(net.Listener) (*libnet.Server, error), o TakeOptions) (*libnet.Server, Result, error) {
	ctx = usercode.Context(ctx, "handover.Take")
	t := &taking{link: newLink(conn), options: o, arrived: map[uint64]*arrived{}}
	defer t.link.close()
	stop := bounded(ctx, conn)
	defer stop()
	if err := t.take(ctx, make); err != nil {
		t.giveUp(err)
		return nil, Result{}, fmt.Errorf("%w: %w", ErrNotTaken, because(ctx, err))
	}
	return t.server, t.result, nil
}

// A taking is one call of Take.
type taking struct {
	link     *link
	options  TakeOptions
	listener net.Listener
	server   *libnet.Server
	taker    moving.Taker
	arrived  map[uint64]*arrived
	order    []*arrived // whose records have come
	records  uint64     // that have come
	refused  []uint64
	lastID   uint64 // that this call has set, of this process; 0 for none
	result   Result
}

// An arrived is a session that nobody serves yet.
type arrived struct {
	moving.Arrival        // nil once it is another's
	whole          bool   // its record has come, too
	sealed         bool   // and what is to be written
	state          []byte // the user's
	out            sendqueue.Contents
}

// step is for tests, which end the process at a step.
var step = func(name string, n int) {}

func (t *taking) take(ctx context.Context, make func(net.Listener) (*libnet.Server, error)) error {
	if err := t.begin(ctx, make); err != nil {
		return err
	}
	if err := t.receiveSessions(ctx); err != nil {
		return err
	}
	if err := t.receiveOutputs(); err != nil {
		return err
	}
	step("go", 0)
	if err := t.sendNow(kindTaken, nil); err != nil {
		return err
	}
	for _, a := range t.order {
		if a.Arrival != nil {
			a.Start(&a.out)
			t.result.Moved++
		}
	}
	return nil
}

var errSessions = errors.New("handover: this process has made sessions already: take over first")

// begin makes the server.
func (t *taking) begin(ctx context.Context, make func(net.Listener) (*libnet.Server, error)) error {
	p, err := t.link.expect(kindHello)
	if err != nil {
		return err
	}
	step("hello", 0)
	h, err := parseHello(p)
	if err != nil {
		return err
	}
	if !moving.The.LastID.CompareAndSwap(0, h.lastID) {
		return errSessions
	}
	t.lastID = h.lastID
	if t.listener, err = t.takeListener(h.unlinks); err != nil {
		return err
	}
	if err := call(ctx, func() error { return t.makeServer(make) }); err != nil {
		return err
	}
	step("made", 0)
	err = t.sendNow(kindReady, nil)
	step("ready", 0)
	return err
}

// makeServer has the user make it. One that can serve nothing panics when it is asked to take sessions.
func (t *taking) makeServer(make func(net.Listener) (*libnet.Server, error)) (err error) {
	t.server, err = make(t.listener)
	switch {
	case err != nil:
		return usercode.Asked(err)
	case t.server == nil:
		return errors.New("handover: no server was made")
	}
	t.taker = moving.The.Taker(t.server)
	return nil
}

func (t *taking) takeListener(unlinks bool) (net.Listener, error) {
	fd, err := t.link.takeFD()
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	return moving.The.Listener(l, unlinks), nil
}

func (t *taking) sendNow(k kind, payload []byte) error {
	if err := t.link.send(k, payload); err != nil {
		return err
	}
	return t.link.flush()
}

// receiveSessions puts the sessions together as they come.
func (t *taking) receiveSessions(ctx context.Context) error {
	for {
		k, p, err := t.link.receive()
		if err != nil {
			return err
		}
		switch k {
		case kindIntro:
			err = t.adopt(p)
		case kindRecord:
			err = t.restore(p)
		case kindEnd:
			return t.endSessions(ctx, p)
		default:
			err = fmt.Errorf("%w: %q among the sessions", ErrMalformed, byte(k))
		}
		if err != nil {
			return err
		}
	}
}

// adopt makes a session of its introduction, or leaves it to the old process. An error says that nothing more can come.
func (t *taking) adopt(p []byte) error {
	i, err := parseIntroduction(p)
	if err != nil {
		return err
	}
	if t.arrived[i.ID] != nil {
		return fmt.Errorf("%w: session %d comes twice", ErrMalformed, i.ID)
	}
	fd, err := t.link.takeFD()
	if err != nil {
		return err
	}
	a, err := t.taker.Adopt(i, fd)
	if err != nil {
		a = nil
	}
	t.arrived[i.ID] = &arrived{Arrival: a}
	step("introduced", len(t.arrived))
	return nil
}

// restore enters a record, or refuses the session.
func (t *taking) restore(p []byte) error {
	r, err := parseRecord(p)
	if err != nil {
		return err
	}
	a := t.arrived[r.ID]
	if a == nil || a.whole {
		return fmt.Errorf("%w: a record of session %d, which there is not", ErrMalformed, r.ID)
	}
	a.whole = true
	t.records++
	if a.Arrival == nil || a.Restore(r) != nil {
		t.refused = append(t.refused, r.ID)
		a.discard()
		return nil
	}
	a.state = bytes.Clone(r.State)
	t.order = append(t.order, a)
	step("session", len(t.order))
	return nil
}

// discard leaves the session to the old process.
func (a *arrived) discard() {
	if a.Arrival != nil {
		a.Discard()
	}
	a.Arrival = nil
}

// endSessions says that all have come.
func (t *taking) endSessions(ctx context.Context, p []byte) error {
	in := &reader{rest: p}
	if count := in.number(); in.err == nil && count != t.records {
		return fmt.Errorf("%w: %d sessions came of %d", ErrMalformed, t.records, count)
	}
	t.raiseLastID(in.number())
	if err := in.end(); err != nil {
		return err
	}
	step("end", 0)
	for _, a := range t.arrived { // those that have ended, or stay
		if !a.whole {
			a.discard()
		}
	}
	if err := t.thaw(ctx); err != nil {
		return err
	}
	step("thawed", 0)
	err := t.sendNow(kindHeld, appendIDs(nil, t.refused))
	step("held", 0)
	return err
}

// raiseLastID has sessions that are made from now on have numbers above id.
func (t *taking) raiseLastID(id uint64) {
	for last := moving.The.LastID; ; {
		was := last.Load()
		if was >= id {
			return
		}
		if last.CompareAndSwap(was, id) {
			if was == t.lastID {
				t.lastID = id
			}
			return
		}
	}
}

// thaw gives the user what was his of each session.
func (t *taking) thaw(ctx context.Context) error {
	if t.options.Thaw == nil {
		return nil
	}
	refused, err := callEach(ctx, len(t.order), func(i int) error {
		return t.options.Thaw(t.order[i].Session().(*libnet.Session), t.order[i].state)
	})
	if err != nil {
		return err
	}
	for i, a := range t.order {
		if a.state = nil; refused[i] {
			t.refused = append(t.refused, a.ID())
			a.discard()
		}
	}
	return nil
}

// receiveOutputs learns what is to be written, and which sessions have ended.
func (t *taking) receiveOutputs() error {
	for {
		k, p, err := t.link.receive()
		if err != nil {
			return err
		}
		switch k {
		case kindOutput:
			err = t.takeOutput(p)
		case kindGone:
			err = t.forget(p)
		case kindGo:
			return t.endOutputs(p)
		default:
			err = fmt.Errorf("%w: %q among the outputs", ErrMalformed, byte(k))
		}
		if err != nil {
			return err
		}
	}
}

func (t *taking) takeOutput(p []byte) error {
	id, out, err := parseOutput(p)
	if err != nil {
		return err
	}
	a := t.arrived[id]
	if a == nil || a.Arrival == nil {
		return fmt.Errorf("%w: output of session %d, which there is not", ErrMalformed, id)
	}
	if a.sealed {
		return fmt.Errorf("%w: output of session %d comes twice", ErrMalformed, id)
	}
	out.Bytes = bytes.Clone(out.Bytes)
	a.out, a.sealed = *out, true
	step("output", 0)
	return nil
}

// endOutputs says that all have come. A session without its output would lose what was accepted, and nobody would know.
func (t *taking) endOutputs(p []byte) error {
	in := &reader{rest: p}
	t.raiseLastID(in.number())
	for _, a := range t.order {
		if a.Arrival != nil && !a.sealed {
			in.fail(fmt.Sprintf("no output of session %d", a.ID()))
		}
	}
	return in.end()
}

func (t *taking) forget(p []byte) error {
	ids, err := parseIDs(p)
	if err != nil {
		return err
	}
	for _, id := range ids {
		a := t.arrived[id]
		if a == nil || a.Arrival == nil {
			return fmt.Errorf("%w: an end of session %d, which there is not", ErrMalformed, id)
		}
		a.discard()
		t.result.Ended++
	}
	return nil
}

// giveUp closes what came, of which the other process has all.
func (t *taking) giveUp(why error) {
	t.link.quit(why)
	for _, a := range t.arrived {
		a.discard()
	}
	if t.listener != nil {
		moving.The.LeaveListener(t.listener)
	}
	moving.The.LastID.CompareAndSwap(t.lastID, 0) // where no session was made here, the next Take may begin anew
}
