package cluster

import (
	"time"

	"github.com/nats-io/nats.go"
)

// lingerFor is how long a node goes on to hear what is sent to a user who has left it, to say so. A server that still believes in the
// interest, and does not know of that of the user's next node yet, sends messages here; had the interest ended, they would vanish.
const lingerFor = time.Second

type lingering struct {
	sub   *nats.Subscription
	since time.Time
}

func (d *dispatcher) linger(sub *nats.Subscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lingering = append(d.lingering, lingering{sub, time.Now()})
}

// endLinger ends what has lingered for long enough. heartbeatLoop calls it.
func (d *dispatcher) endLinger() {
	now := time.Now()
	d.mu.Lock()
	ends := 0
	for ends < len(d.lingering) && now.Sub(d.lingering[ends].since) > lingerFor {
		ends++
	}
	over := d.lingering[:ends]
	if d.lingering = d.lingering[ends:]; len(d.lingering) == 0 {
		d.lingering = nil
	}
	d.mu.Unlock()
	for _, l := range over {
		d.unsubscribe(l.sub)
	}
}
