package demo

import (
	"context"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/trial"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

const (
	// thinking is how long a user thinks before a message, on average.
	thinking = time.Second
	// askEvery is how often the gateway is asked, besides by the users.
	askEvery = 5 * time.Millisecond
)

// talk has users talk while nothing fails.
func (d *demo) talk(ctx context.Context) error {
	d.answers = trial.StartAnswers(d.s.Gateway.Addr(), askEvery)
	d.note("they talk")
	t := d.crowd.StartTalk(ctx)
	if err := d.forge(ctx); err != nil {
		return err
	}
	wait.Pause(ctx, 2*d.o.talking)
	a, err := d.crowd.Finish(ctx, t, d.o.delivery)
	if err != nil {
		return err
	}
	d.report.Promise(a.OK(), "messages", "%v", a)
	ack50, ack99 := trial.Percentiles(t.Waits())
	hear50, hear99 := trial.Percentiles(t.Hears())
	const unit = 10 * time.Microsecond
	d.note("stored and acknowledged after %v (p99 %v), heard after %v (p99 %v)",
		ack50.Round(unit), ack99.Round(unit), hear50.Round(unit), hear99.Round(unit))
	return nil
}
