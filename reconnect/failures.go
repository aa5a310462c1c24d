package reconnect

import (
	"log/slog"
	"net"
	"time"

	"github.com/libnet-go/libnet/internal/errchain"
)

// linesAMinute bounds what a client logs of attempts that fail for another reason each time.
const linesAMinute = 10

// failures is a row of attempts that failed, and what the log was told of it.
type failures struct {
	attempts int
	told     string // the reason in the last line of this row
	lines    int    // in the minute that began at since
	since    time.Time
}

func (t *failures) over() { t.attempts, t.told = 0, "" }

// logFailure tells of the first failure of a row and of one for another reason than was told last.
func (c *Client) logFailure(t *failures, err error, delay time.Duration) {
	t.attempts++
	reason := reasonOf(err)
	if reason == t.told || !t.mayLog(time.Now()) {
		return
	}
	t.told = reason
	c.log(slog.LevelWarn, "libnet: attempt to connect failed", slog.String("error", text(err)),
		slog.Int("attempts", t.attempts), slog.Duration("delay", delay))
}

func (t *failures) mayLog(now time.Time) bool {
	if t.lines == 0 || now.Sub(t.since) >= time.Minute {
		t.lines, t.since = 0, now
	}
	t.lines++
	return t.lines <= linesAMinute
}

// reasonOf is err's text but for the addresses of a connection: the local port is another one each time.
func reasonOf(err error) (reason string) {
	reason = text(err)
	defer func() { _ = recover() }() // of err's own methods
	if op, ok := errchain.As[*net.OpError](err); ok && op != nil {
		reason = text(op.Err)
	}
	return reason
}
