package trial

import (
	"context"
	"sync"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

// Answers are what the gateway says to somebody who asks all the time. Their methods may be called by any goroutine.
type Answers struct {
	gateway string
	every   time.Duration
	cancel  context.CancelFunc
	done    chan struct{} // run closes it

	// mu guards the following.
	mu  sync.Mutex
	all []answer
}

// An answer is one of them: the address of an access server, or an error.
type answer struct {
	asked  time.Time
	server string
	err    error
}

// StartAnswers asks the gateway at that address, again this long after each answer, until Stop.
func StartAnswers(gateway string, every time.Duration) *Answers {
	ctx, cancel := context.WithCancel(context.Background())
	a := &Answers{gateway: gateway, every: every, cancel: cancel, done: make(chan struct{})}
	go a.run(ctx)
	return a
}

func (a *Answers) run(ctx context.Context) {
	defer close(a.done)
	for wait.Pause(ctx, a.every) {
		asked := time.Now()
		asking, cancel := context.WithTimeout(ctx, Patience)
		server, err := client.Pick(asking, a.gateway)
		cancel()
		if ctx.Err() != nil {
			return
		}
		a.mu.Lock()
		a.all = append(a.all, answer{asked, server, err})
		a.mu.Unlock()
	}
}

// Stop ends the asking.
func (a *Answers) Stop() {
	a.cancel()
	<-a.done
}

// Between counts the answers to who asked in that time, and those that were none.
func (a *Answers) Between(from, to time.Time) (asked, failed int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, answer := range a.all {
		if answer.asked.Before(from) || answer.asked.After(to) {
			continue
		}
		if asked++; answer.err != nil {
			failed++
		}
	}
	return asked, failed
}

// LastNamed says how long after a moment somebody asked who was still sent to that server; 0 when nobody was.
func (a *Answers) LastNamed(server string, since time.Time) (after time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, answer := range a.all {
		if answer.server == server && answer.asked.After(since) {
			after = answer.asked.Sub(since)
		}
	}
	return after
}
