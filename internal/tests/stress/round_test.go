package stress

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// Numbers of senders. Each is of one end, or of the round.
const (
	firstReplier     = 1000
	firstBroadcaster = 2000
	heart            = 3000
)

var errByHandler = errors.New("the handler has had enough")

// A round is one plan being carried out.
type round struct {
	plan
	t        testing.TB
	srv      *libnet.Server
	listener net.Listener
	served   chan error
	sessions chan *libnet.Session

	servers, clients []*end
	conns            []clientConn
	group            libnet.Group[int]
	broadcast        atomic.Uint64 // to how many members in all
	senders          atomic.Int64  // numbers given away
	sending          sync.WaitGroup
	busy             sync.WaitGroup // all else that uses sessions
	beating          sync.Map       // of *receiving, by their *libnet.Session
}

func newRound(t testing.TB, p plan) *round {
	r := &round{plan: p, t: t, served: make(chan error, 1), sessions: make(chan *libnet.Session, p.Conns)}
	r.listener = testkit.Listen(t, r.network())
	r.srv = libnet.NewServer(r.listener, testkit.Spoken(p.Transport, r.protocol()), p.Queue)
	r.srv.Logger = testkit.Quiet
	r.srv.ServeArrived = p.Arrived
	p.configure(&r.srv.Config)
	r.srv.Histograms = p.Seldom.Histograms
	if p.Seldom.Beat > 0 {
		r.srv.Heartbeat = libnet.Heartbeat{Interval: p.Seldom.Beat, Message: r.beat}
	}
	if testkit.HasTLS(p.Transport) {
		r.srv.TLSConfig = testkit.ServerTLS()
	}
	return r
}

func (r *round) protocol() libnet.Protocol {
	if r.Plain {
		return testkit.Plain64K
	}
	return testkit.Frames64K
}

func (r *round) run() {
	r.connectAll()
	for i := range r.servers {
		for range r.Senders {
			r.startSender(r.servers[i])
			r.startSender(r.clients[i])
		}
	}
	for i := range r.Broadcasts {
		r.sending.Go(func() { r.broadcastAll(firstBroadcaster + i) })
	}
	if r.End != "none" {
		time.Sleep(r.EndAfter)
		r.end()
	}
	r.await("who sends and receives", r.endRest)
	r.check()
}

// endRest has all end that the plan's end has left, or in good order where the plan has none.
func (r *round) endRest() {
	r.sending.Wait()
	if r.End == "none" {
		var shutdowns sync.WaitGroup
		for _, e := range r.servers {
			shutdowns.Go(func() { r.shutdown(e) })
		}
		shutdowns.Wait()
	}
	r.srv.Stop()
	for i, e := range r.clients {
		r.letTake(e)
		_ = e.Close()
		r.conns[i].Close()
	}
	r.busy.Wait()
	for i := range r.clients {
		<-r.clients[i].Done()
		<-r.servers[i].Done()
	}
	if err := <-r.served; !errors.Is(err, libnet.ErrServerClosed) {
		r.t.Errorf("serving ended with %v", err)
	}
}

// letTake leaves a session time to take what has arrived: a client of package ws knows of an end in good order before
// it has received what came ahead of that, and what a Close cuts off then Stats need not know.
func (r *round) letTake(e *end) {
	if !r.Dialled || !r.overWeb() {
		return
	}
	select {
	case <-e.Done():
	case <-time.After(time.Second):
	}
}

// await has f return within a bound that has room for all that is bounded, several times. A round has up to 200 MB to
// send, which takes a busy machine with the race detector longer: the bound is for how long nothing moves.
func (r *round) await(what string, f func()) {
	r.t.Helper()
	const bound = 3 * testkit.Patience
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	still := time.NewTicker(bound)
	defer still.Stop()
	for moved := r.moved(); ; {
		select {
		case <-done:
			return
		case <-still.C:
		}
		before := moved
		if moved = r.moved(); moved == before {
			r.t.Fatalf("%s: nothing has moved for %v", what, bound)
		}
	}
}

func (r *round) moved() (n uint64) {
	for i := range r.servers {
		n += r.servers[i].moved() + r.clients[i].moved()
	}
	return n + r.broadcast.Load()
}

