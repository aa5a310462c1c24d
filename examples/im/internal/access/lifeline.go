package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// defaultCutAfter is how long NATS may be silent before the server counts as cut off.
	defaultCutAfter = 3 * time.Second

	// probeEvery is the pause between two questions to NATS, probeTimeout bounds the answer.
	probeEvery   = 250 * time.Millisecond
	probeTimeout = 750 * time.Millisecond

	// probeLate is how long a question may take altogether before it counts as unanswered while it goes on.
	probeLate = probeEvery + probeTimeout
)

// ErrClosedForGood is wrapped by what [Instance.Failed] gives when the connection to NATS will not come back: the
// server has no use any more, and whoever runs it has to start another.
var ErrClosedForGood = errors.New("access: the connection to NATS is closed for good")

// errStuck is of a question that ends neither with an answer nor with its time.
var errStuck = errors.New("access: the connection to NATS is being made")

// A lifeline is the instance's view of its connection to NATS: a server that has lost it keeps its users from everybody
// else, and being the least loaded would be given more.
type lifeline struct {
	conn   *nats.Conn
	lost   <-chan struct{} // is closed when the cluster's node says that the connection is closed for good
	after  time.Duration
	setCut func(bool) // is called when the state changes
	log    *slog.Logger

	// Owned by watch.
	asked  chan error    // takes the answer to a question that is under way; nil: there is none
	silent time.Duration // for how long the questions have been without an answer
	cut    bool
}

// watch asks until ctx ends, and then returns nil, or until the connection is closed for good.
func (l *lifeline) watch(ctx context.Context) error {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.lost:
			return l.closed()
		case <-ticker.C:
		}
		waited, err := l.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrClosedForGood):
			return l.closed()
		case err == nil:
			l.answered()
		default:
			l.unanswered(waited, err)
		}
	}
}

func (l *lifeline) closed() error { return fmt.Errorf("%w: %v", ErrClosedForGood, l.conn.LastError()) }

// ask returns for how long NATS has been given the chance to answer: not the time that the clock shows, which passes
// also while the whole process is stopped.
func (l *lifeline) ask(ctx context.Context) (waited time.Duration, err error) {
	if l.asked == nil {
		l.asked = make(chan error, 1)
		go func(asked chan<- error) { asked <- l.question(ctx) }(l.asked)
	}
	late := time.NewTimer(probeLate)
	defer late.Stop()
	select {
	case err := <-l.asked:
		l.asked = nil
		if errors.Is(err, nats.ErrDisconnected) {
			return probeEvery, err
		}
		return probeEvery + probeTimeout, err
	case <-late.C:
		return probeLate, errStuck
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// question asks once. The client holds its lock while it waits for a server that has taken a new connection, and all
// that it is asked waits for that.
func (l *lifeline) question(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := nats.ErrDisconnected
	if l.conn.IsConnected() {
		err = l.conn.FlushWithContext(ctx)
	}
	if l.conn.IsClosed() {
		return ErrClosedForGood
	}
	return err
}

func (l *lifeline) answered() {
	if l.cut {
		l.log.Info("access: NATS answers again, taking users")
		l.cut = false
		l.setCut(false)
	}
	l.silent = 0
}

func (l *lifeline) unanswered(waited time.Duration, err error) {
	l.silent += waited
	if l.silent >= l.after && !l.cut {
		l.log.Warn("access: NATS does not answer, sending users to other servers", "for", l.silent, "error", err)
		l.cut = true
		l.setCut(true)
	}
}
