package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/trial"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

const (
	// users is how many talk.
	users = 60
	// thinking is how long a user thinks before a message, on average.
	thinking = 400 * time.Millisecond
	// sending is how long a message is repeated that is not acknowledged; what has not been by then is a fault.
	sending = 30 * time.Second
	// tokenLife is that of tokens: longer than a clock is wrong.
	tokenLife = 7 * 24 * time.Hour
	// askEvery is how often the gateway is asked, besides by the users.
	askEvery = 20 * time.Millisecond
	// before is how long they talk before a fault.
	before = 500 * time.Millisecond
	// delivery bounds how long what was acknowledged may be on its way; what has not come then is lost.
	delivery = 15 * time.Second
	// healing bounds how long everything may take to be whole again. NATS may take half a minute for a replica to
	// follow where the processors have ten times as much to do.
	healing = 60 * time.Second
)

// A programme is one that runs.
type programme struct {
	in       *installation
	report   *trial.Report
	log      *slog.Logger                     // the users'
	note     func(format string, args ...any) // tells who watches what is going on
	observer *observer
	registry *registry.Watcher
	crowd    *trial.Crowd
	answers  *trial.Answers
	talk     *trial.Talk // the one during which a fault is tried
	closers  []func()
}

// A fault is one of the catalogue.
type fault struct {
	name, about string
	needs       need
	silence     time.Duration // at most, in which nothing at all is acknowledged
	wait        time.Duration // at most, of one user for an acknowledgement
	do          func(ctx context.Context, p *programme, f *finding) error
}

// need is what a fault cannot be tried without.
type need int

const (
	nothing need = iota
	sandbox      // a network and disks of its own
)

// begin starts everything, and has the users log in.
func (p *programme) begin(ctx context.Context) (err error) {
	if err := p.in.start(); err != nil {
		return err
	}
	if p.observer, err = p.in.observe(); err != nil {
		return err
	}
	p.closers = append(p.closers, p.observer.nc.Close)
	etcd, err := registry.Connect(p.in.etcd.addr)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, func() { _ = etcd.Close() })
	p.registry = registry.Watch(etcd, registry.WatchOptions{Logger: p.log})
	p.closers = append(p.closers, p.registry.Close)
	p.note("the servers start")
	if why := p.awaitWhole(ctx); why != "" {
		return errors.New(why)
	}
	p.crowd = trial.NewCrowd(trial.CrowdOptions{
		Gateway: p.in.gateway.addr, Token: p.token, Users: users, Thinking: thinking, Sending: sending, Logger: p.log,
	})
	p.closers = append(p.closers, p.crowd.Close)
	p.note("%d users log in", users)
	if failed := p.crowd.LogIn(ctx); len(failed) > 0 {
		return fmt.Errorf("%d of %d users are not logged in: %w", len(failed), users, failed[0])
	}
	p.answers = trial.StartAnswers(p.in.gateway.addr, askEvery)
	p.closers = append(p.closers, p.answers.Stop)
	return ctx.Err()
}

func (p *programme) token(user int64) string { return p.in.tokens.Issue(user, tokenLife) }

// try tries one fault while everybody talks. Its error ends the programme.
func (p *programme) try(ctx context.Context, f fault) error {
	if f.needs == sandbox && p.in.net == nil {
		p.report.Skip(f.name, "needs root, namespaces and /dev/net/tun")
		return nil
	}
	p.note("%s: %s", f.name, f.about)
	talk := p.crowd.StartTalk(ctx)
	p.talk = talk
	wait.Pause(ctx, before)
	found := &finding{}
	if err := f.do(ctx, p, found); err != nil {
		found.check(false, "it went wrong: %v", err)
	}
	whole := p.heal(ctx, found)
	wait.Pause(ctx, before)
	audit, err := p.crowd.Finish(ctx, talk, delivery)
	if err != nil {
		return err
	}
	if !whole {
		p.startAnew(ctx)
	}
	all := &finding{}
	all.check(audit.OK(), "%v", audit)
	all.most("silence", talk.Silence(talk.Lasted()), f.silence)
	all.most("longest wait", longest(talk.Waits()), f.wait)
	all.figures = append(all.figures, found.figures...)
	p.report.Promise(!all.broken && !found.broken, f.name, "%v", all)
	return nil
}

// heal brings everything back that a fault may have left, and notes how long that takes the servers.
func (p *programme) heal(ctx context.Context, f *finding) (whole bool) {
	if p.in.net != nil {
		p.in.net.Mend()
	}
	began := time.Now()
	if err := p.in.start(); err != nil {
		f.check(false, "a server does not start again: %v", err)
	}
	if why := p.awaitWhole(ctx); why != "" {
		f.check(false, "not whole again after %v: %s", healing, why)
		return false
	}
	f.note("whole after %v", round(time.Since(began)))
	return true
}

// startAnew is for what does not get well by itself: an operator's last means.
func (p *programme) startAnew(ctx context.Context) {
	p.note("everything is started anew")
	for _, s := range p.in.processes() {
		s.Kill()
	}
	// An access server ends when the name that it had is still taken, as it is for longer after a restart of etcd: it
	// is started again.
	whole := func() bool { return p.in.start() == nil && p.missing(ctx) == "" }
	wait.Until(ctx, healing/4, whole)
	p.crowd.Revive()
	wait.Until(ctx, healing, whole)
}

// awaitWhole waits until all is as it should be, and says what is not after too long.
func (p *programme) awaitWhole(ctx context.Context) (why string) {
	ctx, cancel := context.WithTimeout(ctx, healing)
	defer cancel()
	for {
		if why = p.missing(ctx); why == "" {
			return ""
		}
		if !wait.Pause(ctx, 20*time.Millisecond) {
			return why
		}
	}
}

// missing says what is not as it should be, the first thing that it finds.
func (p *programme) missing(ctx context.Context) string {
	for _, s := range p.in.processes() {
		if !s.Running() {
			return s.Name + " does not run"
		}
	}
	for _, s := range p.in.access {
		if known, ok := p.registry.Snapshot().Get(s.Name); !ok || known.Draining {
			return s.Name + " is not in the registry"
		}
	}
	if user := p.loggedOut(); user != "" {
		return user
	}
	if name := p.observer.behind(ctx); name != "" {
		return name + " has no leader, or a replica is behind"
	}
	if p.crowd != nil {
		return p.unserved(ctx)
	}
	return ""
}

// loggedOut names a user who is not logged in.
func (p *programme) loggedOut() string {
	if p.crowd == nil {
		return ""
	}
	for _, u := range p.crowd.Users {
		if u.Login().Server == "" {
			return fmt.Sprintf("user %d is not logged in (%v)", u.ID, u.Client.Err())
		}
	}
	return ""
}

// unserved names an access server that seems to be there, and takes no user or no message.
func (p *programme) unserved(ctx context.Context) string {
	for _, s := range p.in.access {
		if err := p.serves(ctx, s); err != nil {
			return fmt.Sprintf("%s serves nobody: %v", s.Name, err)
		}
	}
	return ""
}

// all looks at everything that was said.
func (p *programme) all() {
	sum := p.crowd.Audit()
	p.report.Promise(sum.OK(), "all", "%v", sum)
}

func (p *programme) stop() {
	for _, closer := range slices.Backward(p.closers) {
		closer()
	}
	p.in.stop()
}

// longest of some durations, 0 of none.
func longest(durations []time.Duration) (most time.Duration) {
	for _, d := range durations {
		most = max(most, d)
	}
	return most
}
