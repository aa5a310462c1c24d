package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/token"
	"github.com/libnet-go/libnet/examples/im/internal/trial"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

// stranger4 is an access server more, with a key of its own.
func (in *installation) stranger4() (*server, error) {
	keyFile := filepath.Join(in.dir, "another-key")
	if err := token.WriteKeyFile(keyFile, token.NewKey()); err != nil {
		return nil, err
	}
	return in.accessServer(in.spare, keyFile)
}

// flood fills the history of a user who is away, with five messages of another one in it, until that is refused or
// would have been too much for the history.
func flood(ctx context.Context, p *programme, f *finding) error {
	const (
		unread   = 5
		flooders = 8
		lasts    = 12 * time.Second
		tooMuch  = 10_500
	)
	const victim, friend = firstFlood, firstFlood + 1
	for n := range unread {
		if err := p.as(ctx, friend, func(c *client.Client) error { return c.Send(ctx, victim, fmt.Sprint("unread ", n)) }); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	var acked, refused atomic.Int64
	var flooding sync.WaitGroup
	for i := range int64(flooders) {
		flooding.Go(func() {
			_ = p.as(ctx, friend+1+i, func(c *client.Client) error {
				floodAs(ctx, c, victim, &acked, &refused, tooMuch)
				return nil
			})
		})
	}
	began := time.Now()
	flooding.Wait()
	f.note("%d messages of %d flooders taken in %v", acked.Load(), flooders, round(time.Since(began)))
	f.check(refused.Load() > 0, "%d refused", refused.Load())
	kept, err := p.readAs(context.WithoutCancel(ctx), victim, friend, unread)
	f.check(kept == unread, "%d of %d unread messages of another are still there", kept, unread)
	return err
}

// floodAs sends with as many senders at once as a session takes, and counts what came of it.
func floodAs(ctx context.Context, c *client.Client, victim int64, acked, refused *atomic.Int64, tooMuch int64) {
	const atOnce = 64
	var sending sync.WaitGroup
	for range atOnce {
		sending.Go(func() {
			for ctx.Err() == nil && acked.Load() < tooMuch && refused.Load() < tooMuch {
				bounded, cancel := context.WithTimeout(ctx, time.Second)
				err := c.Send(bounded, victim, "flood")
				cancel()
				switch {
				case err == nil:
					acked.Add(1)
				case ctx.Err() == nil: // also who is asked to try later for a second
					refused.Add(1)
					wait.Pause(ctx, 10*time.Millisecond)
				}
			}
		})
	}
	sending.Wait()
}

// as logs in as a user for what f does.
func (p *programme) as(ctx context.Context, user int64, f func(c *client.Client) error) error {
	c := p.crowd.NewClient(client.Options{User: user})
	defer func() {
		c.Close()
		<-c.Done()
	}()
	ready, cancel := context.WithTimeout(ctx, trial.Patience)
	defer cancel()
	if err := c.Ready(ready); err != nil {
		return err
	}
	return f(c)
}

// readAs logs in as a user, and counts what comes from another one until it is enough.
func (p *programme) readAs(ctx context.Context, user, from int64, enough int) (int, error) {
	var count atomic.Int64
	c := p.crowd.NewClient(client.Options{User: user, OnMessage: func(m client.Message) {
		if m.Source == from {
			count.Add(1)
		}
	}})
	defer func() {
		c.Close()
		<-c.Done()
	}()
	wait.Until(ctx, trial.Patience, func() bool { return int(count.Load()) >= enough })
	return int(count.Load()), ctx.Err()
}

// silent connects from another address until nothing is let in, and has others log in.
func silent(ctx context.Context, p *programme, f *finding) error {
	const each = 2*capacity + 50
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: p.in.stranger.AsSlice()}, Timeout: time.Second}
	for _, s := range p.in.access {
		for range each {
			c, err := d.DialContext(ctx, "tcp", s.addr)
			if err != nil {
				break
			}
			conns = append(conns, c)
		}
	}
	f.note("%d silent connections", len(conns))
	took, held := p.logInEach(ctx, logins, p.in.access)
	f.check(held == logins, "%d of %d others' logins", held, logins)
	f.most("the slowest after", longest(took), noticed)
	return nil
}

// largeGroup has a few speak in a group of many.
func largeGroup(ctx context.Context, p *programme, f *finding) error {
	const members, messages, limit = 300, 10, 3 * time.Second
	var heard atomic.Int64
	clients := make([]*client.Client, members)
	for i := range clients {
		clients[i] = p.crowd.NewClient(client.Options{User: firstMember + int64(i), OnMessage: func(m client.Message) {
			if m.Group == largeGroupI && m.Source != firstMember+int64(i) {
				heard.Add(1)
			}
		}})
	}
	defer func() {
		for _, c := range clients {
			c.Close()
		}
		for _, c := range clients {
			<-c.Done()
		}
	}()
	joining, cancel := context.WithTimeout(ctx, trial.Patience)
	defer cancel()
	var running sync.WaitGroup
	errs := make([]error, members)
	for i, c := range clients {
		running.Go(func() { errs[i] = c.Join(joining, largeGroupI) })
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	var slowest time.Duration
	for n := range messages {
		began := time.Now()
		if err := clients[n].SendGroup(joining, largeGroupI, fmt.Sprint("hello ", n)); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		due := int64((n + 1) * (members - 1))
		if !wait.Until(ctx, trial.Patience, func() bool { return heard.Load() >= due }) {
			f.check(false, "%d of %d deliveries", heard.Load(), due)
			return nil
		}
		slowest = max(slowest, time.Since(began))
	}
	f.most(fmt.Sprintf("%d members, the slowest of %d messages at all of them after", members, messages), slowest, limit)
	return nil
}
