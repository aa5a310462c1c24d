package libnet

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// logLines is how many lines a second peers can cause above debug level. What is left out is counted
// in the next line.
const logLines = 10

// An eventLog writes a server's log lines. What peers cause is rate-limited.
type eventLog struct {
	mu sync.Mutex
	// mu guards the following.
	ends, panics, broadcasts lineLimit
	acceptLine               time.Time // the last line about the listener
}

// lineLimit is for one kind of line, so that a flood of one does not hide another.
type lineLimit struct {
	second  time.Time // when the current second of lines began
	lines   int
	dropped int
}

// dialLog is for sessions that have no server.
var dialLog eventLog

func (o *owner) eventLog() *eventLog {
	if o.server == nil {
		return &dialLog
	}
	return &o.server.log
}

// allow reports whether a line may be written, and how many were left out before it.
func (l *eventLog) allow(limit *lineLimit) (dropped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(limit.second) >= time.Second {
		limit.second, limit.lines = now, 0
	}
	if limit.lines == logLines {
		limit.dropped++
		return 0, false
	}
	limit.lines++
	dropped, limit.dropped = limit.dropped, 0
	return dropped, true
}

// loggerPanicked is deferred around calls of the user's logger: one that panics loses its line, and
// nobody else anything.
func loggerPanicked() { _ = recover() }

func (l *eventLog) panicked(s *Session, err error, stack string) {
	defer loggerPanicked()
	dropped, ok := l.allow(&l.panics)
	if !ok {
		return
	}
	attrs := []slog.Attr{
		slog.Uint64("session", s.id),
		slog.String("error", err.Error()),
		slog.String("stack", stack),
	}
	s.owner.logger().LogAttrs(context.Background(), slog.LevelError, "libnet: panic", leftOut(attrs, dropped)...)
}

// notEncoded is about a broadcast, which would otherwise write a line for each of its sessions.
func (l *eventLog) notEncoded(s *Session, err error) {
	defer loggerPanicked()
	dropped, ok := l.allow(&l.broadcasts)
	if !ok {
		return
	}
	attrs := []slog.Attr{slog.Uint64("session", s.id), slog.String("error", printable(err.Error()))}
	s.owner.logger().LogAttrs(context.Background(), slog.LevelWarn, "libnet: broadcast not encoded", leftOut(attrs, dropped)...)
}

func leftOut(attrs []slog.Attr, dropped int) []slog.Attr {
	if dropped > 0 {
		attrs = append(attrs, slog.Int("lines_left_out", dropped))
	}
	return attrs
}

func (l *eventLog) sessionEnded(s *Session, reason error, stats SessionStats) {
	defer loggerPanicked()
	level := slog.LevelInfo
	switch CloseReason(reason) {
	case "eof", "closed", "server_closed", "reset":
		level = slog.LevelDebug
	case "panic":
		return // logged with its stack
	}
	logger := s.owner.logger()
	if !logger.Enabled(context.Background(), level) {
		return
	}
	dropped := 0
	if level > slog.LevelDebug {
		var ok bool
		if dropped, ok = l.allow(&l.ends); !ok {
			return
		}
	}
	attrs := []slog.Attr{
		slog.Uint64("session", s.id),
		slog.String("remote", s.remote()),
		slog.String("reason", CloseReason(reason)),
		slog.String("error", printable(reason.Error())),
		slog.Uint64("messages_in", stats.MessagesIn),
		slog.Uint64("messages_out", stats.MessagesOut),
		slog.Uint64("discarded", stats.Discarded),
	}
	logger.LogAttrs(context.Background(), level, "libnet: session ended", leftOut(attrs, dropped)...)
}

func (s *Session) remote() string {
	if s.conn == nil || s.conn.RemoteAddr() == nil {
		return ""
	}
	return s.conn.RemoteAddr().String()
}

// acceptFailed counts a listener's passing error and logs one a second.
func (srv *Server) acceptFailed(err error, backoff time.Duration) {
	defer loggerPanicked()
	srv.mu.Lock()
	srv.acceptErrors++
	srv.mu.Unlock()
	l := &srv.log
	l.mu.Lock()
	now := time.Now()
	quiet := now.Sub(l.acceptLine) < time.Second
	if !quiet {
		l.acceptLine = now
	}
	l.mu.Unlock()
	if !quiet {
		srv.logger().Warn("libnet: accept failed, waiting", "error", err, "wait", backoff)
	}
}

func (o *owner) countBlocked() {
	if o.server != nil {
		o.server.blocked.Add(1)
	}
}

func (o *owner) countPanic() {
	if o.server != nil {
		o.server.panics.Add(1)
	}
}
