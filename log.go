package libnet

import (
	"context"
	"log/slog"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/usercode"
)

// logLines is how many lines a second peers can cause above debug level. What is left out is counted
// in the next line.
const logLines = 10

// A logger is the user's: it may be slow, and may not return.
const (
	// loggerPatience is how long whoever has something to log waits for a logger, and how long that may take until one
	// of its calls returns. As long as none does, it gets no other.
	loggerPatience = 500 * time.Millisecond

	// loggerCalls is how many calls of one logger may be at work.
	loggerCalls = 64
)

// An eventLog writes a server's log lines. What peers cause is rate-limited.
type eventLog struct {
	mu lock.Mutex[logLock]
	// mu guards the following.
	ends, panics, broadcasts, refusals lineLimit
	late                               lineLimit
	acceptLine                         time.Time // the last line about the listener
	discardLine                        time.Time // the last line about what a Close has thrown away
	changedLine                        bool      // that Config was changed too late has been said

	calls  map[*slog.Logger]*callsOfLogger // those at work; nil until there is one
	missed int                             // lines above debug level that a logger which hangs was not called for
}

// callsOfLogger are the calls of one logger that have not returned.
type callsOfLogger struct {
	n     int
	moved time.Time // when one last returned, or the first began
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

// allow reports whether a line may be written, and how many were left out before it. A nil limit is none.
func (l *eventLog) allow(limit *lineLimit) (dropped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limit != nil {
		// In a test the clock may be another one, of a synctest bubble: dialLog has lines of both.
		now := time.Now()
		if since := now.Sub(limit.second); since >= time.Second || since < 0 {
			limit.second, limit.lines = now, 0
		}
		if limit.lines == logLines {
			limit.dropped++
			return 0, false
		}
		limit.lines++
		dropped, limit.dropped = limit.dropped, 0
	}
	dropped += l.missed
	l.missed = 0
	return dropped, true
}

// call has f call a logger, on a goroutine of its own, which the logger may end or keep, and with no lock held: it may
// call the session and the server. It returns when f has, or after loggerPatience. A logger that hangs already is not
// called.
func (l *eventLog) call(logger *slog.Logger, f func()) (called, returned bool) {
	if !l.beginCall(logger) {
		return false, false
	}
	return true, within(loggerPatience, func() {
		defer l.endCall(logger)
		defer func() { _ = recover() }() // its line is lost, and nobody else has lost anything
		f()
	})
}

func (l *eventLog) beginCall(logger *slog.Logger) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, now := l.calls[logger], time.Now()
	switch {
	case c == nil:
		if l.calls == nil {
			l.calls = make(map[*slog.Logger]*callsOfLogger)
		}
		c = &callsOfLogger{moved: now}
		l.calls[logger] = c
	case c.n == loggerCalls || now.Sub(c.moved) >= loggerPatience:
		return false
	}
	c.n++
	return true
}

func (l *eventLog) endCall(logger *slog.Logger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[logger]
	c.moved = time.Now()
	if c.n--; c.n == 0 {
		delete(l.calls, logger)
	}
}

// isEnabled asks the logger. A line of one that has no answer is left out.
func (l *eventLog) isEnabled(logger *slog.Logger, level slog.Level) bool {
	answer := make(chan bool, 1)
	_, returned := l.call(logger, func() { answer <- logger.Enabled(context.Background(), level) })
	if !returned {
		l.miss(level, 1)
	}
	return returned && len(answer) > 0 && <-answer
}

// miss counts lines that were not written, but for those that most loggers would not have written.
func (l *eventLog) miss(level slog.Level, lines int) {
	if level > slog.LevelDebug {
		l.mu.Lock()
		l.missed += lines
		l.mu.Unlock()
	}
}

// write writes a line within limit, if there is one. It is written when write returns, but for a logger that takes its
// time.
func (l *eventLog) write(limit *lineLimit, logger *slog.Logger, level slog.Level, text string, attrs ...slog.Attr) {
	if dropped, ok := l.allow(limit); ok {
		l.writeAllowed(dropped, logger, level, text, attrs...)
	}
}

// writeAllowed is write for who has asked before, since making the attributes costs something.
func (l *eventLog) writeAllowed(dropped int, logger *slog.Logger, level slog.Level, text string, attrs ...slog.Attr) {
	attrs = leftOut(attrs, dropped)
	if called, _ := l.call(logger, func() { logger.LogAttrs(context.Background(), level, text, attrs...) }); !called {
		l.miss(level, dropped+1)
	}
}

