package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/libnet-go/libnet/cluster"
)

// brokenContext is a user's own context, none of whose methods can be relied on.
type brokenContext struct {
	done   chan struct{}
	broken bool // Done panics, too
}

func (c brokenContext) Done() <-chan struct{} {
	if c.broken {
		panic("Done")
	}
	return c.done
}
func (c brokenContext) Err() error                  { panic("Err") }
func (c brokenContext) Value(any) any               { panic("Value") }
func (c brokenContext) Deadline() (time.Time, bool) { panic("Deadline") }

func TestAContextWhoseMethodsPanicEndsItsCallsAndNotTheProcess(t *testing.T) {
	node := startNode(t, cluster.Options{})
	server := newSessions(t, lines, nil)
	for name, c := range map[string]struct {
		ctx context.Context
		err error
	}{
		"while it goes on": {brokenContext{done: make(chan struct{})}, nil},
		"when it has ended": {brokenContext{done: func() chan struct{} {
			done := make(chan struct{})
			close(done)
			return done
		}()}, context.Canceled},
		"from the beginning": {brokenContext{broken: true}, context.Canceled},
	} {
		session, _ := server.open()
		if err := node.Bind(c.ctx, session, name); !errors.Is(err, c.err) {
			t.Errorf("%s: Bind: %v", name, err)
		}
		_, onlineErr := node.Online(c.ctx, name)
		_, kickErr := node.Kick(c.ctx, name, "")
		for what, err := range map[string]error{"Online": onlineErr, "Kick": kickErr, "Sync": node.Sync(c.ctx)} {
			if !errors.Is(err, c.err) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
	}
}
