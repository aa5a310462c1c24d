package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// oldMembers is the bucket in which the version before kept memberships, by group and user alone: the keys of one user
// are found there only by looking at all. Its memberships are copied to the new bucket at the start, and until that is done
// each login reads both. The old ones stay for servers of the old version: what those add is copied at the next start. Once
// there is none of them, the bucket can be deleted (nats kv del im-members).
type oldMembers struct {
	js     jetstream.JetStream
	name   string
	copied atomic.Bool // or there is no such bucket
}

func (m *oldMembers) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := m.js.KeyValue(ctx, m.name+"-members")
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	return kv, err
}

func oldKey(group, user int64) string { return fmt.Sprintf("%d.%d", group, user) }

// addTo adds a user's memberships that may not be copied yet.
func (m *oldMembers) addTo(ctx context.Context, groups map[int64]int64, user int64) error {
	if m.copied.Load() {
		return nil
	}
	kv, err := m.bucket(ctx)
	if kv == nil || err != nil {
		return err
	}
	return eachKey(ctx, kv, fmt.Sprintf("*.%d", user), func(e jetstream.KeyValueEntry) (bool, error) {
		group, _, since, err := parseOld(e)
		if _, ok := groups[group]; !ok && err == nil {
			groups[group] = since
		}
		return true, err
	})
}

func parseOld(e jetstream.KeyValueEntry) (group, user, since int64, err error) {
	if group, user, err = parsePair(e.Key()); err != nil {
		return 0, 0, 0, err
	}
	since, err = strconv.ParseInt(string(e.Value()), 10, 64)
	return group, user, since, err
}

func (m *oldMembers) remove(ctx context.Context, user, group int64) error {
	stream, err := m.js.Stream(ctx, "KV_"+m.name+"-members")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+m.name+"-members."+oldKey(group, user)))
}

// migratePause is between attempts to copy the old memberships.
const migratePause = time.Second

// migrate copies what the version before has stored, until that is done or there is nobody to do it with.
func (m *members) migrate(over func() bool, log *slog.Logger) {
	for !over() {
		n, err := m.copyOld()
		if err == nil {
			m.old.copied.Store(true)
			if n > 0 {
				log.Info("history: memberships of the version before are copied", "new", n)
			}
			return
		}
		log.Warn("history: memberships of the version before are not copied yet", "error", err)
		time.Sleep(migratePause)
	}
}

// copyOld returns how many it copied that were not there.
func (m *members) copyOld() (n int, err error) {
	ctx, cancel := context.WithCancel(context.Background()) // a look at many keys waits for its end
	defer cancel()
	from, err := m.old.bucket(ctx)
	if from == nil || err != nil {
		return 0, err
	}
	to, err := m.js.KeyValue(ctx, membersBucket(m.name))
	if err != nil {
		return 0, err
	}
	err = eachKey(ctx, from, ">", func(e jetstream.KeyValueEntry) (bool, error) {
		group, user, _, err := parseOld(e)
		if err != nil {
			return true, nil // not a membership
		}
		if _, err = to.Create(ctx, userKey(user, group), e.Value()); errors.Is(err, jetstream.ErrKeyExists) {
			return true, nil
		}
		if err == nil {
			n++
			_, err = to.Put(ctx, groupKey(group, user), e.Value())
		}
		if err != nil {
			return false, err
		}
		// Who left meanwhile has left.
		if _, err = from.Get(ctx, e.Key()); errors.Is(err, jetstream.ErrKeyNotFound) {
			return true, m.remove(ctx, user, group)
		}
		return true, err
	})
	return n, err
}
