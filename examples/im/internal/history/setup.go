package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

const (
	// setupTimeout bounds an attempt to make the stream and the buckets, setupPause is between attempts that failed.
	setupTimeout = 10 * time.Second
	setupPause   = 200 * time.Millisecond

	// complainEvery is how often it is said for what it is waited, if that does not change.
	complainEvery = 30 * time.Second
)

// What a new stream has unless the options say otherwise.
const (
	defaultMaxAge        = 30 * 24 * time.Hour
	defaultDuplicates    = 10 * time.Minute
	defaultMaxPerSubject = 100_000
	defaultMaxBytes      = 1 << 30
	defaultTimeout       = 5 * time.Second
)

func (o Options) withDefaults() Options {
	byDefault(&o.Name, "im")
	byDefault(&o.Timeout, defaultTimeout)
	byDefault(&o.Logger, slog.Default())
	return o
}

// setup makes the stream and the buckets, and enlarges what is there.
type setup struct {
	// Immutable.
	js jetstream.JetStream
	o  Options

	maxAge atomic.Int64 // how long the stream keeps messages; negative: for ever
}

// untilDone tries until ctx ends. Its error says what was missing before that.
func (s *setup) untilDone(ctx context.Context) error {
	var reason error
	var said time.Time
	for {
		err := s.once(ctx)
		if err == nil {
			if reason != nil {
				s.o.Logger.Info("history: JetStream is ready")
			}
			return nil
		}
		if ctx.Err() == nil {
			if reason == nil || err.Error() != reason.Error() || time.Since(said) > complainEvery {
				said = time.Now()
				s.o.Logger.Warn("history: JetStream is not ready, trying again", "error", err, "hint", hint(err))
			}
			reason = err
		}
		if !wait.Pause(ctx, setupPause) {
			return errors.Join(ctx.Err(), cmp.Or(reason, err))
		}
	}
}

// hint says what an operator can do about an error that does not go by itself.
func hint(err error) string {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return "is JetStream enabled, and does it have a leader?"
	}
	switch api.ErrorCode {
	case codeNoStorage, codeNoResources:
		return "give JetStream more room (max_file_store), or the history less (-store-bytes)"
	case codeNoPeers, codeNotClustered:
		return "there are fewer servers than -replicas, or they have too little room"
	}
	return "see the NATS server's log"
}

// JetStream's error codes, as in the server's errors.json.
const (
	codeNoPeers      jetstream.ErrorCode = 10005 // no suitable peers for placement
	codeNoResources  jetstream.ErrorCode = 10023 // insufficient resources
	codeNoStorage    jetstream.ErrorCode = 10047 // insufficient storage resources available
	codeNotClustered jetstream.ErrorCode = 10074 // replicas > 1 not supported in non-clustered mode
	codeStoreFailed  jetstream.ErrorCode = 10077 // the store refused the message
)

// once makes or enlarges all there is.
func (s *setup) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	age, err := s.age(ctx)
	if err != nil {
		return fmt.Errorf("history: stream %s: %w", s.o.Name, err)
	}
	for bucket, maxAge := range map[string]time.Duration{membersBucket(s.o.Name): 0, sendersBucket(s.o.Name): age} {
		edit := func(c *jetstream.StreamConfig) []any { return append(s.replicate(c), lengthen(c, maxAge)...) }
		if err := s.stream(ctx, s.newBucket(bucket, maxAge), edit); err != nil {
			return fmt.Errorf("history: %s: %w", bucket, err)
		}
	}
	// Last: who can store can join, too.
	if err := s.stream(ctx, s.newStream(), s.enlarge); err != nil {
		return fmt.Errorf("history: stream %s: %w", s.o.Name, err)
	}
	s.maxAge.Store(int64(cmp.Or(age, -1)))
	return nil
}

// age is how long the stream will keep messages, which is more than is asked for if the stream has more; 0: for ever.
func (s *setup) age(ctx context.Context) (time.Duration, error) {
	existing, err := s.js.Stream(ctx, s.o.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return s.newStream().MaxAge, nil
	}
	if err != nil {
		return 0, err
	}
	has := existing.CachedInfo().Config.MaxAge
	if has == 0 || s.o.MaxAge < 0 {
		return 0, nil
	}
	return max(has, s.o.MaxAge), nil
}

// lengthen has a bucket keep what it has for so long, 0: for ever, if that is longer.
func lengthen(c *jetstream.StreamConfig, age time.Duration) []any {
	if c.MaxAge == 0 || age > 0 && age <= c.MaxAge {
		return nil
	}
	c.MaxAge = age
	return []any{"max age", age}
}

