package handover

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/moving"
	"github.com/libnet-go/libnet/internal/usercode"
)

// Give has the process at the other end of conn, a Unix stream socket, take over srv: its listener and its live
// sessions, whose peers notice nothing but a pause. That process calls [Take].
//
// Until it has said that all is its own, nothing is lost here: with an error that wraps [ErrKept] srv goes on, with all
// its sessions, as if nothing had been. A Stop, Shutdown or Drain of srv before that ends Give: the error then wraps
// [libnet.ErrServerClosed], too. After that the sessions that could not move are ended as [libnet.Server.Drain] does,
// and so is srv: Serve and ServeMessages return when Give does. An error is then Drain's. ctx bounds all of it; conn
// stays the caller's, and is of no more use.
//
// The sessions that have moved end here with [libnet.ErrHandedOver]: Done, close callbacks and Receive tell of it.
func Give(ctx context.Context, conn *net.UnixConn, srv *libnet.Server, o GiveOptions) (Result, error) {
	ctx = usercode.Context(ctx, "handover.Give")
	g := &giving{link: newLink(conn), giver: moving.The.Giver(srv), options: o, introduced: map[uint64]bool{}}
	defer g.link.close()
	if err := g.giveUntilStopped(ctx); err != nil {
		g.link.quit(err)
		return Result{}, fmt.Errorf("%w: %w", ErrKept, err)
	}
	return g.result, srv.Drain(ctx, o.Drain)
}

// A giving is one call of Give.
type giving struct {
	link    *link
	giver   moving.Giver
	options GiveOptions
	result  Result

	introduced map[uint64]bool // sessions, by number
	leaving    []leaving
	buf        []byte
}

// A leaving is a session that is to move, as far as it has come.
type leaving struct {
	moving.Leaver
	id    uint64
	state []byte // the user's
	stays string // why it does not move; empty for one that does
	on    bool   // it goes on here
}

// giveUntilStopped is give that a Stop, Shutdown or Drain of the server ends, too: what is ended is not to be given.
func (g *giving) giveUntilStopped(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-g.giver.Stopped():
			cancel(libnet.ErrServerClosed)
		case <-ctx.Done():
		}
	}()
	defer bounded(ctx, g.link.conn)()
	return because(ctx, g.give(ctx))
}

// give returns nil when the other process has the server.
func (g *giving) give(ctx context.Context) error {
	if err := g.greet(); err != nil {
		return err
	}
	if err := g.introduceAll(ctx); err != nil {
		return err
	}
	if err := g.giver.Pause(); err != nil {
		return err
	}
	ctx, cancel := g.bounded(ctx)
	defer cancel()
	began := time.Now()
	err := g.move(ctx)
	g.result.Paused = time.Since(began)
	if err != nil {
		g.goOn(func(*leaving) bool { return true })
		g.giver.Resume()
		return because(ctx, err)
	}
	g.leave()
	return nil
}

// greet waits until the other process has made its server of the listener. Nothing stands still meanwhile.
func (g *giving) greet() error {
	raw, unlinks := g.giver.Listener()
	if raw == nil {
		return errors.New("handover: a listener that package net and libnet.Serve have not made")
	}
	if err := g.link.attach(raw.Control); err != nil {
		return err
	}
	if err := g.link.send(kindHello, hello{moving.The.LastID.Load(), unlinks}.append(nil)); err != nil {
		return err
	}
	if err := g.link.flush(); err != nil {
		return err
	}
	_, err := g.link.expect(kindReady)
	return err
}

// bounded has what waits in the link end after Pause.
func (g *giving) bounded(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, g.options.pause())
	stop := bounded(ctx, g.link.conn)
	return ctx, func() {
		stop()
		cancel()
	}
}

// introduceAll has the other process know the sessions, and have their descriptors, before anything stands still. A
// connection that is closed here meanwhile is so for its peer when the other process has closed it, too; so this is
// bounded as well.
func (g *giving) introduceAll(ctx context.Context) error {
	ctx, cancel := g.bounded(ctx)
	defer cancel()
	for _, l := range g.giver.Sessions() {
		if l.Stays() != "" {
			continue
		}
		if _, err := g.introduce(l); err != nil {
			return because(ctx, err)
		}
	}
	return because(ctx, g.link.flush())
}

// introduce reports whether the other process knows the session: else it is too early, or has ended.
func (g *giving) introduce(l moving.Leaver) (known bool, err error) {
	if g.introduced[l.ID()] {
		return true, nil
	}
	i, ok := l.Introduce()
	if !ok {
		return false, nil
	}
	if err := g.link.attach(l.Control); err != nil {
		if l.Session().(*libnet.Session).IsClosed() {
			return false, nil
		}
		return false, err
	}
	g.introduced[i.ID] = true
	g.buf = appendIntroduction(g.buf[:0], &i)
	return true, g.link.send(kindIntro, g.buf)
}

// move is what happens while the sessions stand still.
func (g *giving) move(ctx context.Context) error {
	g.stop(ctx)
	if err := g.freeze(ctx); err != nil {
		return err
	}
	if err := g.sendSessions(); err != nil {
		return err
	}
	if err := g.awaitHeld(); err != nil {
		return err
	}
	if err := g.sendOutputs(); err != nil {
		return err
	}
	return g.awaitTaken()
}

