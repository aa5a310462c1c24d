package cluster

import (
	"context"
	"sync"
	"time"
)

const (
	// batchSize is how many messages of a SendMany are under way at a time.
	batchSize = 1024

	// slowSends is how many of those that were not answered at once are sent again at a time.
	slowSends = 64
)

// SendMany is [Node.Send] of one payload to many users, who are asked at the same time: it takes as long as the slowest
// answer of each 1,024. It returns an error for each user, nil where the message is queued, with the meaning that it
// has for Send; a user who is named twice is sent two messages. To a group that has members, [Node.Broadcast] costs
// less.
func (n *Node) SendMany(ctx context.Context, users []string, payload []byte) []error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	errs := make([]error, len(users))
	for first := 0; first < len(users); first += batchSize {
		last := min(first+batchSize, len(users))
		b := &batch{node: n, users: users[first:last], payload: payload, errs: errs[first:last]}
		b.send(ctx)
	}
	return errs
}

// A batch is a part of a SendMany.
type batch struct {
	node    *Node
	users   []string
	payload []byte
	errs    []error // of each user, once that is done

	call *call
	code []byte // of the last answer for each user
	done []bool
	open int // that are not done
}

func (b *batch) send(ctx context.Context) {
	b.code, b.done, b.open = make([]byte, len(b.users)), make([]bool, len(b.users)), len(b.users)
	b.call = b.node.calls.begin(2 * len(b.users))
	defer b.node.calls.end(b.call)
	for i := range b.users {
		if err := b.publish(ctx, i); err != nil {
			b.end(i, err)
		}
	}
	if b.collect(ctx); b.open > 0 {
		b.settle(ctx)
	}
}

func (b *batch) publish(ctx context.Context, i int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	token, err := b.node.check(b.users[i], b.payload)
	if err != nil {
		return err
	}
	b.node.stats.sends.Add(1)
	after, err := b.node.behindDetours(ctx, token)
	if err != nil {
		return err
	}
	return b.node.publish(b.node.subjects.user(token), b.node.replySubject(b.call, i+1), kindMessage, after, b.payload)
}

func (b *batch) end(i int, err error) {
	if !b.done[i] {
		b.done[i], b.errs[i] = true, err
		b.open--
	}
}

// collect takes answers until all have one, or none comes for answerTimeout.
func (b *batch) collect(ctx context.Context) {
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	for b.open > 0 {
		select {
		case a := <-b.call.answers:
			b.answered(a)
			timer.Reset(answerTimeout)
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		case <-b.node.done:
			return
		}
	}
}

func (b *batch) answered(a answer) {
	switch i := a.target - 1; {
	case a.code == answerLost:
		for i := range b.users {
			b.end(i, ErrDisconnected)
		}
	case i < 0 || i >= len(b.users):
	case a.isFinal():
		b.end(i, outcome(a))
	default:
		b.code[i] = a.code
	}
}

// settle ends what had no answer, or none that is certain, once all that was published has been handled everywhere: a
// user who moved to another node meanwhile is sent the message again, and one whose message was lost is not. What
// nobody heard may be sent again in any case.
func (b *batch) settle(ctx context.Context) {
	var err error
	if b.heard() {
		_, err = b.node.barrier(ctx)
	}
	for len(b.call.answers) > 0 {
		b.answered(<-b.call.answers)
	}
	var wg sync.WaitGroup
	places := make(chan struct{}, slowSends)
	for i := range b.users {
		switch {
		case b.done[i]:
		case err != nil:
			b.end(i, b.node.unknown(err))
		case b.code[i] == answerNone:
			b.end(i, ErrDegraded)
		default:
			places <- struct{}{}
			wg.Go(func() {
				b.errs[i] = b.node.send(ctx, token(b.users[i]), b.payload)
				<-places
			})
		}
	}
	wg.Wait()
}

// heard reports whether somebody may have a message whose fate is open.
func (b *batch) heard() bool {
	for i, done := range b.done {
		if !done && b.code[i] != answerNoResponders {
			return true
		}
	}
	return false
}
