package handover

import (
	"context"
	"time"

	"github.com/libnet-go/libnet/internal/moving"
)

// stop stops the receivers, and then, with no handler at work that would send to others, what is written.
func (g *giving) stop(ctx context.Context) {
	for _, l := range g.giver.Sessions() {
		g.leaving = append(g.leaving, leaving{Leaver: l, id: l.ID(), stays: l.Stays()})
	}
	all := make([]*leaving, 0, len(g.leaving))
	for i := range g.leaving {
		if l := &g.leaving[i]; l.stays == "" {
			l.Stop()
			all = append(all, l)
		}
	}
	late := g.until(ctx, all, moving.Leaver.Stopped, moving.Leaver.Wakes)
	stopped := all[:0]
	for _, l := range all {
		if late[l] {
			l.stays = staysBusy
		} else {
			stopped = append(stopped, l)
		}
	}
	g.goOn(func(l *leaving) bool { return late[l] })
	late = g.until(ctx, stopped, moving.Leaver.Held, func(moving.Leaver) bool { return false })
	for l := range late {
		l.stays = staysBusy
	}
	g.goOn(func(l *leaving) bool { return late[l] })
}

// staysBusy says that a handler was at work, or a write under way, for longer than HandlerTime.
const staysBusy = "busy"

// until asks each until it says yes, and returns those that have not within HandlerTime: they are at work. Each is
// asked once in any case; one of which soon says that it is not at work has wakeTime.
func (g *giving) until(ctx context.Context, all []*leaving, ask, soon func(moving.Leaver) bool) (late map[*leaving]bool) {
	late = make(map[*leaving]bool)
	began := time.Now()
	for waits := all; ; time.Sleep(lookPeriod) {
		waited := time.Since(began)
		var still []*leaving
		for _, l := range waits {
			switch {
			case ask(l.Leaver):
			case ctx.Err() == nil && (waited < g.options.handlerTime() || waited < wakeTime && soon(l.Leaver)):
				still = append(still, l)
			default:
				late[l] = true
			}
		}
		if waits = still; len(waits) == 0 {
			return late
		}
	}
}

const (
	// lookPeriod is how often sessions are asked whether they have stopped.
	lookPeriod = 500 * time.Microsecond

	// wakeTime is how long a goroutine that waits for messages may take until the system lets it run.
	wakeTime = time.Second
)

// goOn has sessions be served here.
func (g *giving) goOn(which func(*leaving) bool) {
	for i := range g.leaving {
		if l := &g.leaving[i]; which(l) && !l.on {
			l.on = true
			l.GoOn()
		}
	}
}
