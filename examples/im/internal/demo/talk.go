package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

const (
	// groupSize is how many users are in a group.
	groupSize = 10
	// groupEvery is how many of a user's messages there are to each that goes to the group.
	groupEvery = 8
	// thinking is how long a user thinks before a message, on average.
	thinking = time.Second
	// sending bounds how long a message is repeated that is not acknowledged.
	sending = 20 * time.Second
)

// A talk is what users say to each other between two moments, and what they know of it: senders what was acknowledged,
// receivers what they heard. Its methods may be called by any goroutine.
type talk struct {
	number  int
	stop    chan struct{}
	writers sync.WaitGroup

	// mu guards the following.
	mu     sync.Mutex
	acked  map[pair][]int // message numbers, in the sender's order
	heard  map[pair][]int // as they came
	sent   map[messageKey]time.Time
	acks   []time.Duration // from Send to its return
	hears  []time.Duration // from Send to the receiver
	failed error           // one of those that Send returned
}

// A pair is who said something and who should hear it.
type pair struct{ sender, receiver int64 }

type messageKey struct {
	sender int64
	number int
}

func (t *talk) begin(sender int64, number int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent[messageKey{sender, number}] = time.Now()
}

// acknowledge notes that a message is stored for these receivers.
func (t *talk) acknowledge(sender int64, number int, receivers []int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acks = append(t.acks, time.Since(t.sent[messageKey{sender, number}]))
	for _, receiver := range receivers {
		to := pair{sender, receiver}
		t.acked[to] = append(t.acked[to], number)
	}
}

func (t *talk) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = err
}

func (t *talk) hear(sender, receiver int64, number int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := pair{sender, receiver}
	t.heard[from] = append(t.heard[from], number)
	if sent, ok := t.sent[messageKey{sender, number}]; ok {
		t.hears = append(t.hears, time.Since(sent))
	}
}

// talks are all that were and the one that is.
type talks struct {
	miss func(user int64, text string) bool
	mu   sync.Mutex
	all  []*talk
}

func newTalks(miss func(int64, string) bool) *talks {
	if miss == nil {
		miss = func(int64, string) bool { return false }
	}
	return &talks{miss: miss}
}

func (ts *talks) next() *talk {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := &talk{
		number: len(ts.all), stop: make(chan struct{}),
		acked: make(map[pair][]int), heard: make(map[pair][]int), sent: make(map[messageKey]time.Time),
	}
	ts.all = append(ts.all, t)
	return t
}

// hear is a user's OnMessage.
func (ts *talks) hear(receiver int64, m client.Message) {
	var talk, number int
	if _, err := fmt.Sscanf(m.Text, "%d.%d", &talk, &number); err != nil || ts.miss(receiver, m.Text) {
		return
	}
	ts.mu.Lock()
	t := ts.all[talk]
	ts.mu.Unlock()
	t.hear(m.Source, receiver, number)
}

// talk has users talk while nothing fails.
func (d *demo) talk(ctx context.Context) error {
	d.answers = startAnswers(d.s.Gateway.Addr())
	d.note("they talk")
	t := d.startTalk(ctx)
	if err := d.forge(ctx); err != nil {
		return err
	}
	wait.Pause(ctx, 2*d.o.talking)
	a, err := d.finish(ctx, t)
	if err != nil {
		return err
	}
	d.report.promise(a.ok(), "messages", "%v", a)
	t.mu.Lock()
	defer t.mu.Unlock()
	ack50, ack99 := percentiles(t.acks)
	hear50, hear99 := percentiles(t.hears)
	const unit = 10 * time.Microsecond
	d.note("stored and acknowledged after %v (p99 %v), heard after %v (p99 %v)",
		ack50.Round(unit), ack99.Round(unit), hear50.Round(unit), hear99.Round(unit))
	return nil
}

// startTalk has all users write to each other until finish is called.
func (d *demo) startTalk(ctx context.Context) *talk {
	t := d.talks.next()
	for _, u := range d.users {
		t.writers.Go(func() { d.write(ctx, t, u) })
	}
	return t
}

// write is one user at a talk. Messages are sent one after the other: Send returns when its message is stored.
func (d *demo) write(ctx context.Context, t *talk, u *user) {
	for n := 1 + rand.N(groupEvery); ; n++ {
		select {
		case <-t.stop:
			return
		case <-ctx.Done():
			return
		case <-time.After(rand.N(2 * thinking)):
		}
		receivers, err := d.say(ctx, t, u, n)
		if err != nil {
			t.fail(err)
			return
		}
		t.acknowledge(u.id, n, receivers)
	}
}

// say sends message n of a user to another one, or to the user's group, and returns who should hear it.
func (d *demo) say(ctx context.Context, t *talk, u *user, n int) (receivers []int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, sending)
	defer cancel()
	text := fmt.Sprintf("%d.%d", t.number, n)
	t.begin(u.id, n)
	if n%groupEvery == 0 {
		return d.others(u), u.client.SendGroup(ctx, u.group, text)
	}
	i := int(u.id) + rand.N(len(d.users)-1) // of those that follow, in a circle: ids begin with 1
	other := d.users[i%len(d.users)].id
	return []int64{other}, u.client.Send(ctx, other, text)
}

// others are the other members of a user's group.
func (d *demo) others(u *user) (ids []int64) {
	for _, other := range d.users {
		if other.group == u.group && other != u {
			ids = append(ids, other.id)
		}
	}
	return ids
}

// finish stops the writers, waits until all that was acknowledged has been heard, and says what was not.
func (d *demo) finish(ctx context.Context, t *talk) (audit, error) {
	close(t.stop)
	t.writers.Wait()
	wait.Until(ctx, d.o.delivery, func() bool { return t.audit().lost == 0 })
	return t.audit(), ctx.Err()
}
