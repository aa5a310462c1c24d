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
	second  time.Time // when the current second of lines began
	lines   int
	dropped int

	acceptLine time.Time // the last line about the listener
}

// allow reports whether a line may be written, and how many were left out before it.
func (l *eventLog) allow() (dropped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.second) >= time.Second {
		l.second, l.lines = now, 0
	}
	if l.lines == logLines {
		l.dropped++
		return 0, false
	}
	l.lines++
	dropped, l.dropped = l.dropped, 0
	return dropped, true
}

func (l *eventLog) sessionEnded(s *Session, reason error, stats SessionStats) {
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
		if dropped, ok = l.allow(); !ok {
			return
		}
	}
	attrs := []slog.Attr{
		slog.Uint64("session", s.id),
		slog.String("remote", s.remote()),
		slog.String("reason", CloseReason(reason)),
		slog.String("error", quote(reason.Error())),
		slog.Uint64("messages_in", stats.MessagesIn),
		slog.Uint64("messages_out", stats.MessagesOut),
		slog.Uint64("discarded", stats.Discarded),
	}
	if dropped > 0 {
		attrs = append(attrs, slog.Int("lines_left_out", dropped))
	}
	logger.LogAttrs(context.Background(), level, "libnet: session ended", attrs...)
}

func (s *Session) remote() string {
	if s.conn == nil || s.conn.RemoteAddr() == nil {
		return ""
	}
	return s.conn.RemoteAddr().String()
}

// acceptFailed counts a listener's passing error and logs one a second.
func (srv *Server) acceptFailed(err error, backoff time.Duration) {
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
