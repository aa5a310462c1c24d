package faults

import (
	"context"
	"errors"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/faults/network"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/trial"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

const (
	// cutFor is how long a wire is cut: longer than a lease.
	cutFor = 8 * time.Second
	// outAfter bounds how long a server that does not reach NATS is among the gateway's answers.
	outAfter = 4 * time.Second
	// cutAway bounds how long a user waits at a server that does not reach NATS: until it has sent him away, and he is
	// elsewhere.
	cutAway = outAfter + moved
)

// A direction of wires, seen from the first host.
type direction int

const (
	out direction = 1 << iota
	in
	both = out | in
)

// cut cuts the wires between a host and others.
func (i *installation) cut(d direction, h *host, others ...*host) {
	i.wires(network.Wire{Cut: true}, d, h, others...)
}

func (i *installation) wires(w network.Wire, d direction, h *host, others ...*host) {
	for _, other := range others {
		if d&out != 0 {
			i.net.Set(h.on, other.on, w)
		}
		if d&in != 0 {
			i.net.Set(other.on, h.on, w)
		}
	}
}

// natsHosts are those of the NATS servers.
func (in *installation) natsHosts() (hosts []*host) {
	for _, s := range in.nats {
		hosts = append(hosts, s.host)
	}
	return hosts
}

func cutNATS(ctx context.Context, p *programme, f *finding) error { return p.cutFromNATS(ctx, f, both) }
func cutNATSOut(ctx context.Context, p *programme, f *finding) error {
	return p.cutFromNATS(ctx, f, out)
}
func cutNATSIn(ctx context.Context, p *programme, f *finding) error { return p.cutFromNATS(ctx, f, in) }

// cutFromNATS cuts an access server off in a direction. It can serve nobody and has to say so: to the gateway, over
// etcd, and to its users.
func (p *programme) cutFromNATS(ctx context.Context, f *finding, d direction, more ...*host) error {
	s := p.busiest()
	there := p.crowd.At(s.addr)
	began := time.Now()
	p.in.cut(d, s.host, append(p.in.natsHosts(), more...)...)
	p.awaitAway(ctx, f, s, there, began, cutAway)
	limit := outAfter
	if len(more) > 0 { // who cannot reach etcd either leaves the registry with the lease
		limit = registry.TTL + noticed
	}
	p.awaitUnnamed(ctx, f, s, began, limit)
	wait.Pause(ctx, time.Until(began.Add(cutFor)))
	return nil
}

func cutBoth(ctx context.Context, p *programme, f *finding) error {
	return p.cutFromNATS(ctx, f, both, p.in.etcd.host)
}

// cutEtcd leaves a server that serves, but that no gateway knows any more once its lease has ended.
func cutEtcd(ctx context.Context, p *programme, f *finding) error {
	s := p.busiest()
	began := time.Now()
	p.in.cut(both, s.host, p.in.etcd.host)
	p.awaitUnnamed(ctx, f, s, began, registry.TTL+noticed)
	wait.Pause(ctx, time.Until(began.Add(cutFor)))
	return nil
}

// slowNode looks at users elsewhere: what they wait for is not that server.
func slowNode(ctx context.Context, p *programme, f *finding) error {
	const (
		away  = 300 * time.Millisecond
		times = 150 // of so many the 99th percentile is not the slowest: one packet that is lost costs a second
	)
	slow := p.busiest()
	var quick []*server
	var asker *trial.User
	for _, s := range p.in.access {
		if there := p.crowd.At(s.addr); s != slow && len(there) > 0 {
			quick, asker = append(quick, s), there[0]
		}
	}
	if asker == nil {
		return errors.New("nobody is elsewhere")
	}
	f.note("%d users at it", len(p.crowd.At(slow.addr)))
	took, _ := p.logInEach(ctx, times, quick)
	_, well := trial.Percentiles(took)
	elsewhere := (50*time.Millisecond + 2*well).Round(time.Millisecond) // a busy machine is slow without a fault, too
	f.note("p99 of a login before it %v, slowest %v", round(well), round(longest(took)))
	p.in.wires(network.Wire{Delay: away / 2}, both, slow.host, p.in.natsHosts()...)
	wait.Pause(ctx, 2*time.Second)
	took, held := p.logInEach(ctx, times, quick)
	f.check(held == times, "%d of %d logins elsewhere", held, times)
	_, p99 := trial.Percentiles(took)
	f.most("p99", p99, elsewhere)
	f.note("slowest %v", round(longest(took)))
	p99, unknown, err := p.askPresence(ctx, times, asker, quick)
	if err != nil {
		return err
	}
	f.check(unknown == 0, "presence of users elsewhere: %d times unknown", unknown)
	f.most("p99", p99, elsewhere)
	return nil
}

// askPresence asks so often for users who are at these servers.
func (p *programme) askPresence(ctx context.Context, times int, asker *trial.User, at []*server) (p99 time.Duration, unknown int, err error) {
	var there []*trial.User
	for _, s := range at {
		there = append(there, p.crowd.At(s.addr)...)
	}
	var took []time.Duration
	for i := range times {
		asking, cancel := context.WithTimeout(ctx, trial.Patience)
		began := time.Now()
		found, err := asker.Client.Presence(asking, there[i%len(there)].ID)
		cancel()
		if err != nil {
			return 0, 0, err
		}
		took = append(took, time.Since(began))
		if found[0].Presence != wire.Presence_ONLINE {
			unknown++
		}
	}
	_, p99 = trial.Percentiles(took)
	return p99, unknown, nil
}

// A twin is a user with two clients that log in at the same time, each at another server.
type twin [2]*client.Client

// alive is how many of the two have not ended, as the one does whose login the other's has replaced.
func (t twin) alive() (n int) {
	for _, c := range t {
		if !errors.Is(c.Err(), client.ErrReplaced) {
			n++
		}
	}
	return n
}

// twinsCut has users log in at two servers, one of which knows nothing of the other. In the end each has one session.
func twinsCut(ctx context.Context, p *programme, f *finding) error {
	const count, limit = 40, 10 * time.Second
	cut, other := p.in.access[0], p.in.access[1]
	p.in.cut(both, cut.host, p.in.natsHosts()...)
	twins := make([]twin, count)
	for i := range twins {
		for n, s := range []*server{cut, other} {
			twins[i][n] = p.crowd.NewClient(client.Options{User: firstTwin + int64(i), Pick: only(s)})
		}
	}
	defer func() {
		for _, t := range twins {
			for _, c := range t {
				c.Close()
				<-c.Done()
			}
		}
	}()
	wait.Pause(ctx, 5*time.Second)
	p.in.net.Mend()
	mended := time.Now()
	var left [3]int // how many users have no, one, and both clients left
	wait.Until(ctx, trial.Patience, func() bool {
		left = [3]int{}
		for _, t := range twins {
			left[t.alive()]++
		}
		return left[1] == count
	})
	f.check(left[1] == count, "%d users with one client left, %d with none, %d with both", left[1], left[0], left[2])
	f.most("after it was mended", time.Since(mended), limit)
	return ctx.Err()
}
