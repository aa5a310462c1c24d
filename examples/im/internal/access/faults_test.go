package access_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

func TestAMessageIsStoredBeforeItIsAcknowledged(t *testing.T) {
	r := newRig(t)
	var stored, release = make(chan struct{}), make(chan struct{})
	one := r.start(func(o *access.Options) {
		whole := o.History
		o.History = brokenHistory{History: whole, store: func(ctx context.Context, m history.Message) (int64, error) {
			version, err := whole.Store(ctx, m)
			close(stored)
			<-release
			return version, err
		}}
	})
	two := r.start(nil)
	two.down.Store(true)
	sender, _ := r.client(1, nil)
	result := make(chan error, 1)
	go func() { result <- sender.Send(imtest.Bounded(t), 2, "hello") }()

	<-stored
	// The server dies between storing and acknowledging; the client repeats the message at the other one.
	one.down.Store(true)
	killed := make(chan struct{})
	go func() { one.Kill(); close(killed) }()
	imtest.Eventually(t, "the session is gone", func() bool { return one.Load() == 0 })
	select {
	case err := <-result:
		t.Errorf("acknowledged by a dead server: %v", err)
	default:
	}
	close(release)
	<-killed
	two.down.Store(false)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	_, box := r.client(2, nil)
	box.await(t, 1)
	if err := sender.Send(imtest.Bounded(t), 2, "and again"); err != nil {
		t.Fatal(err)
	}
	if texts := box.await(t, 2); !slices.Equal(texts, []string{"hello", "and again"}) {
		t.Errorf("the receiver got %q", texts)
	}
}

func TestAnUnacknowledgedMessageIsRepeatedAndStoredOnce(t *testing.T) {
	r := newRig(t)
	var tries atomic.Int64
	r.start(func(o *access.Options) {
		whole := o.History
		o.History = brokenHistory{History: whole, store: func(ctx context.Context, m history.Message) (int64, error) {
			version, err := whole.Store(ctx, m)
			if tries.Add(1)%3 != 0 { // it is stored, and nobody knows
				return 0, context.DeadlineExceeded
			}
			return version, err
		}}
	})
	_, box := r.client(2, nil)
	sender, _ := r.client(1, nil)
	var want []string
	for i := range 5 {
		want = append(want, fmt.Sprint(i))
		if err := sender.Send(imtest.Bounded(t), 2, want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if texts := box.await(t, 5); !slices.Equal(texts, want) {
		t.Errorf("got %q", texts)
	}
	if n := tries.Load(); n != 15 {
		t.Errorf("%d tries", n)
	}
}

func TestWhoWasAwaySyncsInOrderAndOnce(t *testing.T) {
	r := newRig(t)
	r.start(nil)
	r.start(nil)
	receiver, box := r.client(2, nil)
	if err := receiver.Join(imtest.Bounded(t), 9); err != nil {
		t.Fatal(err)
	}
	sender, _ := r.client(1, nil)
	var want []string
	say := func(text string) {
		t.Helper()
		want = append(want, text)
		err := sender.Send(imtest.Bounded(t), 2, text)
		if err == nil {
			want = append(want, text+" all")
			err = sender.SendGroup(imtest.Bounded(t), 9, text+" all")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	say("here")
	box.await(t, 2)
	receiver.Close()
	<-receiver.Done()
	for i := range 300 { // more than a page
		say(fmt.Sprint("away ", i))
	}
	receiver, later := r.client(2, func(o *client.Options) { o.After = receiver.Current() })
	later.await(t, 600)
	say("back")
	got := append(box.texts(), later.await(t, 602)...)
	if !slices.Equal(got, want) {
		t.Errorf("got %d messages, want %d: %q", len(got), len(want), got)
	}
	for range 3 { // and none of them again
		receiver.Disconnect()
		if err := sender.Send(imtest.Bounded(t), 2, "after a break"); err != nil {
			t.Fatal(err)
		}
		want = append(want, "after a break")
		later.await(t, len(want)-2)
	}
	if got := append(box.texts(), later.texts()...); !slices.Equal(got, want) {
		t.Errorf("after breaks: got %d messages, want %d", len(got), len(want))
	}
}

// A load is users who write to each other, and what they know to be stored.
type load struct {
	r       *rig
	clients []*client.Client
	boxes   []*mailbox
	stop    chan struct{}
	writers sync.WaitGroup

	mu    sync.Mutex
	acked map[int][]string // by receiver
}

const loadGroup = 9

// newLoad starts users who write to the next one, and now and then to all.
func newLoad(r *rig, users int) *load {
	l := &load{r: r, stop: make(chan struct{}), acked: make(map[int][]string)}
	for i := range users {
		c, box := r.client(int64(i+1), nil)
		if err := c.Join(imtest.Bounded(r.t), loadGroup); err != nil {
			r.t.Fatal(err)
		}
		l.clients, l.boxes = append(l.clients, c), append(l.boxes, box)
	}
	for i, c := range l.clients {
		l.writers.Go(func() { l.write(i, c) })
	}
	return l
}

func (l *load) write(i int, c *client.Client) {
	users := len(l.clients)
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		case <-time.After(rand.N(10 * time.Millisecond)): // a user thinks
		}
		if n%16 == 0 {
			text := fmt.Sprintf("%d %d all", i, n)
			if err := c.SendGroup(imtest.Bounded(l.r.t), loadGroup, text); err != nil {
				l.r.t.Errorf("%d to all: %v", i, err)
				return
			}
			for other := range users {
				if other != i {
					l.note(other, text)
				}
			}
			continue
		}
		text := fmt.Sprintf("%d %d", i, n)
		if err := c.Send(imtest.Bounded(l.r.t), int64((i+1)%users+1), text); err != nil {
			l.r.t.Errorf("%d: %v", i, err)
			return
		}
		l.note((i+1)%users, text)
	}
}

func (l *load) note(receiver int, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[receiver] = append(l.acked[receiver], text)
}

func (l *load) count() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, texts := range l.acked {
		n += len(texts)
	}
	return n
}

// runOn waits until some more was acknowledged.
func (l *load) runOn() {
	l.r.t.Helper()
	from := l.count()
	imtest.Eventually(l.r.t, "more messages", func() bool { return l.count() >= from+400 })
}

// check ends the load and compares: everything that was acknowledged has come, in its sender's order, and once.
func (l *load) check() {
	l.r.t.Helper()
	close(l.stop)
	l.writers.Wait()
	for i, box := range l.boxes {
		got := box.await(l.r.t, len(l.acked[i]))
		for sender := range l.clients {
			prefix := fmt.Sprint(sender, " ")
			from := func(texts []string) (own []string) {
				for _, text := range texts {
					if strings.HasPrefix(text, prefix) {
						own = append(own, text)
					}
				}
				return own
			}
			if got, want := from(got), from(l.acked[i]); !slices.Equal(got, want) {
				l.r.t.Errorf("user %d got %d messages of user %d, want %d\ngot  %q\nwant %q", i, len(got), sender, len(want), got, want)
			}
		}
	}
	l.r.t.Logf("%d messages were acknowledged, and arrived", l.count())
}

func TestKillingOneOfTwoServersUnderLoadLosesNothingAcknowledged(t *testing.T) {
	r := newRig(t)
	one, two := r.start(nil), r.start(nil)
	l := newLoad(r, 12)
	l.runOn()
	one.down.Store(true)
	one.Kill()
	one.node.Close()
	l.runOn()
	imtest.Eventually(t, "all at the other server", func() bool { return two.Load() == len(l.clients) })
	l.check()
}

func TestDrainingOneOfTwoServersUnderLoadLosesNothing(t *testing.T) {
	r := newRig(t)
	one, two := r.start(nil), r.start(nil)
	l := newLoad(r, 12)
	l.runOn()
	one.down.Store(true) // what the registry would say
	if err := one.Drain(imtest.Bounded(t)); err != nil {
		t.Errorf("drain: %v", err)
	}
	if n := one.Load(); n != 0 {
		t.Errorf("%d sessions after the drain", n)
	}
	l.runOn()
	imtest.Eventually(t, "all at the other server", func() bool { return two.Load() == len(l.clients) })
	l.check()
}

func TestARequestThatIsUnderWayIsAnsweredWhenTheServerDrains(t *testing.T) {
	r := newRig(t)
	reached, release := make(chan struct{}), make(chan struct{})
	s := r.start(func(o *access.Options) {
		whole := o.History
		o.History = brokenHistory{History: whole, store: func(ctx context.Context, m history.Message) (int64, error) {
			close(reached)
			<-release
			return whole.Store(ctx, m)
		}}
	})
	sender, _ := r.client(1, nil)
	result := make(chan error, 1)
	go func() { result <- sender.Send(imtest.Bounded(t), 2, "hello") }()
	<-reached
	s.down.Store(true)
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(imtest.Bounded(t)) }()
	imtest.Eventually(t, "no longer accepting", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d := config()
		session, err := d.Dial(ctx, "tcp", s.Addr())
		if err != nil {
			return true
		}
		session.Close()
		return false
	})
	close(release)
	if err := <-result; err != nil {
		t.Errorf("the message under way: %v", err)
	}
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
}