// stream makes one as it should be if there is none, or has edit change the one there is.
func (s *setup) stream(ctx context.Context, fresh jetstream.StreamConfig, edit func(*jetstream.StreamConfig) []any) error {
	existing, err := s.js.Stream(ctx, fresh.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err = s.js.CreateStream(ctx, fresh); !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return err
		}
		existing, err = s.js.Stream(ctx, fresh.Name) // another server was quicker, with other options
	}
	if err != nil {
		return err
	}
	config := existing.CachedInfo().Config
	changes := edit(&config)
	if len(changes) == 0 {
		return nil
	}
	if _, err := s.js.UpdateStream(ctx, config); err != nil {
		return err
	}
	s.o.Logger.Info("history: stream changed", append([]any{"stream", fresh.Name}, changes...)...)
	return nil
}

func (s *setup) newStream() jetstream.StreamConfig {
	o := s.o
	byDefault(&o.Replicas, 1)
	byDefault(&o.MaxAge, defaultMaxAge)
	byDefault(&o.Duplicates, defaultDuplicates)
	if o.MaxAge > 0 {
		o.Duplicates = min(o.Duplicates, o.MaxAge)
	}
	byDefault(&o.MaxPerSubject, defaultMaxPerSubject)
	byDefault(&o.MaxBytes, defaultMaxBytes)
	return jetstream.StreamConfig{
		Name:                 o.Name,
		Subjects:             s.subjects(),
		Replicas:             o.Replicas,
		Duplicates:           o.Duplicates,
		MaxAge:               max(o.MaxAge, 0),
		MaxMsgsPerSubject:    o.MaxPerSubject,
		MaxBytes:             o.MaxBytes,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: o.MaxPerSubject > 0,
		AllowDirect:          true,
	}
}

func (s *setup) subjects() []string {
	return []string{s.o.Name + ".u.*", s.o.Name + ".s.*", s.o.Name + ".g.*"}
}

// newBucket is a key-value bucket as package jetstream makes it, which also reads and writes it.
func (s *setup) newBucket(bucket string, maxAge time.Duration) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              "KV_" + bucket,
		Subjects:          []string{"$KV." + bucket + ".>"},
		Replicas:          max(s.o.Replicas, 1),
		MaxMsgsPerSubject: 1,
		MaxAge:            maxAge,
		Discard:           jetstream.DiscardNew,
		AllowRollup:       true,
		DenyDelete:        true,
		AllowDirect:       true,
	}
}

// enlarge gives an existing stream what the program needs, and what is asked for if it is more than the stream has. It
// returns what it changed.
func (s *setup) enlarge(c *jetstream.StreamConfig) (changes []any) {
	for _, subject := range s.subjects() {
		if !slices.Contains(c.Subjects, subject) {
			c.Subjects = append(c.Subjects, subject)
			changes = append(changes, "subject", subject)
		}
	}
	changes = append(changes, s.replicate(c)...)
	changes = append(changes, raise(s.o.Logger, "max age", &c.MaxAge, s.o.MaxAge)...)
	changes = append(changes, raise(s.o.Logger, "max bytes", &c.MaxBytes, s.o.MaxBytes)...)
	changes = append(changes, raise(s.o.Logger, "max messages per subject", &c.MaxMsgsPerSubject, s.o.MaxPerSubject)...)
	if s.o.Duplicates > c.Duplicates {
		changes = append(changes, "duplicates", s.o.Duplicates)
		c.Duplicates = s.o.Duplicates
	}
	if refuses := c.MaxMsgsPerSubject > 0; c.Discard != jetstream.DiscardNew || c.DiscardNewPerSubject != refuses {
		c.Discard, c.DiscardNewPerSubject = jetstream.DiscardNew, refuses
		changes = append(changes, "when full", "refuses new messages")
	}
	return changes
}

// replicate gives a stream more replicas, if more are asked for, and direct gets.
func (s *setup) replicate(c *jetstream.StreamConfig) (changes []any) {
	if s.o.Replicas > c.Replicas {
		changes = append(changes, "replicas", s.o.Replicas)
		c.Replicas = s.o.Replicas
	} else if s.o.Replicas != 0 && s.o.Replicas < c.Replicas {
		kept(s.o.Logger, "replicas", c.Replicas, s.o.Replicas)
	}
	if !c.AllowDirect {
		c.AllowDirect = true
		changes = append(changes, "direct gets", true)
	}
	return changes
}

// raise sets a limit to what is asked for, if that is more. A limit that is not above zero is none.
func raise[T time.Duration | int64](log *slog.Logger, name string, limit *T, asked T) []any {
	switch {
	case asked == 0 || asked == *limit || asked < 0 && *limit <= 0:
		return nil
	case asked > 0 && (*limit <= 0 || asked < *limit):
		kept(log, name, *limit, asked)
		return nil
	case asked < 0:
		*limit = 0
		return []any{name, "none"}
	}
	*limit = asked
	return []any{name, asked}
}

// kept says that something stays larger than it was asked for: messages would be lost with it.
func kept(log *slog.Logger, name string, has, asked any) {
	log.Warn("history: the stream has more than is asked for, and keeps it; who wants less says so to NATS (nats stream edit)",
		"what", name, "has", has, "asked", asked)
}
