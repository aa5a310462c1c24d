package cluster

import (
	"context"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// A Service is what nodes serve under a name, to be called. It is a small value that any goroutine may use, and a
// Carrier of package mux:
//
//	accounts := m.Over(node.Service("accounts"))
//	balance, err := mux.Call[Ask, Balance](ctx, accounts, "balance", &Ask{User: "ann"})
type Service struct {
	node *Node
	name string
}

// Service returns the service of a name, whoever serves it, and whether anybody does.
func (n *Node) Service(name string) Service { return Service{n, name} }

// busyAgain is how often a call that was refused for want of room is made again: it reaches any of the nodes.
const busyAgain = 3

// Carry takes a request to one of the nodes that serve the service, this one included, and returns the reply. The
// handler's context ends with ctx's deadline, and is given the header of [WithHeader] and the trace that ctx carries.
// Bounds: request and header together may have MaxPayload bytes. The reply is the caller's.
//
// Errors: [ErrNoService] when no node serves it that can be reached; [ErrBusy] when the nodes that were asked serve as
// many calls as they may; [ErrUnanswered]; [ErrTooLarge], of a reply, too; [ErrInvalidName]; [ErrInvalidHeader];
// [ErrDisconnected]; [ErrClosed]; ctx's. After ErrUnanswered, ErrDisconnected and ctx's the call may have been served.
// Without a deadline in ctx, Options.Timeout bounds the call.
func (s Service) Carry(ctx context.Context, request []byte) (reply []byte, err error) {
	n := s.node
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	n.stats.calls.Add(1)
	for range busyAgain {
		reply, err = s.once(ctx, request)
		if err != ErrBusy {
			break
		}
	}
	if err != nil {
		n.stats.failedCalls.Add(1)
	}
	return reply, err
}

func (s Service) once(ctx context.Context, request []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	token, err := s.node.check(s.name, request)
	if err != nil {
		return nil, err
	}
	header, err := s.node.callHeader(ctx)
	if err != nil {
		return nil, err
	}
	k := s.node.calls.begin(1)
	defer s.node.calls.end(k)
	m := &nats.Msg{Subject: s.node.subjects.service(token), Reply: s.node.replySubject(k, 0), Header: header, Data: request}
	if err := s.node.conn.PublishMsg(m); err != nil {
		return nil, natsError(err)
	}
	select {
	case a := <-k.answers:
		return callOutcome(a)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.node.done:
		return nil, ErrClosed
	}
}

func callOutcome(a answer) ([]byte, error) {
	switch a.code {
	case answerReply:
		return a.data, nil
	case answerNoResponders:
		return nil, ErrNoService
	case answerBusy:
		return nil, ErrBusy
	case answerTooLarge:
		return nil, ErrTooLarge
	case answerLost:
		return nil, ErrDisconnected
	}
	return nil, ErrUnanswered
}

// timeoutKey is the header in which the caller's time travels, in milliseconds: clocks need not agree.
const timeoutKey = "libnet-timeout"

// maxCallTimeout bounds what a caller can ask for.
const maxCallTimeout = 24 * time.Hour

func appendTimeout(h nats.Header, ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok {
		h[timeoutKey] = []string{strconv.FormatInt(max(time.Until(deadline).Milliseconds(), 1), 10)}
	}
}

// callTimeout is how long the caller waits, if it said so.
func callTimeout(h nats.Header) (time.Duration, bool) {
	values := h[timeoutKey]
	if len(values) == 0 {
		return 0, false
	}
	ms, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil || ms <= 0 {
		return 0, false
	}
	return time.Duration(min(ms, maxCallTimeout.Milliseconds())) * time.Millisecond, true
}
