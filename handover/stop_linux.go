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
	late := g.until(ctx, all, moving.Leaver.Stopped)
	stopped := all[:0]
	for _, l := range all {
		if late[l] {
			l.stays = staysBusy
		} else {
			stopped = append(stopped, l)
		}
	}
	g.goOn(func(l *leaving) bool { return late[l] })
	late = g.until(ctx, stopped, moving.Leaver.Held)
	for l := range late {
		l.stays = staysBusy
	}
	g.goOn(func(l *leaving) bool { return late[l] })
}

// staysBusy says that a handler was at work, or a write under way, for longer than HandlerTime.
const staysBusy = "busy"

// until asks each until it says yes, and returns those that have not within HandlerTime. Each is asked once in any
// case.
func (g *giving) until(ctx context.Context, all []*leaving, ask func(moving.Leaver) bool) (late map[*leaving]bool) {
	ctx, cancel := context.WithTimeout(ctx, g.options.handlerTime())
	defer cancel()
	waits := all
	for {
		var still []*leaving
		for _, l := range waits {
			if !ask(l.Leaver) {
				still = append(still, l)
			}
		}
		if waits = still; len(waits) == 0 {
			return nil
		}
		select {
		case <-time.After(lookPeriod):
			continue
		case <-ctx.Done():
		}
		late = make(map[*leaving]bool, len(waits))
		for _, l := range waits {
			late[l] = true
		}
		return late
	}
}

// lookPeriod is how often sessions are asked whether they have stopped.
const lookPeriod = 500 * time.Microsecond

// goOn has sessions be served here.
func (g *giving) goOn(which func(*leaving) bool) {
	for i := range g.leaving {
		if l := &g.leaving[i]; which(l) && !l.on {
			l.on = true
			l.GoOn()
		}
	}
}
