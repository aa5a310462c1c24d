package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/token"
	"github.com/libnet-go/libnet/examples/im/internal/trial"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

// firstTwin is the first id of users who do not talk.
const firstTwin = 100_001

// startCrowd makes the users who talk.
func (d *demo) startCrowd() {
	d.crowd = trial.NewCrowd(trial.CrowdOptions{
		Gateway:  d.s.Gateway.Addr(),
		Token:    func(user int64) string { return d.s.Tokens.Issue(user, token.TrialLife) },
		Users:    d.o.users,
		Thinking: thinking,
		Logger:   d.log,
		Miss:     d.o.miss,
	})
}

// logIn has the users come, and join their groups.
func (d *demo) logIn(ctx context.Context) error {
	d.note("%d users log in", d.o.users)
	d.startCrowd()
	began := time.Now()
	failed := d.crowd.LogIn(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(failed) > 0 {
		d.report.Promise(false, "login", "%d of %d users are not logged in: %v", len(failed), d.o.users, failed[0])
		return trial.ErrBroken
	}
	d.report.Promise(true, "login", "%s users logged in and in %d groups after %v",
		trial.Thousands(d.o.users), d.crowd.Groups(), time.Since(began).Round(10*time.Millisecond))
	return nil
}

// forge has clients come as user 1, who is there, and as somebody who is not, with tokens that are not theirs.
func (d *demo) forge(ctx context.Context) error {
	foreign, err := token.New(token.NewKey(), "")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, trial.Patience)
	defer cancel()
	const nobody = firstTwin - 1
	undisturbed := d.crowd.Users[0].Login()
	tried, refused := 0, 0
	for _, user := range []int64{d.crowd.Users[0].ID, nobody} {
		for _, forged := range []string{
			"",
			"let me in",
			foreign.Issue(user, token.TrialLife),
			d.s.Tokens.Issue(user+1, token.TrialLife),
			d.s.Tokens.Issue(user, -2*token.Skew),
		} {
			c := d.crowd.NewClient(client.Options{User: user, Token: func() string { return forged }})
			if tried++; errors.Is(c.Ready(ctx), client.ErrRefused) {
				refused++
			}
			c.Close()
			<-c.Done()
		}
	}
	presence, err := d.presence(ctx, nobody)
	if err != nil {
		return err
	}
	bound, disturbed := presence != wire.Presence_OFFLINE, d.crowd.Users[0].Login() != undisturbed
	figures := fmt.Sprintf("%d of %d refused", refused, tried)
	if bound {
		figures += "; one of them was bound all the same"
	}
	if disturbed {
		figures += "; the user lost the session"
	}
	d.report.Promise(refused == tried && !bound && !disturbed, "wrong token", "%s", figures)
	return nil
}

// presence asks until there is an answer: that it cannot be told is none.
func (d *demo) presence(ctx context.Context, user int64) (presence wire.Presence, err error) {
	for {
		users, err := d.crowd.Users[0].Client.Presence(ctx, user)
		if err != nil {
			return 0, err
		}
		if users[0].Presence != wire.Presence_UNKNOWN {
			return users[0].Presence, nil
		}
		if !wait.Pause(ctx, 100*time.Millisecond) {
			return 0, ctx.Err()
		}
	}
}

// A twin is a user with two clients that log in at the same time, each at another server.
type twin struct {
	id      int64
	clients [2]*client.Client
}

// alive is how many of the two have not ended, as the one does whose login the other's has replaced.
func (t *twin) alive() (n int) {
	for _, c := range t.clients {
		if !errors.Is(c.Err(), client.ErrReplaced) {
			n++
		}
	}
	return n
}

// logInTwice has users log in at two servers at once. In the end each has exactly one session.
func (d *demo) logInTwice(ctx context.Context) error {
	servers := d.s.Running()[:2]
	began := time.Now()
	twins := make([]*twin, d.o.twins)
	for i := range twins {
		twins[i] = &twin{id: firstTwin + int64(i)}
		for n, server := range servers {
			twins[i].clients[n] = d.crowd.NewClient(client.Options{
				User: twins[i].id,
				Pick: func(context.Context) (string, error) { return server.Addr, nil },
			})
		}
	}
	defer func() {
		for _, t := range twins {
			for _, c := range t.clients {
				c.Close()
				<-c.Done()
			}
		}
	}()
	wait.Until(ctx, trial.Patience, func() bool {
		return !slices.ContainsFunc(twins, func(t *twin) bool { return t.alive() != 1 })
	})
	took := time.Since(began)
	one := 0
	for _, t := range twins {
		// Asked in the whole cluster, and until it has an answer.
		wait.Until(ctx, trial.Patience, func() bool {
			sessions, err := servers[0].Node.Online(ctx, fmt.Sprint(t.id))
			if err == nil && len(sessions) == 1 && t.alive() == 1 {
				one++
				return true
			}
			return err == nil && t.alive() != 1
		})
	}
	d.report.Promise(one == len(twins), "duplicate login",
		"%d users logged in at two servers at once: %d with exactly one session, after %v",
		len(twins), one, took.Round(10*time.Millisecond))
	return ctx.Err()
}
