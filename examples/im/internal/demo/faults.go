package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/trial"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

// drainTimeout is how long an access server may take to deliver what it has acknowledged.
const drainTimeout = 10 * time.Second

// kill ends an access server as a crash does while everybody talks.
func (d *demo) kill(ctx context.Context) error {
	t := d.crowd.StartTalk(ctx)
	wait.Pause(ctx, d.o.talking)
	server := d.s.Remove()
	d.note("%s is killed, with %d users", server.ID, len(d.crowd.At(server.Addr)))
	moved := d.crowd.At(server.Addr)
	noticed := d.watchNotice(ctx, server.ID)
	began := time.Now()
	server.Kill()
	back := d.crowd.Away(ctx, moved, server.Addr, began)
	wait.Pause(ctx, d.o.talking)
	a, err := d.crowd.Finish(ctx, t, d.o.delivery)
	if err != nil {
		return err
	}
	d.promiseMoved("killed server", a, moved, back)
	d.promiseNotice("crash noticed", server, began, <-noticed, d.o.limits.crashNotice)
	return ctx.Err()
}

// drain ends an access server as a new version's installation does.
func (d *demo) drain(ctx context.Context) error {
	if _, err := d.s.StartServer(ctx); err != nil {
		return err
	}
	if err := d.s.AwaitKnown(ctx); err != nil {
		return err
	}
	t := d.crowd.StartTalk(ctx)
	wait.Pause(ctx, d.o.talking)
	slowest, err := d.slowestNews(ctx)
	if err != nil {
		return err
	}
	d.note("what a server says is known after %v at the most", slowest.Round(100*time.Microsecond))
	server := d.s.Remove()
	moved := d.crowd.At(server.Addr)
	d.note("%s is drained, with %d users", server.ID, len(moved))
	draining, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	noticed := d.watchNotice(ctx, server.ID)
	began := time.Now()
	drainErr := server.Drain(draining)
	back := d.crowd.Away(ctx, moved, server.Addr, began)
	wait.Pause(ctx, d.o.talking)
	a, err := d.crowd.Finish(ctx, t, d.o.delivery)
	if err != nil {
		return err
	}
	if a.Failed == nil {
		a.Failed = drainErr
	}
	d.promiseMoved("drained server", a, moved, back)
	// Nothing waits on the way, but on a busy machine all of it takes its time.
	limit := d.o.limits.drainNotice + time.Duration(d.o.limits.drainNews)*slowest
	d.promiseNotice("drain noticed", server, began, <-noticed, limit.Round(time.Millisecond))
	return nil
}

func (d *demo) promiseMoved(name string, a trial.Audit, moved []*trial.User, back time.Duration) {
	kept := a.OK() && len(moved) > 0 && back > 0
	where := fmt.Sprintf("its %d users elsewhere after %v", len(moved), back.Round(10*time.Millisecond))
	if back == 0 {
		where = fmt.Sprintf("not all of its %d users are elsewhere", len(moved))
	}
	d.report.Promise(kept, name, "%v; %s", a, where)
}

// watchNotice sends the time at which the gateway no longer has a server among those that it chooses from, or the zero
// time when that takes too long.
func (d *demo) watchNotice(ctx context.Context, id string) <-chan time.Time {
	noticed := make(chan time.Time, 1)
	go func() {
		if awaitEach(ctx, time.Millisecond, func() bool {
			server, ok := d.s.Gateway.Servers().Get(id)
			return !ok || server.Draining
		}) {
			noticed <- time.Now()
			return
		}
		noticed <- time.Time{}
	}()
	return noticed
}

// promiseNotice holds against each other what the gateway knew and what it said: its choice may pass a server over long
// before it knows that it has gone.
func (d *demo) promiseNotice(name string, server *access.Instance, began, noticed time.Time, limit time.Duration) {
	const unit = 100 * time.Microsecond
	said := d.answers.LastNamed(server.Addr, began)
	if noticed.IsZero() {
		d.report.Promise(false, name, "the gateway still chooses from %s (at most %v)", server.ID, limit)
		return
	}
	knew := noticed.Sub(began)
	d.report.Promise(max(knew, said) <= limit, name, "%s out of the gateway's list after %v, last answer with it after %v (at most %v)",
		server.ID, knew.Round(unit), said.Round(unit), limit)
}

// outage stops etcd. Meanwhile users talk, log in, and the gateway answers.
func (d *demo) outage(ctx context.Context) error {
	d.note("etcd is away for %v", d.o.outage)
	t := d.crowd.StartTalk(ctx)
	before := d.s.Gateway.Servers().Revision()
	began := time.Now()
	d.s.Etcd.Stop()
	if err := d.logInTwice(ctx); err != nil {
		return err
	}
	wait.Pause(ctx, time.Until(began.Add(d.o.outage)))
	if err := d.s.Etcd.Start(ctx); err != nil {
		return err
	}
	returned := time.Now()
	d.note("etcd is back")
	registered := d.awaitRegistered(ctx, before)
	took := time.Since(returned)
	a, err := d.crowd.Finish(ctx, t, d.o.delivery)
	if err != nil {
		return err
	}
	asked, failed := d.answers.Between(began, returned)
	d.report.Promise(failed == 0 && asked > 0, "picks, no etcd", "%s of %s picks failed in the %v without etcd",
		trial.Thousands(failed), trial.Thousands(asked), returned.Sub(began).Round(100*time.Millisecond))
	d.report.Promise(a.OK(), "messages, no etcd", "%v", a)
	servers := len(d.s.Running())
	d.report.Promise(registered == servers && took <= d.o.limits.etcdReturn, "etcd is back",
		"%d of %d access servers registered again after %v (at most %v)",
		registered, servers, took.Round(time.Millisecond), d.o.limits.etcdReturn)
	return nil
}

// awaitRegistered waits until the gateway knows of all servers what they have put in etcd after that revision, and
// returns of how many it does.
func (d *demo) awaitRegistered(ctx context.Context, revision int64) (registered int) {
	servers := d.s.Running()
	wait.Until(ctx, trial.Patience, func() bool {
		registered = 0
		list := d.s.Gateway.Servers()
		for _, server := range servers {
			if known, ok := list.Get(server.ID); ok && known.Report > revision {
				registered++
			}
		}
		return registered == len(servers)
	})
	return registered
}
