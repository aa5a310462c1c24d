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
// <name>.g.<group>, once for all members. What a user may see is thus one ordered read over a few subjects: the user's own
// and those of the groups. The place in the stream, its sequence, is the version that clients sync from: it only
// grows, and a reader that has seen version v has seen everything up to v.
//
// It is one read, by a consumer that lives for one page, because several reads could not be put together: between the
// first and the last of them something may be stored that belongs before what the last one finds.
//
// The sender of a direct message finds it at <name>.s.<source>: a copy that carries the version of the original, so
// that both sides of a conversation order it alike. The two are stored one after the other, the original first; if
// the second fails then Store does, and its repetition stores what is missing and nothing twice.
//
// Who is in which group is in a key-value bucket, a key for each user and group. Its value is the stream's last
// sequence at the time of joining: what was said before is not the member's to read.
//
// # What is promised
//
// A message is stored when Store returns nil; with one replica that means in the server's files, which outlive the
// process, and a power cut only if the server is told to sync always. Storing the same message again (same source, target or group,
// ClientID and text) within the duplicate window stores nothing and returns the first one's version.
//
// Messages go when they are older than MaxAge, when a subject holds more than MaxPerSubject, or when the
// stream has MaxBytes, the oldest first.
package history

import (
	"context"
	"errors"
	"fmt"
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

	// ErrTooManyGroups is returned by Join to a user who is in MaxGroups groups.
	ErrTooManyGroups = errors.New("history: in too many groups")
)

// Options is what an installation can choose. Those that open the same stream must choose the same. Zero means the
// default.
type Options struct {
	Name          string        // of the stream, the subjects' first part and the bucket's; letters and digits; default "im"
	Replicas      int           // servers that hold the stream; default 1
	Duplicates    time.Duration // how long a repetition is recognised; default 10 min, never more than MaxAge
	MaxAge        time.Duration // default 30 days
	MaxPerSubject int64         // messages to a user, of a user, or in a group; default 10,000
	MaxBytes      int64         // of the whole stream; default 1 GiB
	Timeout       time.Duration // for each call, besides its context; default 3 s
}

// History stores and reads. Any goroutine may use it. It needs no closing: it ends with its connection.
type History struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	members jetstream.KeyValue
	name    string
	timeout time.Duration
	last    atomic.Int64 // a version that the stream had lately; what is above it may be one that it never had
}

// Open creates the stream and the bucket, or brings those that exist to the options, within 10 s. It does so again
// whenever nc has reconnected, until nc is closed: NATS may have come back without its files, and what was said is then
// gone, but what will be said need not be.
func Open(ctx context.Context, nc *nats.Conn, o Options) (*History, error) {
	o = o.withDefaults()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	h := &History{nc: nc, js: js, name: o.Name, timeout: o.Timeout}
	changes := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	if h.members, err = create(ctx, js, o); err != nil {
		nc.RemoveStatusListener(changes)
		return nil, err
	}
	go h.createAgain(changes, o)
	return h, nil
}

// createAgain is told of the connection's changes, and ends with it.
func (h *History) createAgain(changes chan nats.Status, o Options) {
	defer h.nc.RemoveStatusListener(changes)
	for !h.nc.IsClosed() {
		if <-changes != nats.CONNECTED {
			continue
		}
		// JetStream may be slower than NATS itself; the next change ends the patience with it.
		for len(changes) == 0 {
			if _, err := create(context.Background(), h.js, o); err == nil {
				h.last.Store(0) // whatever it was, the stream may be another one
				break
			}
			time.Sleep(createPause)
		}
	}
}

const (
	// createTimeout bounds the creation of stream and bucket, createPause is between attempts that failed.
	createTimeout = 10 * time.Second
	createPause   = 200 * time.Millisecond
)

func create(ctx context.Context, js jetstream.JetStream, o Options) (members jetstream.KeyValue, err error) {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:              o.Name,
		Subjects:          []string{o.Name + ".u.*", o.Name + ".s.*", o.Name + ".g.*"},
		Replicas:          o.Replicas,
		Duplicates:        o.Duplicates,
		MaxAge:            o.MaxAge,
		MaxMsgsPerSubject: o.MaxPerSubject,
		MaxBytes:          o.MaxBytes,
		Discard:           jetstream.DiscardOld,
	})
	if err != nil {
		return nil, fmt.Errorf("history: stream %s: %w", o.Name, err)
	}
	members, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:   o.Name + "-members",
		Replicas: o.Replicas,
	})
	if err != nil {
		return nil, fmt.Errorf("history: bucket %s-members: %w", o.Name, err)
	}
	return members, nil
}

func (o Options) withDefaults() Options {
	byDefault(&o.Name, "im")
	byDefault(&o.Replicas, 1)
	byDefault(&o.MaxAge, 30*24*time.Hour)
	byDefault(&o.Duplicates, min(10*time.Minute, o.MaxAge))
	byDefault(&o.MaxPerSubject, 10_000)
	byDefault(&o.MaxBytes, 1<<30)
	byDefault(&o.Timeout, 3*time.Second)
	return o
}

func byDefault[T comparable](set *T, value T) {
	var zero T
	if *set == zero {
		*set = value
	}
}

func (h *History) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, h.timeout)
}

// subject of a kind (u, s or g) and an id.
func (h *History) subject(kind string, id int64) string {
	return fmt.Sprintf("%s.%s.%d", h.name, kind, id)
}
