package libnet

import (
	"context"
	"log/slog"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

// logLines is how many lines a second peers can cause above debug level. What is left out is counted
// in the next line.
const logLines = 10

// An eventLog writes a server's log lines. What peers cause is rate-limited.
type eventLog struct {
	mu lock.Mutex[logLock]
	// mu guards the following.
	ends, panics, broadcasts, refusals lineLimit
	acceptLine                         time.Time // the last line about the listener
}

type logLock struct{}

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

// write writes a rate-limited line, apart from the goroutine that it is about. No lock is held: a logger may call
// the session and the server.
func (l *eventLog) write(limit *lineLimit, logger *slog.Logger, level slog.Level, text string, attrs ...slog.Attr) {
	if dropped, ok := l.allow(limit); ok {
		apart(func() { logger.LogAttrs(context.Background(), level, text, leftOut(attrs, dropped)...) })
	}
}

// panicked is about a session, or about a connection or listener if that is 0.
func (l *eventLog) panicked(logger *slog.Logger, session uint64, p *panicError) {
	stack := p.stack.Swap(nil)
	if stack == nil {
		return
	}
	attrs := []slog.Attr{slog.String("error", p.Error()), slog.String("stack", *stack)}
	if session != 0 {
		attrs = append([]slog.Attr{slog.Uint64("session", session)}, attrs...)
	}
	l.write(&l.panics, logger, slog.LevelError, "libnet: panic", attrs...)
}

// notEncoded is about a broadcast, which would otherwise write a line for each of its sessions.
func (l *eventLog) notEncoded(s *Session, err error) {
	l.write(&l.broadcasts, s.owner.logger(), slog.LevelWarn, "libnet: broadcast not encoded",
		slog.Uint64("session", s.id), slog.String("error", errorText(err)))
}

// refused is about a connection that could not be made a session.
func (l *eventLog) refused(logger *slog.Logger, err error) {
	l.write(&l.refusals, logger, slog.LevelWarn, "libnet: connection refused", slog.String("error", errorText(err)))
}

func leftOut(attrs []slog.Attr, dropped int) []slog.Attr {
	if dropped > 0 {
		attrs = append(attrs, slog.Int("lines_left_out", dropped))
	}
	return attrs
}

// sessionEnded runs on the goroutine that ended s: a line at debug level costs no other.
func (l *eventLog) sessionEnded(s *Session, reason error, name string, stats SessionStats) {
	defer loggerPanicked()
	level := slog.LevelInfo
	switch name {
	case "eof", "closed", "server_closed", "reset":
		level = slog.LevelDebug
	case "panic":
		if _, ok := reason.(*panicError); ok {
			return // logged with its stack
		}
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
		slog.String("reason", name),
		slog.String("error", errorText(reason)),
		slog.Uint64("messages_in", stats.MessagesIn),
		slog.Uint64("messages_out", stats.MessagesOut),
		slog.Uint64("discarded", stats.Discarded),
	}
	logger.LogAttrs(context.Background(), level, "libnet: session ended", leftOut(attrs, dropped)...)
}

// remote is the peer's address as text, empty where the conn has none to give.
func (s *Session) remote() (text string) {
	apart(func() {
		if addr := s.RemoteAddr(); !isNil(addr) {
			text = addr.String()
		}
	})
	return text
}

// acceptFailed counts a listener's passing error and logs one a second.
func (srv *Server) acceptFailed(err error, backoff time.Duration) {
	srv.mu.Lock()
	srv.acceptErrors++
	srv.mu.Unlock()
	if srv.log.acceptLineDue() {
		text := errorText(err)
		apart(func() { srv.logger().Warn("libnet: accept failed, waiting", "error", text, "wait", backoff) })
	}
}

func (l *eventLog) acceptLineDue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.acceptLine) < time.Second {
		return false
	}
	l.acceptLine = now
	return true
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
