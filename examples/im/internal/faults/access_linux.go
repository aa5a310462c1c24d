package faults

import (
	"context"
	"fmt"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/trial"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

// busiest is the access server that holds most of the users.
func (p *programme) busiest() (busiest *server) {
	most := -1
	for _, s := range p.in.access {
		if there := len(p.crowd.At(s.addr)); there > most {
			busiest, most = s, there
		}
	}
	return busiest
}

// killAccess waits for the users to be elsewhere and for the server's lease to end, as nobody is told of a crash.
func killAccess(ctx context.Context, p *programme, f *finding) error {
	s := p.busiest()
	there := p.crowd.At(s.addr)
	began := time.Now()
	s.Kill()
	p.awaitAway(ctx, f, s, there, began, 4*time.Second)
	p.awaitUnnamed(ctx, f, s, began, registry.TTL+time.Second)
	return nil
}

// awaitAway waits until the users who were at a server are at others.
func (p *programme) awaitAway(ctx context.Context, f *finding, s *server, there []*trial.User, began time.Time, limit time.Duration) {
	after := p.crowd.Away(ctx, there, s.addr, began)
	if after == 0 {
		f.check(false, "not all of its %d users are elsewhere after %v", len(there), trial.Patience)
		return
	}
	f.most(fmt.Sprintf("its %d users elsewhere after", len(there)), after, limit)
}

// awaitUnnamed looks at the gateway's answers until it should have sent nobody to a server for a while.
func (p *programme) awaitUnnamed(ctx context.Context, f *finding, s *server, began time.Time, limit time.Duration) {
	wait.Pause(ctx, time.Until(began.Add(limit+time.Second)))
	f.most("last named by the gateway after", p.answers.LastNamed(s.addr, began), limit)
}

// killGateway looks at those who are logged in, and at one who loses the connection meanwhile.
func killGateway(ctx context.Context, p *programme, f *finding) error {
	const away = 2 * time.Second
	lonely := p.crowd.NewClient(client.Options{User: firstProbe})
	defer func() {
		lonely.Close()
		<-lonely.Done()
	}()
	ready, cancel := context.WithTimeout(ctx, trial.Patience)
	defer cancel()
	if err := lonely.Ready(ready); err != nil {
		return err
	}
	p.in.gateway.Kill()
	lonely.Disconnect()
	wait.Pause(ctx, away)
	if err := p.in.gateway.Start(); err != nil {
		return err
	}
	back := time.Now()
	err := lonely.Ready(ready)
	f.check(err == nil, "who lost the connection meanwhile is back %v after the gateway", round(time.Since(back)))
	return nil
}

// pauseAccess is a server that hangs: the others' users should not notice, its own wait.
func pauseAccess(ctx context.Context, p *programme, f *finding) error {
	s := p.busiest()
	f.note("%d users at it", len(p.crowd.At(s.addr)))
	s.Halt()
	wait.Pause(ctx, 5*time.Second)
	s.Resume()
	return nil
}

// rollingAccess is the installation of a new version.
func rollingAccess(ctx context.Context, p *programme, f *finding) error {
	var drains []time.Duration
	for _, s := range p.in.access {
		there := p.crowd.At(s.addr)
		began := time.Now()
		if err := s.Stop(drainTimeout); err != nil {
			f.check(false, "%s ended with %v", s.Name, err)
		}
		drains = append(drains, time.Since(began))
		if len(there) > 0 && p.crowd.Away(ctx, there, s.addr, began) == 0 {
			f.check(false, "users of %s are nowhere", s.Name)
		}
		if err := s.Start(); err != nil {
			return err
		}
		if why := p.awaitWhole(ctx); why != "" {
			return fmt.Errorf("after %s: %s", s.Name, why)
		}
	}
	f.most("drained after", longest(drains), 5*time.Second)
	return nil
}

// crashLoop starts servers that crash when users have come. Each has a name of its own, or it would have to wait for
// the end of its lease, and leaves an entry in the registry, to which the gateway sends whoever comes: it holds nobody.
func crashLoop(ctx context.Context, p *programme, f *finding) error {
	const crashes = 6
	began := time.Now()
	for n := range crashes {
		s, err := p.in.accessServer(p.in.spare, p.in.keyFile, "-id", fmt.Sprintf("crash-%d", n))
		if err != nil {
			return err
		}
		if err := s.Start(); err != nil {
			return err
		}
		if !wait.Until(ctx, trial.Patience, func() bool { return p.serves(ctx, s) == nil }) {
			f.check(false, "crash-%d does not serve", n)
		}
		for _, u := range p.crowd.Users[n*crashes : (n+1)*crashes] { // some come
			u.Client.Disconnect()
		}
		wait.Pause(ctx, 500*time.Millisecond)
		s.Kill()
	}
	f.note("%d crashes in %v", crashes, round(time.Since(began)))
	p.picksSince(f, began)
	return nil
}

// serves has a user log in at a server, and say something.
func (p *programme) serves(ctx context.Context, s *server) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c := p.crowd.NewClient(client.Options{User: firstProbe, Pick: only(s)})
	defer func() {
		c.Close()
		<-c.Done()
	}()
	if err := c.Ready(ctx); err != nil {
		return fmt.Errorf("login: %w", err)
	}
	if err := c.Send(ctx, firstProbe, "hello"); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	return nil
}

