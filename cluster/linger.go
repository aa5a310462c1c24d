package cluster

import (
	"encoding/binary"
	"time"

	"github.com/nats-io/nats.go"
)

// lingerFor is how long a node goes on to hear what is sent to a user who has left it, to say so. A server that still
// believes in the interest, and does not know of that of the user's next node yet, sends messages here; had the
// interest ended, they would vanish.
const lingerFor = time.Second

// confirmFor is how long after a login posts are answered: as long as another node may say that the user has left it.
const confirmFor = 3 * lingerFor

// lingering is the interest in a user who has left. It is the user's again who comes back meanwhile: with two, each
// message would come twice.
type lingering struct {
	sub         *nats.Subscription
	seen, since time.Time
}

// lingerLocked keeps the subscription of a binding that has ended.
func (d *dispatcher) lingerLocked(b *binding) {
	d.lingering[b.token] = lingering{b.sub, b.seen, time.Now()}
}

// returnLocked gives b the interest that lingers, if there is any.
func (d *dispatcher) returnLocked(b *binding) bool {
	l, ok := d.lingering[b.token]
	if ok {
		b.sub, b.seen = l.sub, l.seen
		delete(d.lingering, b.token)
		d.marks++
		b.behind = d.marks
	}
	return ok
}

// mark has this node told where the messages begin that are the session's. Interest that has lingered brings others
// before them, of senders who have had their answer from elsewhere: that nobody has the user, or that another session
// has taken it. What is sent after Bind comes behind the mark, as the homes are told of the login behind it.
func (d *dispatcher) mark(b *binding) {
	d.mu.Lock()
	behind := b.behind
	d.mu.Unlock()
	if behind != 0 {
		data := binary.BigEndian.AppendUint64([]byte{kindMark}, behind)
		_ = d.node.conn.Publish(d.node.subjects.nodeOf(d.node.instance), append(data, b.token...)) // or confirmFor ends it
	}
}

// marked takes what follows the kind of a mark.
func (d *dispatcher) marked(body []byte) {
	number, token, err := parseAfter(body)
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if b := d.users[string(token)]; b != nil && b.behind == number {
		b.behind = 0
	}
}

// endLinger ends what has lingered for as long as that. heartbeatLoop calls it.
func (d *dispatcher) endLinger(longest time.Duration) {
	now := time.Now()
	var over []*nats.Subscription
	d.mu.Lock()
	for token, l := range d.lingering {
		if now.Sub(l.since) > longest {
			over = append(over, l.sub)
			delete(d.lingering, token)
		}
	}
	d.mu.Unlock()
	for _, sub := range over {
		d.unsubscribe(sub)
	}
}
