package cluster

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"

	"github.com/nats-io/nats.go"
)

// An Answerer answers requests in an encoding of its own, in which it says what went wrong, too: a *mux.Mux, whose
// handlers are given a nil session. Answer is called by as many goroutines as there are calls, and should return when
// ctx ends. An error says that there is no answer, and the caller gets [ErrUnanswered].
type Answerer interface {
	Answer(ctx context.Context, request []byte) (reply []byte, err error)
}

// defaultConcurrency bounds what callers can have a node do at a time.
const defaultConcurrency = 1024

// ServeOptions say how a service is served. The zero value is ready.
type ServeOptions struct {
	// Concurrency is how many calls this node serves at a time; default 1,024. Further ones are refused: their callers
	// try other nodes, and get [ErrBusy]. Negative: no bound.
	Concurrency int
}

func (o ServeOptions) places() chan struct{} {
	switch {
	case o.Concurrency == 0:
		return make(chan struct{}, defaultConcurrency)
	case o.Concurrency < 0:
		return nil
	}
	return make(chan struct{}, o.Concurrency)
}

// A Serving is a service that this node serves. Its methods may be called by any goroutine.
type Serving struct {
	node   *Node
	name   string
	answer Answerer
	places chan struct{} // holds one for each call that is served; nil: no bound
	life   context.Context
	stop   context.CancelFunc
	sub    *nats.Subscription // set before Serve returns
	ended  chan struct{}      // closed by the NATS client behind the last call

	running sync.WaitGroup // handle adds, behind ended nobody does
}

// Serve has this node serve calls to the service of a name, beside all others that do: each call reaches one node. It
// takes calls from when it returns until [Serving.Drain], [Node.Drain] or [Node.Close]; other nodes learn of it as fast
// as a message reaches them, at the latest when a [Node.Sync] that begins after it has returned. A name may be served
// several times.
//
// Each call is answered on a goroutine of its own. Its context ends when the caller's time is over or the node is
// closed, and [HeaderOf] has what came with it. A panic is logged, and the caller gets [ErrUnanswered]. Errors:
// [ErrInvalidName]; [ErrDraining]; [ErrDisconnected]; [ErrClosed]. It panics without a.
func (n *Node) Serve(name string, a Answerer, o ServeOptions) (*Serving, error) {
	if a == nil {
		panic("cluster: Serve without an Answerer")
	}
	if err := n.accepting(); err != nil {
		return nil, err
	}
	token, err := checkedToken(name)
	if err != nil {
		return nil, err
	}
	s := &Serving{node: n, name: name, answer: a, places: o.places(), ended: make(chan struct{})}
	s.life, s.stop = context.WithCancel(n.life)
	if s.sub, err = n.conn.QueueSubscribe(n.subjects.service(token), serviceQueue, s.handle); err != nil {
		s.stop()
		return nil, natsError(err)
	}
	s.sub.SetClosedHandler(func(string) { close(s.ended) })
	n.services.add(s)
	return s, nil
}

// Drain takes no more calls, and returns when those that came before have been answered; then it returns nil, and
// otherwise ctx's error. A second call waits for the same. Without a deadline in ctx, Options.Timeout bounds it.
func (s *Serving) Drain(ctx context.Context) error {
	ctx, cancel := s.node.bounded(ctx)
	defer cancel()
	s.node.services.remove(s)
	if err := s.sub.Drain(); err != nil && !errors.Is(err, nats.ErrBadSubscription) && !errors.Is(err, nats.ErrConnectionClosed) {
		return natsError(err)
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		select {
		case <-s.ended:
			s.running.Wait()
			s.stop()
		case <-s.node.done:
		}
	}()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handle is called by the NATS client for each call, one at a time.
func (s *Serving) handle(m *nats.Msg) {
	if s.places != nil {
		select {
		case s.places <- struct{}{}:
		default:
			s.node.stats.busy.Add(1)
			s.reply(m, answers[answerBusy])
			return
		}
	}
	s.running.Go(func() { s.serve(m) })
}

// serve answers a call, whatever its handler does.
func (s *Serving) serve(m *nats.Msg) {
	data := answers[answerUnanswered]
	returned := false
	defer func() {
		if !returned {
			s.logPanic(recover())
		}
		s.reply(m, data)
		if s.places != nil {
			<-s.places
		}
	}()
	ctx, cancel := s.context(m)
	defer cancel()
	s.node.stats.served.Add(1)
	reply, err := s.answer.Answer(ctx, m.Data)
	returned = true
	if err == nil {
		data = append([]byte{answerReply}, reply...)
	}
}

func (s *Serving) logPanic(value any) {
	s.node.log.Error("cluster: a call's handler did not return", "node", s.node.id, "service", s.name, "panic", textOf(value), "stack", string(debug.Stack()))
}

// context is the one of a call.
func (s *Serving) context(m *nats.Msg) (context.Context, context.CancelFunc) {
	header := receivedHeader(m.Header)
	ctx := context.WithValue(s.life, receivedKey{}, header)
	ctx = s.node.trace.extract(ctx, header)
	if timeout, ok := callTimeout(m.Header); ok {
		return context.WithTimeout(ctx, timeout)
	}
	return ctx, func() {}
}

// reply answers a call. One that is too large for the NATS server is answered with that.
func (s *Serving) reply(m *nats.Msg, data []byte) {
	if m.Reply == "" {
		return
	}
	if err := s.node.conn.Publish(m.Reply, data); errors.Is(err, nats.ErrMaxPayload) {
		_ = s.node.conn.Publish(m.Reply, answers[answerTooLarge])
	} // without a connection, the caller learns that by itself
}

// services are those that a node serves.
type services struct {
	mu sync.Mutex
	// mu guards the following.
	open map[*Serving]struct{}
}

func (ss *services) add(s *Serving) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.open == nil {
		ss.open = make(map[*Serving]struct{})
	}
	ss.open[s] = struct{}{}
}

func (ss *services) remove(s *Serving) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.open, s)
}

// drain drains all, at the same time.
func (ss *services) drain(ctx context.Context) error {
	ss.mu.Lock()
	errs := make(chan error, len(ss.open))
	count := len(ss.open)
	for s := range ss.open {
		go func() { errs <- s.Drain(ctx) }()
	}
	ss.mu.Unlock()
	var all []error
	for range count {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