// only picks one server.
func only(s *server) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return s.addr, nil }
}

// The ids of users who do not talk.
const (
	firstProbe  = 100_001
	firstTwin   = 200_001
	firstFlood  = 300_001
	firstMember = 400_001
	largeGroupI = 500_001
)

// clockAhead has users log in and talk at a server whose clock is wrong, and at the others afterwards.
func clockAhead(ctx context.Context, p *programme, f *finding) error {
	s := p.busiest()
	s.Kill()
	if err := s.StartAhead(24 * time.Hour); err != nil {
		return err
	}
	defer func() { // heal starts it with the right clock if this ends early
		if f.broken {
			s.Kill()
		}
	}()
	if why := p.awaitWhole(ctx); why != "" {
		f.check(false, "with the wrong clock: %s", why)
		return nil
	}
	_, held := p.logInEach(ctx, logins, []*server{s})
	f.check(held == logins, "%d of %d logins there last", held, logins)
	s.Kill()
	if err := s.Start(); err != nil {
		return err
	}
	if why := p.awaitWhole(ctx); why != "" {
		f.check(false, "with the right clock again: %s", why)
		return nil
	}
	_, held = p.logInEach(ctx, logins, p.in.access)
	f.check(held == logins, "%d of %d of the same users' later ones do", held, logins)
	return nil
}

// logins is how many users log in where logins are looked at.
const logins = 30

// logInEach has the same users log in as every time, at these servers in turn, and returns how long each took and how
// many still were there a moment later.
func (p *programme) logInEach(ctx context.Context, count int, at []*server) (took []time.Duration, held int) {
	for i := range count {
		began := time.Now()
		c := p.crowd.NewClient(client.Options{User: firstProbe + 1 + int64(i), Pick: only(at[i%len(at)])})
		defer func() {
			c.Close()
			<-c.Done()
		}()
		ready, cancel := context.WithTimeout(ctx, trial.Patience)
		err := c.Ready(ready)
		cancel()
		took = append(took, time.Since(began))
		if err != nil {
			continue
		}
		defer func() {
			if c.Err() == nil && c.Server() != "" {
				held++
			}
		}()
	}
	wait.Pause(ctx, time.Second)
	return took, held
}

// otherKey starts a server more, which should end by itself, and disturb nobody.
func otherKey(ctx context.Context, p *programme, f *finding) error {
	s, err := p.in.stranger4()
	if err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	began := time.Now()
	ended := s.Ended(5 * time.Second)
	f.check(ended, "it ends by itself: %v, after %v", ended, round(time.Since(began)))
	s.Kill()
	_, listed := p.registry.Snapshot().Get(s.Name)
	named := p.answers.LastNamed(s.addr, began)
	f.check(!listed && named == 0, "the gateway named it for %v", round(named))
	out := 0
	for _, u := range p.crowd.Users {
		if u.Client.Err() != nil {
			out++
		}
	}
	f.check(out == 0, "%d users thrown out for good", out)
	return nil
}
