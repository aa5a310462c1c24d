package demo

import (
	"context"
	"sync"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

// askEvery is how often the gateway is asked, besides by the users.
const askEvery = 5 * time.Millisecond

// answers are what the gateway says to somebody who asks all the time. Its methods may be called by any goroutine.
type answers struct {
	gateway string
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

func startAnswers(gateway string) *answers {
	ctx, cancel := context.WithCancel(context.Background())
	a := &answers{gateway: gateway, cancel: cancel, done: make(chan struct{})}
	go a.run(ctx)
	return a
}

func (a *answers) run(ctx context.Context) {
	defer close(a.done)
	for wait.Pause(ctx, askEvery) {
		asked := time.Now()
		asking, cancel := context.WithTimeout(ctx, patience)
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

func (a *answers) stop() {
	a.cancel()
	<-a.done
}

// between counts the answers to who asked in that time, and those that were none.
func (a *answers) between(from, to time.Time) (asked, failed int) {
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

// lastNamed says how long after a moment somebody asked who was still sent to that server; 0 when nobody was.
func (a *answers) lastNamed(server string, since time.Time) (after time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, answer := range a.all {
		if answer.server == server && answer.asked.After(since) {
			after = answer.asked.Sub(since)
		}
	}
	return after
}
