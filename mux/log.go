package mux

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/errchain"
)

// log tells of an error that the peer is not told. That a handler was stopped by the end of its session is none.
func (m *Mux) log(r Request, err error) {
	if r.Session != nil && r.Session.IsClosed() && (errchain.Is(err, context.Canceled) || errchain.Is(err, libnet.ErrSessionClosed)) {
		return
	}
	leftOut, ok := m.lines.take()
	if !ok {
		return
	}
	logger := m.Logger
	if logger == nil {
		logger = slog.Default()
	}
	args := []any{"kind", string(r.Kind), "error", err}
	if r.Session != nil {
		args = append(args, "session", r.Session.ID())
	}
	if leftOut > 0 {
		args = append(args, "lines_left_out", leftOut)
	}
	m.logger.Write(func() { logger.Error("libnet: mux: handler failed", args...) })
}

// linesPerSecond bounds what peers can have logged.
const linesPerSecond = 10

// A logLimit counts lines. Two that begin a second together may have a line more.
type logLimit struct {
	second  atomic.Int64
	lines   atomic.Int64 // in that second
	leftOut atomic.Int64 // since the last line
}

// take asks for a line, and says how many were refused before.
func (l *logLimit) take() (leftOut int64, ok bool) {
	if now := time.Now().Unix(); l.second.Swap(now) != now {
		l.lines.Store(0)
	}
	if l.lines.Add(1) > linesPerSecond {
		l.leftOut.Add(1)
		return 0, false
	}
	return l.leftOut.Swap(0), true
}
