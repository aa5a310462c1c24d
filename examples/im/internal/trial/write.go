package trial

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

// StartTalk has all users write to each other until Finish is called.
func (c *Crowd) StartTalk(ctx context.Context) *Talk {
	t := c.talks.next()
	for _, u := range c.Users {
		t.writers.Go(func() { c.write(ctx, t, u) })
	}
	return t
}

// write is one user at a talk. Messages are sent one after the other: Send returns when its message is stored.
func (c *Crowd) write(ctx context.Context, t *Talk, u *User) {
	for n := 1 + rand.N(groupEvery); ; n++ {
		select {
		case <-t.stop:
			return
		case <-ctx.Done():
			return
		case <-time.After(rand.N(2 * c.o.Thinking)):
		}
		receivers, err := c.say(ctx, t, u, n)
		if err != nil {
			t.fail(err)
			return
		}
		t.acknowledge(u.ID, n, receivers)
	}
}

// say sends message n of a user to another one, or to the user's group, and returns who should hear it.
func (c *Crowd) say(ctx context.Context, t *Talk, u *User, n int) (receivers []int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Sending)
	defer cancel()
	t.begin(u.ID, n)
	if n%groupEvery == 0 {
		return c.others(u), u.Client.SendGroup(ctx, u.Group, text(t, n))
	}
	i := int(u.ID) + rand.N(len(c.Users)-1) // of those that follow, in a circle: ids begin with 1
	other := c.Users[i%len(c.Users)].ID
	return []int64{other}, u.Client.Send(ctx, other, text(t, n))
}

// Finish stops the writers, waits until all that was acknowledged has been heard, for at most delivery, and says what
// was not.
func (c *Crowd) Finish(ctx context.Context, t *Talk, delivery time.Duration) (Audit, error) {
	t.finish()
	wait.Until(ctx, delivery, func() bool { return t.Audit().Lost == 0 })
	return t.Audit(), ctx.Err()
}
