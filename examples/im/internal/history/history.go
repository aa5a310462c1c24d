// Package history keeps messages in NATS JetStream, so that they outlive servers and can be read by those
// who were away.
//
//	h, err := history.Open(ctx, node.Conn(), history.Options{})
//	version, err := h.Store(ctx, history.Message{Source: 1, Target: 2, ClientID: "a", Text: "hello"})
//	page, err := h.Read(ctx, history.Query{User: 2, After: 0})
//
// # Where what is stored
//
// There is one stream. A direct message is stored at the subject <name>.u.<target>, a group message at
// <name>.g.<group>, once for all members. What a user may see is thus a few subjects: the user's own
// and those of the groups. The place in the stream, its sequence, is the version that clients sync from: it only
// grows, and a reader that has seen version v has seen everything up to v.
//
// The sender of a direct message finds it at <name>.s.<source>: a copy that carries the version of the original, so
// that both sides of a conversation order it alike. The two are stored one after the other, the original first; if
// the second fails then Store does, and its repetition stores what is missing and nothing twice.
//
// Who is in which group is in a key-value bucket, twice: by user, for logins, and by group, for the list of its
// members. The value is the stream's last sequence at the time of joining: what was said before is not the member's to
// read.
//
// # How it is read
//
// Reading makes no consumer. Many readers share one question to JetStream, for the last message of each of their
// subjects: most find that nothing is newer than what they have. Only subjects with something newer are read, each by a
// direct get; of a group, whose members all read the same at once, what was said lately is kept in memory. In a cluster
// any replica of the stream may answer, also one that lags behind. So the stream's leader is asked first how far the
// stream is, and the answer of a replica that is not as far is asked for again. A replica may also be further, and what
// it has beyond the leader's end is left for the next page: the end would lie before what was read. A page ends where
// some subject was not read further: nothing can be missing before that.
//
// # What is promised
//
// A message is stored when Store returns nil; with one replica that means in the server's files, which outlive the
// process, and a power cut only if the server is told to sync always. Storing the same message again (same source,
// target or group, ClientID and text) within the duplicate window stores nothing and returns the first one's version.
//
// A message that somebody may not have read goes only when it is older than MaxAge. A subject with MaxPerSubject
// messages, or a stream with MaxBytes, takes no new ones until then: ErrFull and ErrStoreFull. Of the copies for
// senders the oldest go instead.
package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bounds of a message. A message within them fits into one answer on the wire.
const (
	MaxText     = 60_000 // bytes
	MaxClientID = 128    // bytes
)

// MaxGroups is how many groups a user can be in: a read has a filter for each.
const MaxGroups = 100

var (
	// ErrTooLong is returned by Store for a message over its bounds. Nothing was stored.
	ErrTooLong = errors.New("history: message too long")

	// ErrFull is returned by Store when a user or a group has MaxPerSubject messages. Nothing was stored.
	ErrFull = errors.New("history: the receiver has too many messages")

	// ErrStoreFull is returned by Store when the stream has MaxBytes, or the server no more room. Nothing was stored.
	ErrStoreFull = errors.New("history: the store is full")

	// ErrTooManyGroups is returned by Join to a user who is in MaxGroups groups.
	ErrTooManyGroups = errors.New("history: in too many groups")
)

// Options is what an installation can choose. What is zero gets its default in a new stream, and is left as it is in
// one that exists; what is not zero makes an existing one larger, and never smaller. A negative age or number is no
// limit.
type Options struct {
	Name          string        // of the stream, the subjects' first part and the buckets'; letters and digits; default "im"
	Replicas      int           // servers that hold the stream and the buckets; default 1
	Duplicates    time.Duration // how long a repetition is recognised; default 10 min, never more than MaxAge
	MaxAge        time.Duration // default 30 days
	MaxPerSubject int64         // messages to a user, of a user, or in a group; default 100,000
	MaxBytes      int64         // of the whole stream; default 1 GiB
	Timeout       time.Duration // for each call, besides its context; default 5 s
	Logger        *slog.Logger  // is told what is waited for, and what is changed or not; default slog.Default()
}

// History stores and reads. Any goroutine may use it. It needs no closing: it ends with its connection.
type History struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	messages *log
	frontier *frontier
	recent   *recent
	members  *members
	setup    *setup
	name     string
	timeout  time.Duration
	log      *slog.Logger

	complained atomic.Int64 // s since 1970: when it was logged that the store is full
}

// Open creates the stream and the buckets, or brings those that exist to the options. While that fails it is tried
// again, and the reason logged, until ctx ends: JetStream may be starting still, or have no room before somebody makes
// some. It is done again whenever nc has reconnected, until nc is closed: NATS may have come back without its files,
// and what was said is then gone, but what will be said need not be.
func Open(ctx context.Context, nc *nats.Conn, o Options) (*History, error) {
	o = o.withDefaults()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	asker, err := newAsker(nc)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	h := &History{nc: nc, js: js, name: o.Name, timeout: o.Timeout, log: o.Logger}
	h.messages = &log{asker: asker, stream: o.Name, beacon: h.subject("g", 0)}
	h.recent = newRecent(h.messages)
	h.frontier = &frontier{log: h.messages, ask: h.messages.position, timeout: o.Timeout, shrunk: h.recent.forget}
	h.members = newMembers(asker, js, o.Name)
	h.setup = &setup{js: js, o: o}
	changes := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	if err := h.setup.untilDone(ctx); err != nil {
		nc.RemoveStatusListener(changes)
		return nil, err
	}
	go h.setUpAgain(changes)
	go h.members.migrate(nc.IsClosed, o.Logger)
	return h, nil
}

// MaxAge is how long the stream keeps messages, as it was when it was last set up; negative: for ever.
func (h *History) MaxAge() time.Duration {
	return time.Duration(h.setup.maxAge.Load())
}

// setUpAgain is told of the connection's changes, and ends with it.
func (h *History) setUpAgain(changes chan nats.Status) {
	defer h.nc.RemoveStatusListener(changes)
	for !h.nc.IsClosed() {
		if <-changes != nats.CONNECTED {
			continue
		}
		// The next change ends the patience with this one.
		for len(changes) == 0 {
			if err := h.setup.once(context.Background()); err == nil {
				h.recent.forget() // the stream may be another one
				break
			}
			time.Sleep(setupPause)
		}
	}
}

// byDefault sets what is zero.
func byDefault[T comparable](set *T, value T) {
	var zero T
	if *set == zero {
		*set = value
	}
}

func (h *History) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= h.timeout {
		return ctx, func() {} // most callers have one already
	}
	return context.WithTimeout(ctx, h.timeout)
}

// subject of a kind (u, s or g) and an id.
func (h *History) subject(kind string, id int64) string {
	return fmt.Sprintf("%s.%s.%d", h.name, kind, id)
}