func TestMessagesOutliveAnOutageOfTheStore(t *testing.T) {
	r := newRig(t)
	r.start(nil)
	sender, _ := r.client(1, nil)
	_, box := r.client(2, nil)
	if err := sender.Send(imtest.Bounded(t), 2, "before"); err != nil {
		t.Fatal(err)
	}
	box.await(t, 1)
	r.nats.Stop()
	result := make(chan error, 1)
	go func() { result <- sender.Send(imtest.Bounded(t), 2, "meanwhile") }()
	if err := r.nats.Start(imtest.Bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(imtest.Bounded(t), 2, "after"); err != nil {
		t.Fatal(err)
	}
	if texts := box.await(t, 3); !slices.Equal(texts, []string{"before", "meanwhile", "after"}) {
		t.Errorf("got %q", texts)
	}
}

func TestMessagesGoOnAfterTheStoreHasLostItsFiles(t *testing.T) {
	r := newRig(t)
	r.start(nil)
	sender, _ := r.client(1, nil)
	receiver, box := r.client(2, func(o *client.Options) { o.Keepalive = 100 * time.Millisecond }) // which syncs
	var want []string
	say := func(text string) {
		t.Helper()
		if err := sender.Send(imtest.Bounded(t), 2, text); err != nil {
			t.Fatal(err)
		}
		if err := sender.SendGroup(imtest.Bounded(t), 9, text+" to all"); err != nil {
			t.Fatal(err)
		}
		want = append(want, text, text+" to all")
	}
	if err := receiver.Join(imtest.Bounded(t), 9); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		say(fmt.Sprint("before ", i))
	}
	box.await(t, len(want))

	r.nats.Stop()
	if err := os.RemoveAll(r.files); err != nil {
		t.Fatal(err)
	}
	if err := r.nats.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	imtest.Eventually(t, "the receiver begins anew, too", func() bool { return receiver.Current() == 0 })
	if err := receiver.Join(imtest.Bounded(t), 9); err != nil { // memberships are lost as messages are
		t.Fatal(err)
	}
	say("after")
	if got := box.await(t, len(want)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