// panicked is about a session, or about a connection or listener if that is nil.
func (l *eventLog) panicked(logger *slog.Logger, s *Session, p *panicError) {
	stack := p.stack.Swap(nil)
	if stack == nil {
		return
	}
	attrs := []slog.Attr{slog.String("error", p.Error()), slog.String("stack", *stack)}
	if s != nil {
		attrs = append(s.whose(), attrs...)
	}
	l.write(&l.panics, logger, slog.LevelError, "libnet: panic", attrs...)
}

// notEncoded is about a broadcast, which would otherwise write a line for each of its sessions.
func (l *eventLog) notEncoded(s *Session, err error) {
	if dropped, ok := l.allow(&l.broadcasts); ok {
		l.writeAllowed(dropped, s.owner.logger(), slog.LevelWarn, "libnet: broadcast not encoded",
			slog.Uint64("session", s.id), slog.String("error", errorText(err)))
	}
}

// changedLate is about settings that no session sees. It is said once.
func (l *eventLog) changedLate(logger *slog.Logger, fields string) {
	l.mu.Lock()
	said := l.changedLine
	l.changedLine = true
	l.mu.Unlock()
	if !said {
		l.write(nil, logger, slog.LevelWarn, "libnet: Config changed after the first session, which has no effect: set it before",
			slog.String("fields", fields))
	}
}

// discardLines is how often a server, or all dialled sessions together, may say what a Close has thrown away: who
// closes on purpose with messages queued does so often.
const discardLines = time.Minute

// discarded is about a Close that was given no reason.
func (l *eventLog) discarded(s *Session, messages uint64) {
	l.mu.Lock()
	now := time.Now()
	since := now.Sub(l.discardLine)
	due := since >= discardLines || since < 0 // as that of a bubble's clock
	if due {
		l.discardLine = now
	}
	l.mu.Unlock()
	if due {
		l.write(nil, s.owner.logger(), slog.LevelWarn, "libnet: Close has thrown away messages that Send had accepted: Shutdown delivers them",
			slog.Uint64("session", s.id), slog.String("remote", s.remote()), slog.Uint64("discarded", messages))
	}
}

// calledLate is about a loop that does not end.
func (l *eventLog) calledLate(logger *slog.Logger, text string, attrs ...slog.Attr) {
	l.write(&l.late, logger, slog.LevelWarn, "libnet: "+text, attrs...)
}

// refused is about a connection that could not be made a session.
func (l *eventLog) refused(logger *slog.Logger, err error) {
	if dropped, ok := l.allow(&l.refusals); ok {
		l.writeAllowed(dropped, logger, slog.LevelWarn, "libnet: connection refused", slog.String("error", errorText(err)))
	}
}

func leftOut(attrs []slog.Attr, dropped int) []slog.Attr {
	if dropped > 0 {
		attrs = append(attrs, slog.Int("lines_left_out", dropped))
	}
	return attrs
}

// sessionEnded is about each session that is not a dialled one. An ordinary end is a line at debug level.
func (l *eventLog) sessionEnded(s *Session, reason error, name string, stats SessionStats) {
	level, limit := slog.LevelInfo, &l.ends
	switch name {
	case "eof", "closed", "server_closed", "reset", "handed_over":
		level, limit = slog.LevelDebug, nil
	case "panic":
		if _, ok := reason.(*panicError); ok {
			return // logged with its stack
		}
	}
	logger := s.owner.logger()
	if !l.isEnabled(logger, level) {
		return
	}
	dropped, ok := l.allow(limit)
	if !ok {
		return
	}
	l.writeAllowed(dropped, logger, level, "libnet: session ended", append(s.whose(),
		slog.String("remote", s.remote()),
		slog.String("reason", name),
		slog.String("error", errorText(reason)),
		slog.Uint64("messages_in", stats.MessagesIn),
		slog.Uint64("messages_out", stats.MessagesOut),
		slog.Uint64("discarded", stats.Discarded))...)
}

// whose says which session a line is about: its number, and its name if it has one.
func (s *Session) whose() []slog.Attr {
	attrs := append(make([]slog.Attr, 0, 8), slog.Uint64("session", s.id))
	if name := s.Name(); name != "" {
		attrs = append(attrs, slog.String("name", printable(name)))
	}
	return attrs
}

// remote is the peer's address as text, empty where the conn has none to give.
func (s *Session) remote() string {
	text, _ := usercode.Answer(func() string {
		if addr := s.RemoteAddr(); !isNil(addr) {
			return addr.String()
		}
		return ""
	})
	return text
}

// acceptFailed counts a listener's passing error and logs one a second.
func (srv *Server) acceptFailed(err error, backoff time.Duration) {
	srv.mu.Lock()
	srv.acceptErrors++
	srv.mu.Unlock()
	if srv.log.acceptLineDue() {
		srv.log.write(nil, srv.logger(), slog.LevelWarn, "libnet: accept failed, waiting",
			slog.String("error", errorText(err)), slog.Duration("wait", backoff))
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
