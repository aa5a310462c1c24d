package faults

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

var errNoStream = errors.New("the stream has no leader, or no followers")

// leaderAndFollower are NATS servers, as the stream has them.
func (p *programme) leaderAndFollower(ctx context.Context) (leader, follower *server, err error) {
	name, followers, _ := p.observer.stream(ctx, streamName)
	if leader = p.in.natsNamed(name); leader == nil {
		return nil, nil, errNoStream
	}
	for _, s := range p.in.nats {
		if s != leader {
			follower = s
		}
	}
	if len(followers) > 0 {
		follower = p.in.natsNamed(followers[0])
	}
	return leader, follower, nil
}

// killLeader kills the leader twice. NATS elects another one after 4 to 9 s, at random (nats-server/server/raft.go,
// minElectionTimeout): what is promised of both is more than of the quicker one.
func killLeader(ctx context.Context, p *programme, f *finding) error {
	quicker := time.Duration(math.MaxInt64)
	for range 2 {
		leader, _, err := p.leaderAndFollower(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		leader.Kill()
		p.awaitStored(ctx)
		quicker = min(quicker, p.talk.Silence(began, time.Now()))
		if err := leader.Start(); err != nil {
			return err
		}
		if why := p.awaitWhole(ctx); why != "" {
			return errors.New(why)
		}
	}
	f.most("the quicker of two elections", quicker, 8*time.Second)
	return nil
}

// awaitStored waits until messages are acknowledged again after something that stops that: what was on its way may
// still come.
func (p *programme) awaitStored(ctx context.Context) {
	const late = 500 * time.Millisecond
	since := time.Now().Add(late)
	wait.Until(ctx, sending, func() bool { return p.talk.AckedSince(since) })
}

func killFollower(ctx context.Context, p *programme, f *finding) error {
	_, follower, err := p.leaderAndFollower(ctx)
	if err != nil {
		return err
	}
	follower.Kill()
	wait.Pause(ctx, 5*time.Second)
	return nil
}

// rollingNATS ends a server only when all the others have everything.
func rollingNATS(ctx context.Context, p *programme, f *finding) error {
	for _, s := range p.in.nats {
		if err := s.Stop(drainTimeout); err != nil {
			f.note("%s: %v", s.Name, err)
		}
		wait.Pause(ctx, time.Second)
		if err := s.Start(); err != nil {
			return err
		}
		if why := p.awaitWhole(ctx); why != "" {
			return fmt.Errorf("after %s: %s", s.Name, why)
		}
	}
	return nil
}

// diskFull leaves the leader no space, and then does what an operator does: makes room and starts it anew.
func diskFull(ctx context.Context, p *programme, f *finding) error {
	leader, _, err := p.leaderAndFollower(ctx)
	if err != nil {
		return err
	}
	ballast, err := fill(filepath.Join(p.in.dir, leader.Name))
	if err != nil {
		return err
	}
	wait.Pause(ctx, 6*time.Second)
	if err := os.Remove(ballast); err != nil {
		return err
	}
	leader.Kill()
	return leader.Start()
}

// cutLeader takes the leader away from everybody, who has to find out: nothing is closed.
func cutLeader(ctx context.Context, p *programme, f *finding) error {
	leader, _, err := p.leaderAndFollower(ctx)
	if err != nil {
		return err
	}
	var others []*host
	for _, s := range p.in.processes() {
		if s != leader {
			others = append(others, s.host)
		}
	}
	p.in.cut(both, leader.host, append(others, p.in.clients)...)
	wait.Pause(ctx, 8*time.Second)
	return nil
}

// refuseNATSLogin is a password that is changed at NATS before it is at the access servers.
func refuseNATSLogin(ctx context.Context, p *programme, f *finding) error {
	if err := p.setPassword("another one"); err != nil {
		return err
	}
	wait.Pause(ctx, 6*time.Second)
	if err := p.setPassword(p.in.password); err != nil {
		return err
	}
	for _, s := range p.in.access {
		if !s.Running() {
			f.check(false, "%s has ended", s.Name)
		}
	}
	return nil
}

func (p *programme) setPassword(password string) error {
	if err := p.in.configureNATS(password); err != nil {
		return err
	}
	for _, s := range p.in.nats {
		s.Reload()
	}
	return nil
}

func pauseEtcd(ctx context.Context, p *programme, f *finding) error {
	began := time.Now()
	p.in.etcd.Halt()
	wait.Pause(ctx, 8*time.Second)
	p.in.etcd.Resume()
	p.picksSince(f, began)
	return nil
}

// picksSince is about the gateway's answers, which should go on.
func (p *programme) picksSince(f *finding, began time.Time) {
	asked, failed := p.answers.Between(began, time.Now())
	f.check(failed == 0 && asked > 0, "%d of %d picks failed", failed, asked)
}

// etcdAway is longer than anything that is leased, the numbers of servers included.
func etcdAway(ctx context.Context, p *programme, f *finding) error {
	const away = 72 * time.Second
	began := time.Now()
	p.in.etcd.Kill()
	wait.Pause(ctx, away/2)
	took, held := p.logInEach(ctx, logins, p.in.access)
	f.check(held == logins, "%d of %d logins meanwhile", held, logins)
	f.most("the slowest after", longest(took), noticed)
	wait.Pause(ctx, time.Until(began.Add(away)))
	p.picksSince(f, began)
	if err := p.in.etcd.Start(); err != nil {
		return err
	}
	back, old := time.Now(), p.registry.Snapshot().Revision()
	wait.Until(ctx, healing, func() bool { return p.registeredSince(old) })
	f.most("registered again after", time.Since(back), registry.TTL)
	return nil
}

// registeredSince says whether all access servers have put something in etcd after that revision.
func (p *programme) registeredSince(revision int64) bool {
	for _, s := range p.in.access {
		if known, ok := p.registry.Snapshot().Get(s.Name); !ok || known.Report <= revision {
			return false
		}
	}
	return true
}
