// Game is the loop of a game's server: a world that goes on 20 times a second, and players who are sent its newest
// state.
//
//	$ game -listen localhost:7100                 $ game -bots 50    # in another terminal; each until Ctrl-C
//	players at 127.0.0.1:7100; Ctrl-C ends it     50 bots: 1000 states in a second
//	                                              $ game -bots 1 -think 500ms    # half a second for each state
//	157 ticks; of 3005 steps 3005 taken           1 bots: 2 states in a second
//
// A player's message is the newest tick that it has seen, and a step: {tick uint32, dx, dy uint8}. A state is the tick,
// where the player is, and where everybody is: {tick uint32, x, y uint8}, and {x, y uint8} of each. The world's edges
// meet.
package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

var protocol = codec.New(codec.Uint16BE, codec.Bytes)

// A slow player is to get fewer states, and not older ones. SendQueue 1 with DropOldest has this process keep only the
// newest. What the kernels of both sides hold, many seconds of states, nobody can take back: so tick looks at what a
// player has seen.
var limits = libnet.Config{
	SendQueue:        1,
	OnFull:           libnet.DropOldest,
	MaxMessage:       4 << 10,                         // bytes; a state of all players has 2,006
	RateLimit:        libnet.RateLimit{Messages: 100}, // a second; who sends more steps is made to wait
	HandshakeTimeout: 10 * time.Second,                // until the first step
	IdleTimeout:      30 * time.Second,
}

// window is how many ticks a player may be behind before it gets no state until it has seen the last. A round trip
// below that, 200 ms, misses no state; a longer one brings one, the newest.
const window = 4

// A world belongs to the goroutine of serve. Others give it functions to call, and wait where it is behind: no step is
// lost, and in event mode a handler that waits holds up its own player only.
type world struct {
	todo    chan func()
	now     uint32 // the tick
	players map[*player]bool
	steps   int
}

// A player is the State of a session. It belongs to the world.
type player struct {
	session    *libnet.Session
	x, y       uint8
	sent, seen uint32 // ticks
}

func main() {
	listen := flag.String("listen", "", "serve players at this `address`")
	connect := flag.String("connect", "localhost:7100", "the `address` of the bots' server")
	bots := flag.Int("bots", 0, "be so many players")
	think := flag.Duration("think", 0, "how long each of them takes for a state")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := errors.New("-listen makes a server, -bots players")
	if *listen != "" {
		err = serve(ctx, *listen, os.Stdout)
	} else if *bots > 0 {
		err = play(ctx, *connect, *bots, *think, os.Stdout)
	}
	if err != nil {
		log.Fatal("game: ", err)
	}
}

// serve is game -listen.
func serve(ctx context.Context, address string, stdout io.Writer) error {
	server, err := libnet.Serve("tcp", address, protocol, 1)
	if err != nil {
		return err
	}
	w := &world{todo: make(chan func(), 256), players: make(map[*player]bool)}
	server.Config, server.MaxSessions, server.OnSession = limits, 1000, w.enter
	server.ServeArrived = true // steps that have arrived when the server ends are taken
	fmt.Fprintf(stdout, "players at %v; Ctrl-C ends it\n", server.Listener().Addr())
	ended := make(chan error, 1)
	steps := func() error { return server.ServeMessages(libnet.MessageHandlerFunc(w.step)) }
	go func() { ended <- server.ServeUntil(ctx, 10*time.Second, steps) }() // the world goes on until all have left it
	for ticks := time.Tick(time.Second / 20); ; {                          // fewer where the world is late
		select {
		case f := <-w.todo:
			f()
		case <-ticks:
			w.tick()
		case err := <-ended:
			for len(w.todo) > 0 {
				(<-w.todo)()
			}
			fmt.Fprintf(stdout, "%d ticks; of %d steps %d taken\n", w.now, server.Stats().MessagesIn, w.steps)
			return err
		}
	}
}

// enter is the server's OnSession.
func (w *world) enter(s *libnet.Session) error {
	p := &player{session: s}
	s.State = p
	w.todo <- func() { w.players[p], p.sent, p.seen = true, w.now, w.now }
	s.OnClose(func() { w.todo <- func() { delete(w.players, p) } })
	return nil
}

// step is the message handler. msg is its until it returns: the world is given the numbers.
func (w *world) step(s *libnet.Session, msg []byte) {
	if len(msg) != 6 {
		s.CloseWithError(errors.New("that was no step"))
		return
	}
	p, seen, dx, dy := s.State.(*player), binary.BigEndian.Uint32(msg), msg[4], msg[5]
	w.todo <- func() {
		p.seen = min(max(p.seen, seen), p.sent) // nobody has seen the future
		p.x, p.y = p.x+dx, p.y+dy
		w.steps++
	}
}

// tick sends the new state to all who are not behind.
func (w *world) tick() {
	w.now++
	state := append(binary.BigEndian.AppendUint32(nil, w.now), 0, 0)
	for p := range w.players {
		state = append(state, p.x, p.y)
	}
	for p := range w.players {
		if p.seen < p.sent && w.now-p.seen > window {
			continue
		}
		state[4], state[5] = p.x, p.y
		if p.session.Send(state) == nil { // else it has ended, and leaves
			p.sent = w.now
		}
	}
}

// play is game -bots.
func play(ctx context.Context, address string, n int, think time.Duration, stdout io.Writer) (err error) {
	var states atomic.Int64
	errs := make(chan error, n)
	for range n {
		go func() { errs <- bot(ctx, address, think, &states) }()
	}
	for seconds := time.Tick(time.Second); n > 0; {
		select {
		case <-seconds:
			fmt.Fprintf(stdout, "%d bots: %d states in a second\n", n, states.Swap(0))
		case ended := <-errs:
			err, n = cmp.Or(err, ended), n-1
		}
	}
	return err
}

// bot takes a step for each state.
func bot(ctx context.Context, address string, think time.Duration, states *atomic.Int64) error {
	s, err := libnet.ConnectTimeout("tcp", address, 10*time.Second, protocol, 1)
	for err == nil && ctx.Err() == nil {
		var state []byte
		if state, err = s.Receive(); err == nil {
			states.Add(1)
			time.Sleep(think)
			err = s.SendContext(context.Background(), append(state[:4], byte(rand.IntN(3)-1), byte(rand.IntN(3)-1)))
		}
	}
	if s != nil {
		s.Shutdown(context.Background())
	}
	return err
}
