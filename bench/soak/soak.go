package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A soaking is one run.
type soaking struct {
	options
	began    time.Time
	servers  *child
	pace     *pace
	faults   faults
	durables []*durable
	record   *record
	round    int
}

// soak runs rounds until the time has passed, or ctx has ended, and returns what was found.
func soak(ctx context.Context, o options, rec *record) (*faults, error) {
	servers, err := startChild()
	if err != nil {
		return nil, err
	}
	defer servers.end()
	k := &soaking{options: o, began: time.Now(), servers: servers, pace: newPace(o.load), record: rec}
	all, cancel := context.WithCancel(context.Background())
	defer cancel()
	go k.pace.keep(all, servers.cmd.Process.Pid)
	for i := range stations {
		if echoes(&stations[i]) {
			k.durables = append(k.durables, newDurable(all, &stations[i], &k.faults))
		}
	}
	for err == nil && ctx.Err() == nil && time.Since(k.began) < o.lasts {
		k.round++
		err = k.runRound(ctx)
	}
	cancel()
	var ending sync.WaitGroup
	for _, d := range k.durables {
		ending.Go(func() { d.end(&k.faults) })
	}
	ending.Wait()
	return &k.faults, err
}

// runRound is one life of all servers, and the quiet after it.
func (k *soaking) runRound(ctx context.Context) error {
	started, err := k.servers.command(startCommand)
	if err != nil {
		return err
	}
	round, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := newCrowd(round, started.Addresses, k.pace, &k.faults)
	k.tellDurables(c)
	var wg sync.WaitGroup
	wg.Go(func() { c.run(k.clients) })
	err = k.sampleUntil(ctx, time.Now().Add(k.options.round))
	c.stopping.Store(true)
	if err == nil {
		var stopped answer
		if stopped, err = k.servers.command(stopCommand); err == nil {
			defer c.check(stopped.Accounts) // when the clients have ended
			k.print(stopped.Accounts)
		}
	}
	k.tellDurables(nil)
	cancel()
	wg.Wait()
	if err != nil {
		return err
	}
	return k.sample(quietCommand)
}

// tellDurables tells the clients that outlive rounds which it is.
func (k *soaking) tellDurables(c *crowd) {
	for _, d := range k.durables {
		d.crowd.Store(c)
	}
}

func (k *soaking) sampleUntil(ctx context.Context, end time.Time) error {
	for {
		wait := min(k.every, time.Until(end))
		if wait <= 0 {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil // the round ends as others do
		}
		if err := k.sample(sampleCommand); err != nil {
			return err
		}
	}
}

// sample records what both processes use.
func (k *soaking) sample(command string) error {
	a, err := k.servers.command(command)
	if err != nil {
		return err
	}
	s := sample{At: time.Since(k.began), Round: k.round, Quiet: command == quietCommand, Open: a.Open, Server: a.Usage}
	if s.Quiet {
		s.Client = quietUsage()
	} else {
		s.Client = currentUsage()
	}
	return k.record.add(s)
}

func (k *soaking) print(accounts []account) {
	if !k.verbose {
		return
	}
	for _, a := range accounts {
		fmt.Printf("round %d %s: %d sessions, %d sent, %d out, %d discarded, Shutdown %v (%d undelivered, %d forced), closed %v\n",
			k.round, a.Station, a.Accepted, a.Sent, a.Out, a.Discarded, a.Took.Round(time.Millisecond), a.Undelivered, a.Forced, a.Closed)
	}
}