// startSender has somebody send, in one of the ways there are.
func (r *round) startSender(e *end) {
	a := e.account(int(r.senders.Add(1)))
	rng := rand.New(rand.NewPCG(r.Seed, uint64(a.sender)))
	r.sending.Go(func() {
		for number := range r.Messages {
			if r.sendOne(rng, e, a, testkit.Message(a.sender, number, rng.IntN(r.Max))) && e.IsClosed() {
				return
			}
			if rng.IntN(20) == 0 {
				time.Sleep(time.Duration(rng.IntN(300)) * time.Microsecond)
			}
		}
	})
}

// sendOne reports whether the message was refused.
func (r *round) sendOne(rng *rand.Rand, e *end, a *account, msg []byte) bool {
	var err error
	switch rng.IntN(5) {
	case 0:
		err = e.Send(msg)
	case 1, 2:
		err = e.SendBytes(msg)
	case 3:
		err = e.SendContext(context.Background(), msg)
	case 4:
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(2000))*time.Microsecond)
		defer cancel()
		err = e.SendBytesContext(ctx, msg)
	}
	switch {
	case err == nil:
		e.enter(a, accepted)
	case errors.Is(err, context.DeadlineExceeded) && r.Queue == 0:
		e.enter(a, unsure)
	default:
		e.enter(a, refused)
	}
	return err != nil
}

func (r *round) broadcastAll(sender int) {
	rng := rand.New(rand.NewPCG(r.Seed, uint64(sender)))
	for number := range r.Messages {
		result := r.group.Broadcast(testkit.Message(sender, number, rng.IntN(r.Max)))
		r.broadcast.Add(uint64(result.Sent))
		if r.group.Len() == 0 {
			return
		}
		time.Sleep(time.Duration(rng.IntN(200)) * time.Microsecond)
	}
}

// beat is a session's heartbeat, of whom each is sent before the next is asked for.
func (r *round) beat(s *libnet.Session) any {
	known, ok := r.beating.Load(s)
	if !ok {
		return nil
	}
	rec := known.(*receiving)
	rec.beats++
	rec.unsure.Add(1)
	return testkit.Message(heart, rec.beats, rec.beats%rec.Max)
}

// receiving is what an end does with a message: it notes it, and may answer it, or end the session.
type receiving struct {
	*round
	*end
	replies *account // nil: none
	n       int
	beats   int // belongs to beat
}

func (r *round) receiving(e *end) *receiving {
	rec := &receiving{round: r, end: e}
	if r.Replies && e.name == serverEnd {
		rec.replies = e.account(firstReplier + int(r.senders.Add(1)))
	}
	return rec
}

func (rec *receiving) message(msg []byte) {
	rec.took(msg)
	defer rec.handledOne()
	rec.n++
	if rec.Slow > 0 && rec.n%16 == 0 {
		time.Sleep(rec.Slow)
	}
	if rec.replies != nil {
		reply := testkit.Message(rec.replies.sender, len(rec.replies.fate), len(msg)%rec.Max)
		if rec.Session.Send(reply) == nil {
			rec.enter(rec.replies, accepted)
		} else {
			rec.enter(rec.replies, refused)
		}
	}
	if rec.name == serverEnd && rec.n == rec.plan.Messages {
		switch rec.End {
		case "handler closes":
			_ = rec.CloseWithError(errByHandler)
		case "handler panics":
			panic("as the plan has it")
		}
	}
}

// receiveAll is the loop of who has one.
func (rec *receiving) receiveAll() {
	for {
		msg, err := rec.Receive()
		if err != nil {
			return
		}
		rec.message(msg)
	}
}

// check balances the books of all ends, and those of the server.
func (r *round) check() {
	sent := r.broadcast.Load()
	var want, spare, written uint64
	for i := range r.servers {
		r.servers[i].check(sent)
		r.clients[i].check(0)
		want += r.servers[i].accepted.Load()
		spare += r.servers[i].unsure.Load()
		written += r.servers[i].Stats().MessagesOut
	}
	testkit.Eventually(r.t, "the server to count no session", func() bool { return r.srv.Stats().Open == 0 })
	stats := r.srv.Stats()
	if fates := stats.MessagesOut + stats.Discarded; fates < want+sent || fates > want+sent+spare || stats.MessagesOut != written {
		r.t.Errorf("the server: %d messages written (its sessions: %d) and %d discarded; %d accepted, %d unsure, %d broadcast",
			stats.MessagesOut, written, stats.Discarded, want, spare, sent)
	}
	if r.srv.Manager().Len() != 0 || r.group.Len() != 0 {
		r.t.Errorf("left: %d sessions in the manager, %d in the group", r.srv.Manager().Len(), r.group.Len())
	}
}
