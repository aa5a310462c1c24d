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
// are found there only by looking at all. Its memberships are copied to the new bucket at the start, and until that is
// done each login reads both. The old ones stay for servers of the old version: what those add is copied at the next
// start. Once there is none of them, the bucket can be deleted (nats kv del im-members).
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
func (m *oldMembers) addTo(ctx context.Context, all map[int64]membership, user int64) error {
	if m.copied.Load() {
		return nil
	}
	kv, err := m.bucket(ctx)
	if kv == nil || err != nil {
		return err
	}
	return eachKey(ctx, kv, fmt.Sprintf("*.%d", user), func(e jetstream.KeyValueEntry) (bool, error) {
		group, _, since, err := parseOld(e)
		if known, ok := all[group]; err == nil && (!ok || known.overBefore(since)) {
			all[group] = membership{since: since}
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

// exist returns the old bucket's stream, nil if there is none.
func (m *oldMembers) exist(ctx context.Context) (jetstream.Stream, error) {
	stream, err := streamOf(ctx, m.js, "KV_"+m.name+"-members")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	return stream, err
}

func (m *oldMembers) subject(group, user int64) string {
	return "$KV." + m.name + "-members." + oldKey(group, user)
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
		group, user, since, err := parseOld(e)
		if err != nil {
			return true, nil // not a membership
		}
		copied, err := m.copy(ctx, to, user, group, since)
		if copied {
			n++
		}
		return err == nil, err
	})
	return n, err
}

// copy reports whether there was something to do. The key that makes the membership is created, or follows the mark of
// an earlier end, so who leaves meanwhile stays away.
func (m *members) copy(ctx context.Context, to jetstream.KeyValue, user, group, since int64) (bool, error) {
	key, value := userKey(user, group), membership{since: since}.encode()
	revision, err := to.Create(ctx, key, value)
	if errors.Is(err, jetstream.ErrKeyExists) {
		known, err := to.Get(ctx, key)
		if err != nil {
			return false, err
		}
		mark, err := parseMembership(known.Value(), known.Revision())
		if err != nil || !mark.overBefore(since) {
			return false, nil // it is there, or has ended for good
		}
		if revision, err = to.Update(ctx, key, value, mark.revision); err != nil { // there is something later
			return false, err
		}
	} else if err != nil {
		return false, err
	}
	if _, err := to.Put(ctx, groupKey(group, user), value); err != nil {
		return false, err
	}
	if _, err = to.Update(ctx, key, value, revision); !errors.Is(err, jetstream.ErrKeyExists) {
		return err == nil, err
	}
	return true, m.unlist(ctx, user, group) // the membership has changed since
}

// unlist takes a user who is no member off a group's list.
func (m *members) unlist(ctx context.Context, user, group int64) error {
	all, err := m.all(ctx, user)
	if known, ok := all[group]; err != nil || ok && !known.ended {
		return err
	}
	return m.purge(ctx, groupKey(group, user))
}
