package trial

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

const (
	// GroupSize is how many users are in a group.
	GroupSize = 10
	// groupEvery is how many of a user's messages there are to each that goes to the group.
	groupEvery = 8
	// sending bounds how long a message is repeated that is not acknowledged.
	sending = 20 * time.Second
)

// CrowdOptions say who talks, and where. All but the last two are required.
type CrowdOptions struct {
	Gateway  string                  // its address
	Token    func(user int64) string // is asked for each login
	Users    int                     // their ids begin with 1
	Thinking time.Duration           // how long a user thinks before a message, on average
	Sending  time.Duration           // how long a message is repeated that is not acknowledged; default 20 s
	Logger   *slog.Logger

	// Miss, in tests, has a user miss a message: a test that a loss is found.
	Miss func(user int64, text string) bool
}

// A Crowd is users who are logged in. Its methods may be called by any goroutine, once LogIn has returned.
type Crowd struct {
	// Immutable after LogIn.
	Users []*User

	o     CrowdOptions
	talks *talks
}

// A User is one of them.
type User struct {
	// Immutable.
	ID    int64
	Group int64

	Client *client.Client // Revive changes it

	login atomic.Pointer[Login]
}

// A Login is where a user is, and since when; Server is "" while he is nowhere.
type Login struct {
	Server string
	At     time.Time
}

// Login is the user's latest.
func (u *User) Login() *Login { return u.login.Load() }

// NewCrowd returns one that is not logged in yet.
func NewCrowd(o CrowdOptions) *Crowd {
	if o.Sending == 0 {
		o.Sending = sending
	}
	return &Crowd{o: o, talks: newTalks(o.Miss)}
}

// NewClient returns a client with the options of a trial: quicker than the defaults, as it does not last long.
func (c *Crowd) NewClient(o client.Options) *client.Client {
	o.Gateway = c.o.Gateway
	if o.Token == nil {
		o.Token = func() string { return c.o.Token(o.User) }
	}
	o.MaxBackoff = time.Second
	o.Keepalive = 5 * time.Second // finds a message whose notification died with a server
	o.Logger = c.o.Logger
	return client.Start(o)
}

// LogIn has the users come, and join their groups, and returns the errors of those who cannot within Patience.
func (c *Crowd) LogIn(ctx context.Context) (failed []error) {
	for i := range c.o.Users {
		u := &User{ID: int64(i) + 1, Group: int64(i/GroupSize) + 1}
		u.login.Store(&Login{})
		c.start(u, 0)
		c.Users = append(c.Users, u)
	}
	joining, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	var running sync.WaitGroup
	errs := make([]error, len(c.Users))
	for i, u := range c.Users {
		running.Go(func() { errs[i] = u.Client.Join(joining, u.Group) })
	}
	running.Wait()
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// start gives a user a client, which hands out what is newer than a version.
func (c *Crowd) start(u *User, after int64) {
	u.Client = c.NewClient(client.Options{
		User:      u.ID,
		After:     after,
		OnMessage: func(m client.Message) { c.talks.hear(u.ID, m) },
		OnState:   func(server string) { u.login.Store(&Login{server, time.Now()}) },
	})
}

// Revive gives users whose clients have ended for good, as one does whose token is refused, a new one. Nobody may talk
// meanwhile, and nobody use the users.
func (c *Crowd) Revive() {
	for _, u := range c.Users {
		if u.Client.Err() != nil {
			<-u.Client.Done()
			c.start(u, u.Client.Current())
		}
	}
}

// Groups is how many there are.
func (c *Crowd) Groups() int { return (c.o.Users + GroupSize - 1) / GroupSize }

// At are the users who are logged in at a server now.
func (c *Crowd) At(server string) (there []*User) {
	for _, u := range c.Users {
		if u.Login().Server == server {
			there = append(there, u)
		}
	}
	return there
}

// Away waits until those who were at a server are logged in at others, and says when the last was; 0: not within
// Patience.
func (c *Crowd) Away(ctx context.Context, moved []*User, from string, began time.Time) (after time.Duration) {
	elsewhere := func(u *User) bool {
		l := u.Login()
		return l.Server != "" && l.Server != from
	}
	if !wait.Until(ctx, Patience, func() bool {
		return !slices.ContainsFunc(moved, func(u *User) bool { return !elsewhere(u) })
	}) {
		return 0
	}
	for _, u := range moved {
		after = max(after, u.Login().At.Sub(began))
	}
	return after
}

// Audit is that of everything that was said, in all talks.
func (c *Crowd) Audit() Audit { return c.talks.audit() }

// Close ends the users, and returns when they have.
func (c *Crowd) Close() {
	for _, u := range c.Users {
		u.Client.Close()
	}
	for _, u := range c.Users {
		<-u.Client.Done()
	}
}

// others are the other members of a user's group.
func (c *Crowd) others(u *User) (ids []int64) {
	for _, other := range c.Users {
		if other.Group == u.Group && other != u {
			ids = append(ids, other.ID)
		}
	}
	return ids
}

// text is message n of a talk.
func text(t *Talk, n int) string { return fmt.Sprintf("%d.%d", t.number, n) }