// freeze asks the user for what is his of each session.
func (g *giving) freeze(ctx context.Context) error {
	if g.options.Freeze == nil {
		return nil
	}
	states := make([][]byte, len(g.leaving))
	refused, err := callEach(ctx, len(g.leaving), func(i int) (err error) {
		if l := &g.leaving[i]; l.stays == "" {
			states[i], err = g.options.Freeze(l.Session().(*libnet.Session))
		}
		return err
	})
	if err != nil {
		return err
	}
	for i := range g.leaving {
		if g.leaving[i].state = states[i]; refused[i] {
			g.leaving[i].stays = staysRefused
		}
	}
	return nil
}

func (g *giving) sendSessions() error {
	n := 0
	for i := range g.leaving {
		l := &g.leaving[i]
		if l.stays != "" {
			continue
		}
		sent, err := g.sendSession(l)
		if err != nil {
			return err
		}
		if sent {
			n++
		}
	}
	end := binary.AppendUvarint(nil, uint64(n))
	if err := g.link.send(kindEnd, binary.AppendUvarint(end, moving.The.LastID.Load())); err != nil {
		return err
	}
	return g.link.flush()
}

// sendSession sends a session; not sent says that it stays, or has ended.
func (g *giving) sendSession(l *leaving) (sent bool, err error) {
	r, err := l.Record()
	if err != nil {
		if l.stays = err.Error(); l.Session().(*libnet.Session).IsClosed() {
			l.stays = staysEnded
		}
		return false, nil
	}
	if known, err := g.introduce(l.Leaver); !known || err != nil {
		l.stays = staysEnded
		return false, err
	}
	r.State = l.state
	g.buf = appendRecord(g.buf[:0], &r)
	if len(g.buf) > maxMessage {
		l.stays = staysLarge
		return false, nil
	}
	return true, g.link.send(kindRecord, g.buf)
}

// Why sessions stay, beyond what the root package says.
const (
	staysRefused = "refused"   // by Freeze or Thaw, or by the other process's protocol
	staysLarge   = "too large" // what is unread, or the state, is
	staysEnded   = "ended"     // and so does not stay
)

// awaitHeld waits until the other process has the sessions, and learns which it refuses.
func (g *giving) awaitHeld() error {
	p, err := g.link.expect(kindHeld)
	if err != nil {
		return err
	}
	ids, err := parseIDs(p)
	if err != nil {
		return err
	}
	refused := make(map[uint64]bool, len(ids))
	for _, id := range ids {
		refused[id] = true
	}
	for i := range g.leaving {
		if l := &g.leaving[i]; l.stays == "" && refused[l.id] {
			l.stays = staysRefused
		}
	}
	return nil
}

// sendOutputs sends what is to be written, which has grown until now, and which sessions have ended.
func (g *giving) sendOutputs() error {
	var gone []uint64
	for i := range g.leaving {
		l := &g.leaving[i]
		if l.stays != "" {
			continue
		}
		out, ok := l.Seal()
		if !ok {
			gone = append(gone, l.id)
			l.stays = staysEnded
			continue
		}
		if g.buf = appendOutput(g.buf[:0], l.id, &out); len(g.buf) > maxMessage {
			gone = append(gone, l.id)
			l.stays = staysLarge
			continue
		}
		if err := g.link.send(kindOutput, g.buf); err != nil {
			return err
		}
	}
	if err := g.link.send(kindGone, appendIDs(nil, gone)); err != nil {
		return err
	}
	if err := g.link.send(kindGo, binary.AppendUvarint(nil, moving.The.LastID.Load())); err != nil {
		return err
	}
	return g.link.flush()
}

// awaitTaken waits for the other process's word that all is its own. That word, in the socket or not, decides: where it
// does not come in time, none can come any more once the socket takes no input.
func (g *giving) awaitTaken() error {
	_, err := g.link.expect(kindTaken)
	if err == nil {
		return nil
	}
	g.link.readLast()
	if _, late := g.link.expect(kindTaken); late == nil {
		return nil
	}
	return err
}

// leave ends here what the other process has. Nothing of that is urgent but that nobody here is woken by what arrives
// there: so it goes in steps, between which the other process, whose peers wait, has the machine.
func (g *giving) leave() {
	g.giver.Left()
	for i := range g.leaving {
		if l := &g.leaving[i]; l.stays == "" {
			l.Forget()
		}
	}
	g.goOn(func(l *leaving) bool { return l.stays != "" })
	g.result.Stayed = make(map[string]int)
	for i := range g.leaving {
		switch l := &g.leaving[i]; l.stays {
		case "":
			if g.result.Moved++; g.result.Moved%leaveStep == 0 {
				time.Sleep(leaveRest)
			}
			l.Leave()
		case staysEnded:
			g.result.Ended++
		default:
			g.result.Stayed[l.stays]++
		}
	}
}

const (
	leaveStep = 100 // sessions
	leaveRest = 2 * time.Millisecond
)
