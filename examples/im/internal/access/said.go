package access

import (
	"context"
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// What is logged of clients' requests: so many lines a second in the long run, and so many at once. The metrics count
// all.
const (
	saidPerSecond = 10
	saidAtOnce    = 100
)

// A said logs what clients can cause as often as they like, so that they do not fill the operator's disk. Any goroutine
// may use it.
type said struct {
	log   *slog.Logger
	level slog.Level
	some  *rate.Limiter
	left  atomic.Int64 // lines that were left out since the last
}

func newSaid(log *slog.Logger, level slog.Level) *said {
	return &said{log: log, level: level, some: rate.NewLimiter(saidPerSecond, saidAtOnce)}
}

func (s *said) say(text string, args ...any) {
	if !s.some.Allow() {
		s.left.Add(1)
		return
	}
	if left := s.left.Swap(0); left > 0 {
		args = append(args, "left out", left)
	}
	s.log.Log(context.Background(), s.level, text, args...)
}
