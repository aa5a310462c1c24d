package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// members is who is in which group. Any goroutine may use it.
//
// The key u.<user>.<group> makes the membership, and has the version at which it began. The key g.<group>.<user> is for
// the list of a group's members: it is made after the other and removed before it. A membership that ends leaves
// nothing: its keys are purged from the stream, without the marker by which a bucket usually remembers what was
// deleted. Only while there are memberships of the version before it leaves a mark, or who copies them would bring it
// back: see mark.
type members struct {
	log  *log
	js   jetstream.JetStream
	name string // of the history
	old  oldMembers
}

func newMembers(a *asker, js jetstream.JetStream, name string) *members {
	stream := "KV_" + membersBucket(name)
	l := &log{asker: a, stream: stream, beacon: membersSubject(name, "beacon")}
	return &members{log: l, js: js, name: name, old: oldMembers{js: js, name: name}}
}

func membersBucket(name string) string       { return name + "-groups" }
func membersSubject(name, key string) string { return "$KV." + membersBucket(name) + "." + key }
func userKey(user, group int64) string       { return fmt.Sprintf("u.%d.%d", user, group) }
func groupKey(group, user int64) string      { return fmt.Sprintf("g.%d.%d", group, user) }
func parsePair(key string) (a, b int64, err error) {
	first, second, _ := strings.Cut(key, ".")
	if a, err = strconv.ParseInt(first, 10, 64); err != nil {
		return 0, 0, err
	}
	b, err = strconv.ParseInt(second, 10, 64)
	return a, b, err
}

// Join makes user a member of group, if that is not so already, and returns the version behind which the user may read
// the group's messages. groups is how many the user is in.
func (h *History) Join(ctx context.Context, user, group int64, groups int) (since int64, err error) {
	ctx, cancel := h.bounded(ctx)
	defer cancel()
	if groups >= MaxGroups {
		return 0, ErrTooManyGroups
	}
	at, err := h.messages.position(ctx)
	if err == nil {
		since, err = h.members.add(ctx, user, group, at.last)
	}
	if err != nil {
		return 0, fmt.Errorf("history: join: %w", err)
	}
	return since, nil
}

// add returns the version at which an earlier membership began, if there is one.
func (m *members) add(ctx context.Context, user, group, since int64) (int64, error) {
	value := membership{since: since}.encode()
	err := m.change(ctx, func(ctx context.Context, kv jetstream.KeyValue) error {
		_, err := kv.Create(ctx, userKey(user, group), value)
		return err
	})
	if errors.Is(err, jetstream.ErrKeyExists) {
		since, err = m.addAgain(ctx, user, group, since)
	}
	if err == nil {
		err = m.put(ctx, groupKey(group, user), value)
	}
	return since, err
}

// change changes something in the bucket, perhaps twice.
func (m *members) change(ctx context.Context, f func(context.Context, jetstream.KeyValue) error) error {
	return inBucket(ctx, m.js, membersBucket(m.name), f)
}

func (m *members) put(ctx context.Context, key string, value []byte) error {
	return m.change(ctx, func(ctx context.Context, kv jetstream.KeyValue) error {
		_, err := kv.Put(ctx, key, value)
		return err
	})
}

// addAgain is add where there is something already: a membership, or the mark of one that has ended.
func (m *members) addAgain(ctx context.Context, user, group, since int64) (int64, error) {
	all, err := m.all(ctx, user)
	if err != nil {
		return 0, err
	}
	switch there := all[group]; {
	case !there.ended:
		return there.since, nil
	default:
		return since, m.change(ctx, func(ctx context.Context, kv jetstream.KeyValue) error {
			_, err := kv.Update(ctx, userKey(user, group), membership{since: since}.encode(), there.revision)
			return err
		})
	}
}

// Leave ends a membership, if there is one. What was said in the group is then no longer the user's to read.
func (h *History) Leave(ctx context.Context, user, group int64) error {
	ctx, cancel := h.bounded(ctx)
	defer cancel()
	at, err := h.messages.position(ctx)
	if err == nil {
		err = h.members.remove(ctx, user, group, at.last)
	}
	if err != nil {
		return fmt.Errorf("history: leave: %w", err)
	}
	return nil
}

