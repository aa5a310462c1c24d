package cluster

import (
	"context"
	"time"

	"github.com/libnet-go/libnet/cluster/internal/directory"
)

// A pursuit follows a user whom interest did not find.
type pursuit struct {
	node    *Node
	call    *call
	token   string
	kind    byte
	payload []byte
	choose  func(directory.Login) bool // nil, or whether the login is meant; sets the payload
	last    byte                       // the last answer that was not final; answerNone: none has come yet
	tried   int                        // nodes that were asked
	target  int                        // of the last question
}

// run returns the first final answer. Errors are those of Send.
func (p *pursuit) run(ctx context.Context) (answer, error) {
	for {
		l, err := p.node.locate(ctx, p.token)
		if a, ok := p.arrived(); ok {
			return a, a.lost()
		}
		switch {
		case err != nil:
			return answer{}, p.node.unknown(err)
		case l.Node == "" && p.last == answerNone && p.kind == kindMessage:
			return answer{}, ErrDegraded // somebody who is no node of ours may have it
		case l.Node == "", p.choose != nil && !p.choose(l):
			return answer{}, ErrOffline
		}
		a, err := p.at(ctx, l)
		if err != nil || a.isFinal() {
			return a, err
		}
		if p.tried++; p.tried > 1 {
			if err := p.pause(ctx); err != nil {
				return answer{}, err
			}
		}
	}
}

// arrived returns a final answer that has come meanwhile.
func (p *pursuit) arrived() (answer, bool) {
	for len(p.call.answers) > 0 {
		a := <-p.call.answers
		if a.isFinal() || a.code == answerLost {
			return a, true
		}
		p.passed(a)
	}
	return answer{}, false
}

// passed notes an answer that ends no wait. Where the processor is slow, the one to the user's subject comes when
// already another is waited for, and says all the same that nothing was lost.
func (p *pursuit) passed(a answer) {
	if a.target == 0 && p.last == answerNone {
		p.last = a.code
	}
}

// at asks the node that is known to hold the user. Whoever had the question before and is not this node gave no answer
// that counts; whether this node had it, a fence tells, which it answers after all that came before.
func (p *pursuit) at(ctx context.Context, l directory.Login) (answer, error) {
	subject := p.node.subjects.at(l.Node, p.token)
	if p.last != answerNoResponders {
		a, err := p.await(ctx, l.Node, subject, kindFence, nil)
		if err != nil || a.code != answerFence {
			return a, err // a final answer after all, or the user has left
		}
		if p.last == answerNone && p.kind == kindMessage {
			if a, err := p.lateAnswer(ctx); err != nil || a.isFinal() {
				return a, err
			}
		}
	}
	a, err := p.await(ctx, l.Node, subject, p.kind, p.payload)
	p.last = answerNoResponders // whom it was sent to has answered, and has not taken it
	return a, err
}

// lateAnswer waits until whoever has a message that was not answered must have answered: if none did, it or its answer
// was lost, and sent again it might arrive twice.
func (p *pursuit) lateAnswer(ctx context.Context) (answer, error) {
	_, err := p.node.barrier(ctx)
	if a, ok := p.arrived(); ok {
		return a, a.lost()
	}
	if err == nil && p.last == answerNone {
		err = ErrDegraded
	}
	return answer{}, err
}

// await asks one node. Answers to earlier questions count only if they are final.
func (p *pursuit) await(ctx context.Context, node, subject string, kind byte, payload []byte) (answer, error) {
	p.target += 2
	return p.node.await(ctx, &question{
		call: p.call, node: node, subject: subject, target: p.target, kind: kind, payload: payload, passed: p.passed,
	})
}

// pursuitPause is how long a user who moves, or leaves, is waited for.
const pursuitPause = 5 * time.Millisecond

func (p *pursuit) pause(ctx context.Context) error {
	timer := time.NewTimer(pursuitPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return p.node.unknown(ctx.Err())
	case <-p.node.done:
		return ErrClosed
	}
}
