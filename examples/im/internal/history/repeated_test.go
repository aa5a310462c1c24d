package history

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAQuestionWhoseAnswerGetsLostIsAskedAgain(t *testing.T) {
	lost := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	answered := func(context.Context) error { return nil }
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		attempts []func(context.Context) error
		err      error
		took     time.Duration
	}{
		"at once":       {[]func(context.Context) error{answered}, nil, 0},
		"after a loss":  {[]func(context.Context) error{lost, answered}, nil, attemptTimeout},
		"never":         {[]func(context.Context) error{lost, lost, lost, lost, lost}, context.DeadlineExceeded, 3500 * time.Millisecond},
		"with an error": {[]func(context.Context) error{lost, func(context.Context) error { return refused }}, refused, attemptTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
				defer cancel()
				began, n := time.Now(), 0
				err := repeated(ctx, func(ctx context.Context) error {
					n++
					return c.attempts[n-1](ctx)
				})
				if took := time.Since(began); !errors.Is(err, c.err) || took != c.took {
					t.Errorf("%v after %v; want %v after %v", err, took, c.err, c.took)
				}
			})
		})
	}
}