// remove ends a membership at a version.
func (m *members) remove(ctx context.Context, user, group, at int64) error {
	old, err := m.old.exist(ctx)
	if err != nil {
		return err
	}
	if old != nil {
		if err := m.mark(ctx, user, group, at); err != nil {
			return err
		}
		if err := purge(ctx, old, m.old.subject(group, user)); err != nil {
			return err
		}
		return m.purge(ctx, groupKey(group, user))
	}
	return m.purge(ctx, groupKey(group, user), userKey(user, group))
}

// mark has a membership's key say that it has ended: whoever copies what the version before stored finds it there.
func (m *members) mark(ctx context.Context, user, group, at int64) error {
	return m.put(ctx, userKey(user, group), membership{since: at, ended: true}.encode())
}

func (m *members) purge(ctx context.Context, keys ...string) error {
	stream, err := streamOf(ctx, m.js, m.log.stream)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := purge(ctx, stream, membersSubject(m.name, key)); err != nil {
			return err
		}
	}
	// What is purged leaves no sequence by which a replica that lags could be told from one that knows of it.
	return m.log.light(ctx)
}

// Groups returns a user's groups, each with the version behind which the user may read its messages. It reads these
// memberships and no others.
func (h *History) Groups(ctx context.Context, user int64) (map[int64]int64, error) {
	ctx, cancel := h.bounded(ctx)
	defer cancel()
	all, err := h.members.all(ctx, user)
	if err == nil {
		err = h.members.old.addTo(ctx, all, user)
	}
	if err != nil {
		return nil, fmt.Errorf("history: groups: %w", err)
	}
	groups := make(map[int64]int64)
	for group, m := range all {
		if !m.ended {
			groups[group] = m.since
		}
	}
	return groups, nil
}

// all returns what is known of a user by group.
func (m *members) all(ctx context.Context, user int64) (map[int64]membership, error) {
	at, err := m.log.position(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[int64]membership)
	if at.last == 0 {
		return all, nil
	}
	filter := membersSubject(m.name, fmt.Sprintf("u.%d.*", user))
	messages, err := m.log.lasts(ctx, []string{filter}, 0, at)
	if err != nil {
		return nil, err
	}
	for _, msg := range messages {
		subject := msg.Header.Get("Nats-Subject")
		_, group, err := parsePair(strings.TrimPrefix(subject, membersSubject(m.name, "u.")))
		if err != nil {
			return nil, err
		}
		if all[group], err = parseMembership(msg.Data, uint64(sequence(msg))); err != nil {
			return nil, fmt.Errorf("%s: %w", subject, err)
		}
	}
	return all, nil
}

// Members returns at most limit of a group's members, ascending, and whether there are more.
func (h *History) Members(ctx context.Context, group int64, limit int) (users []int64, more bool, err error) {
	ctx, cancel := h.bounded(ctx)
	defer cancel()
	users, more, err = h.members.in(ctx, group, limit)
	if err != nil {
		return nil, false, fmt.Errorf("history: members: %w", err)
	}
	slices.Sort(users)
	return users, more, nil
}

func (m *members) in(ctx context.Context, group int64, limit int) (users []int64, more bool, err error) {
	kv, err := m.js.KeyValue(ctx, membersBucket(m.name))
	if err != nil {
		return nil, false, err
	}
	err = eachKey(ctx, kv, fmt.Sprintf("g.%d.*", group), func(e jetstream.KeyValueEntry) (bool, error) {
		_, user, err := parsePair(strings.TrimPrefix(e.Key(), "g."))
		if more = len(users) == limit; err == nil && !more {
			users = append(users, user)
		}
		return !more, err
	})
	return users, more, err
}

// errWatchEnded is what a connection that ends leaves of a look at many keys.
var errWatchEnded = errors.New("the connection has ended")

// eachKey calls f for the entries whose keys match, until it returns false.
func eachKey(ctx context.Context, kv jetstream.KeyValue, keys string, f func(jetstream.KeyValueEntry) (bool, error)) error {
	watcher, err := kv.Watch(ctx, keys, jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for {
		select {
		case entry, ok := <-watcher.Updates():
			if !ok {
				return errWatchEnded
			}
			if entry == nil { // that was all there is
				return nil
			}
			if more, err := f(entry); err != nil || !more {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
