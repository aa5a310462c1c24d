package history

import (
	"bytes"
	"context"
	"errors"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/libnet-go/libnet/examples/im/internal/quota"
)

// senders keeps what each sender has taken, as quota.Records, in a key-value bucket with a key a user. A record that
// nobody changes goes with the messages that it is about.
type senders struct {
	js     jetstream.JetStream
	bucket string
}

func sendersBucket(name string) string { return name + "-senders" }

// Senders is where quotas are recorded, beside the messages.
func (h *History) Senders() quota.Records { return &senders{js: h.js, bucket: sendersBucket(h.name)} }

func (s *senders) Load(ctx context.Context, user int64) (record []byte, revision uint64, err error) {
	err = inBucket(ctx, s.js, s.bucket, func(ctx context.Context, kv jetstream.KeyValue) (err error) {
		record, revision, err = load(ctx, kv, user)
		return err
	})
	return record, revision, err
}

func load(ctx context.Context, kv jetstream.KeyValue, user int64) (record []byte, revision uint64, err error) {
	entry, err := kv.Get(ctx, strconv.FormatInt(user, 10))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	}
	return entry.Value(), entry.Revision(), nil
}

func (s *senders) Save(ctx context.Context, user int64, record []byte, revision uint64) (uint64, error) {
	saved, again := uint64(0), false
	err := inBucket(ctx, s.js, s.bucket, func(ctx context.Context, kv jetstream.KeyValue) (err error) {
		saved, err = kv.Update(ctx, strconv.FormatInt(user, 10), record, revision)
		if errors.Is(err, jetstream.ErrKeyExists) && again { // the attempt before may have done it, and its answer got lost
			var there []byte
			if there, saved, err = load(ctx, kv, user); err == nil && !bytes.Equal(there, record) {
				err = quota.ErrChanged
			}
		}
		again = true
		return err
	})
	if errors.Is(err, jetstream.ErrKeyExists) {
		err = quota.ErrChanged
	}
	return saved, err
}
