package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

const (
	// attemptTimeout is how long one answer is waited for before the question is asked again: of a cluster, another
	// server may answer it.
	attemptTimeout = time.Second

	// retryPause is between a question that nobody could answer and the next attempt.
	retryPause = 20 * time.Millisecond
)

// repeated calls f, which asks one thing, again while no answer comes, until ctx ends. f may have been done already
// when it is called again.
func repeated(ctx context.Context, f func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		err := f(attempt)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
}

// inBucket calls f with a bucket, again while no answer comes.
func inBucket(ctx context.Context, js jetstream.JetStream, name string, f func(context.Context, jetstream.KeyValue) error) error {
	return repeated(ctx, func(ctx context.Context) error {
		kv, err := js.KeyValue(ctx, name)
		if err != nil {
			return err
		}
		return f(ctx, kv)
	})
}

func streamOf(ctx context.Context, js jetstream.JetStream, name string) (stream jetstream.Stream, err error) {
	err = repeated(ctx, func(ctx context.Context) error {
		stream, err = js.Stream(ctx, name)
		return err
	})
	return stream, err
}

// purge removes a subject's messages.
func purge(ctx context.Context, stream jetstream.Stream, subject string, o ...jetstream.StreamPurgeOpt) error {
	o = append(o, jetstream.WithPurgeSubject(subject))
	return repeated(ctx, func(ctx context.Context) error { return stream.Purge(ctx, o...) })
}

// An asker asks JetStream for messages by direct get, which makes no consumer. What comes as the answer are several
// messages and one that says that they were all. They come to one subscription, which lives as long as the
// connection: of a new one the server that answers may not have heard yet. Any goroutine may use it.
type asker struct {
	nc    *nats.Conn
	inbox string // what the answers' subjects begin with

	// mu guards the following.
	mu      sync.Mutex
	asked   uint64
	waiting map[string]*answer // by the subject to which it comes
}

// An answer is what has come of one.
type answer struct {
	single   bool          // immutable: one message is the answer, or that there is none
	messages []*nats.Msg   // owned by the subscription's goroutine until complete is closed
	end      *nats.Msg     // set before complete is closed
	complete chan struct{} // closed by the subscription's goroutine
}

func newAsker(nc *nats.Conn) (*asker, error) {
	a := &asker{nc: nc, inbox: nc.NewInbox() + ".", waiting: make(map[string]*answer)}
	_, err := nc.Subscribe(a.inbox+"*", a.arrived)
	return a, err
}

func (a *asker) arrived(msg *nats.Msg) {
	a.mu.Lock()
	to := a.waiting[msg.Subject]
	status := len(msg.Data) == 0 && msg.Header.Get("Status") != ""
	if to != nil && (status || to.single) {
		delete(a.waiting, msg.Subject)
	}
	a.mu.Unlock()
	if to == nil {
		return // nobody waits for it any more
	}
	if !status {
		to.messages = append(to.messages, msg)
	}
	if status || to.single {
		to.end = msg
		close(to.complete)
	}
}

// errIncomplete is an answer of which something got lost.
var errIncomplete = errors.New("a part of the answer is missing")

// A question is what direct get is asked: for the last messages of subjects from a sequence on, or for the next ones of
// a subject; without a batch for one.
type question struct {
	Seq       int64    `json:"seq,omitempty"`
	MultiLast []string `json:"multi_last,omitempty"`
	Next      string   `json:"next_by_subj,omitempty"`
	Batch     int      `json:"batch,omitempty"`
	MaxBytes  int      `json:"max_bytes,omitempty"`
}

// ask asks until there is a whole answer, or ctx ends. The message that ends the answer is returned beside the others.
func (a *asker) ask(ctx context.Context, stream string, q question) (messages []*nats.Msg, end *nats.Msg, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, nil, err
	}
	for {
		to := &answer{single: q.Next != "" && q.Batch == 0, complete: make(chan struct{})}
		if err = a.once(ctx, "$JS.API.DIRECT.GET."+stream, body, to); err == nil {
			return to.messages, to.end, nil
		}
		if errors.Is(err, nats.ErrConnectionClosed) {
			return nil, nil, err
		}
		if !wait.Pause(ctx, retryPause) {
			return nil, nil, fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

func (a *asker) once(ctx context.Context, subject string, body []byte, to *answer) error {
	a.mu.Lock()
	a.asked++
	reply := a.inbox + strconv.FormatUint(a.asked, 36)
	a.waiting[reply] = to
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.waiting, reply)
		a.mu.Unlock()
	}()
	if err := a.nc.PublishRequest(subject, reply, body); err != nil {
		return err
	}
	late := time.NewTimer(attemptTimeout)
	defer late.Stop()
	select {
	case <-to.complete:
		return to.check()
	case <-late.C:
		return fmt.Errorf("no answer of %s within %v", subject, attemptTimeout)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// check returns an error for an answer that is none. Each message names the one before it, so that one that got lost is
// missed.
func (a *answer) check() error {
	if a.single && len(a.messages) == 1 {
		return nil
	}
	var last int64
	for _, msg := range a.messages {
		if number(msg, "Nats-Last-Sequence") != last {
			return errIncomplete
		}
		last = sequence(msg)
	}
	switch status := a.end.Header.Get("Status"); {
	case status == statusEnd && number(a.end, "Nats-Last-Sequence") != last:
		return errIncomplete
	case status != statusEnd && status != statusNone:
		return fmt.Errorf("direct get: %s %s", status, a.end.Header.Get("Description"))
	}
	return nil
}

// How an answer ends: with what there is, or because there is nothing.
const (
	statusEnd  = "204"
	statusNone = "404"
)

func sequence(msg *nats.Msg) int64 { return number(msg, "Nats-Sequence") }

// number reads a header; 0 if there is none.
func number(msg *nats.Msg, header string) int64 {
	n, _ := strconv.ParseInt(msg.Header.Get(header), 10, 64)
	return n
}
