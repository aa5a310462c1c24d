package history

import (
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
	kv, err := s.js.KeyValue(ctx, s.bucket)
	if err != nil {
		return nil, 0, err
	}
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
	kv, err := s.js.KeyValue(ctx, s.bucket)
	if err != nil {
		return 0, err
	}
	revision, err = kv.Update(ctx, strconv.FormatInt(user, 10), record, revision)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return 0, quota.ErrChanged
	}
	return revision, err
}
