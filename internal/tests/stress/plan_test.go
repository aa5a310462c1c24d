package stress

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// A plan is what a round is made of.
type plan struct {
	Transport, Mode, End                      string
	Plain                                     bool // a codec with none of the optional interfaces, at both ends: not over WebSocket
	Dialled                                   bool // over WebSocket: the client is one of ws.Dial, whose connection nobody else has
	Queue, Bytes                              int
	OnFull                                    libnet.FullPolicy
	WriteTimeout, Linger                      time.Duration
	Arrived                                   bool // Server.ServeArrived
	Conns, Senders, Broadcasts, Messages, Max int
	Replies                                   bool          // the server's handler answers
	Slow                                      time.Duration // how long who receives takes for a message now and then
	EndAfter, EndWithin                       time.Duration // when the end begins, and how long a Shutdown has
	Seed                                      uint64        // of what senders draw
	Hang                                      time.Duration // how long a call of a connection hangs that does
	Seldom                                    seldom
}

// seldom are settings that most servers do without: a round has one of them on average.
type seldom struct {
	Rate               libnet.RateLimit
	Beat               time.Duration
	Histograms, Poison bool
	SendBuffer         int
}

func drawSeldom(r *rand.Rand) (s seldom) {
	on := func() bool { return r.IntN(4) == 0 }
	if on() {
		s.Rate = libnet.RateLimit{Messages: pick(r, 0, 2, 100), Bytes: pick(r, 0, 100_000, 1<<20)}
		s.Rate.Per, s.Rate.End = time.Millisecond, on()
	}
	if on() {
		s.Beat = pick(r, time.Nanosecond, 5*time.Millisecond)
	}
	if on() {
		s.SendBuffer = pick(r, 1, 10_000)
	}
	s.Histograms, s.Poison = on(), on()
	return s
}

var (
	transports = []string{"pipe", "small pipe", "net.Pipe", "short", "refusing", "tcp", "tcp", "unix", "tls", "tls", "ws", "ws", "wss", "wss", "hanging"}
	modes      = []string{"ServeMessages", "ServeMessages", "Serve", "Accept"}
	ends       = []string{
		"none", "none", "close", "shutdown", "handler closes", "handler panics", "server shutdown", "server stop",
		"peer closes", "peer shuts down", "peer half-closes", "peer resets", "both shut down",
	}
)

func roundName(number int) string { return fmt.Sprintf("round_%d", number) }

func draw(seed, number uint64) plan {
	r := rand.New(rand.NewPCG(seed, number))
	p := plan{
		Transport:    pick(r, transports...),
		Mode:         pick(r, modes...),
		End:          pick(r, ends...),
		Plain:        r.IntN(4) == 0,
		Queue:        pick(r, 0, 0, 1, 3, 16, 256),
		Bytes:        pick(r, 0, 0, -1, 100, 4<<10),
		OnFull:       pick(r, libnet.RejectNewest, libnet.RejectNewest, libnet.DropOldest, libnet.CloseSession),
		WriteTimeout: pick(r, 0, 0, 0, 20*time.Millisecond),
		Linger:       pick(r, 0, 100*time.Millisecond, time.Millisecond, -1),
		Arrived:      r.IntN(3) == 0,
		Conns:        1 + r.IntN(3),
		Senders:      1 + r.IntN(3),
		Broadcasts:   r.IntN(3),
		Messages:     pick(r, 5, 50, 300),
		Max:          pick(r, 20, 200, 3000, 60_000),
		Replies:      r.IntN(2) == 0,
		Slow:         pick(r, 0, 0, 50*time.Microsecond, 3*time.Millisecond),
		EndAfter:     time.Duration(r.IntN(int(pick(r, time.Millisecond, 20*time.Millisecond, 100*time.Millisecond)))),
		EndWithin:    pick(r, 2*time.Second, 2*time.Second, 5*time.Millisecond),
		Seed:         r.Uint64(),
		Dialled:      r.IntN(2) == 0,
		Hang:         pick(r, time.Millisecond, 30*time.Millisecond, 300*time.Millisecond),
	}
	p.Plain = p.Plain && !p.overWeb()
	p.Seldom = drawSeldom(r)
	return p
}

func (p *plan) overWeb() bool { return testkit.IsWeb(p.Transport) }

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// configure sets what both ends have.
func (p *plan) configure(c *libnet.Config) {
	c.SendQueueBytes, c.OnFull, c.WriteTimeout, c.Linger = p.Bytes, p.OnFull, p.WriteTimeout, p.Linger
	few := p.Seldom
	c.RateLimit, c.PoisonMessages, c.SendBuffer = few.Rate, few.Poison, few.SendBuffer
}
