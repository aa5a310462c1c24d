package cluster

import "time"

// A runClock is time as far as this process has run. One that was stopped, or that got no processor, finds on going on
// that much time has passed and that what was said meanwhile has not been read: by the machine's clock all others would
// have fallen silent. It goes on by tickAtMost from one tick to the next, so that one who asks before those who have
// been woken with him learns nothing wrong, either. It is behind the machine's clock, and never ahead of it.
type runClock struct {
	ticked time.Time     // by the machine's clock; zero before the first tick
	ran    time.Duration // at that tick
}

// tickAtMost is how much later a tick may be than the one before it, for the time in between to have passed. A
// processor that others use, too, is away for less.
const tickAtMost = 2 * watchInterval

// tick is called each watchInterval.
func (c *runClock) tick(now time.Time) {
	c.ran = c.at(now)
	c.ticked = now
}

func (c *runClock) at(now time.Time) time.Duration {
	if c.ticked.IsZero() {
		return 0
	}
	return c.ran + min(now.Sub(c.ticked), tickAtMost)
}

func (c *runClock) now() time.Duration { return c.at(time.Now()) }
