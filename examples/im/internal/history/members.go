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

// Join makes user a member of group, if that is not so already, and returns the version behind which the user may read
// the group's messages. groups is how many the user is in.
func (h *History) Join(ctx context.Context, user, group int64, groups int) (since int64, err error) {
	ctx, cancel := h.bounded(ctx)
	defer cancel()
	if groups >= MaxGroups {
		return 0, ErrTooManyGroups
	}
	stream, err := h.js.Stream(ctx, h.name)
	if err != nil {
		return 0, fmt.Errorf("history: join: %w", err)
	}
	since = int64(stream.CachedInfo().State.LastSeq)
	key := memberKey(group, user)
	_, err = h.members.Create(ctx, key, strconv.AppendInt(nil, since, 10))
	if errors.Is(err, jetstream.ErrKeyExists) {
		return h.since(ctx, key)
	}
	if err != nil {
		return 0, fmt.Errorf("history: join: %w", err)
	}
	return since, nil
}

func (h *History) since(ctx context.Context, key string) (int64, error) {
	entry, err := h.members.Get(ctx, key)
	if err != nil {
		return 0, fmt.Errorf("history: member: %w", err)
	}
	return strconv.ParseInt(string(entry.Value()), 10, 64)
}

// Leave ends a membership, if there is one. What was said in the group is then no longer the user's to read.
func (h *History) Leave(ctx context.Context, user, group int64) error {
	ctx, cancel := h.bounded(ctx)
	defer cancel()
	if err := h.members.Purge(ctx, memberKey(group, user)); err != nil {
		return fmt.Errorf("history: leave: %w", err)
	}
	return nil
}

// Groups returns a user's groups, each with the version behind which the user may read its messages.
func (h *History) Groups(ctx context.Context, user int64) (map[int64]int64, error) {
	groups := make(map[int64]int64)
	err := h.each(ctx, fmt.Sprintf("*.%d", user), func(group, _, since int64) bool {
		groups[group] = since
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("history: groups: %w", err)
	}
	return groups, nil
}

// Members returns at most limit of a group's members, ascending, and whether there are more.
func (h *History) Members(ctx context.Context, group int64, limit int) (users []int64, more bool, err error) {
	err = h.each(ctx, fmt.Sprintf("%d.*", group), func(_, user, _ int64) bool {
		if len(users) == limit {
			more = true
			return false
		}
		users = append(users, user)
		return true
	})
	if err != nil {
		return nil, false, fmt.Errorf("history: members: %w", err)
	}
	slices.Sort(users)
	return users, more, nil
}

// each calls f for the memberships whose keys match, until it returns false.
func (h *History) each(ctx context.Context, keys string, f func(group, user, since int64) bool) error {
	ctx, cancel := h.bounded(ctx)
	defer cancel()
	watcher, err := h.members.Watch(ctx, keys, jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for {
		select {
		case entry, ok := <-watcher.Updates():
			if !ok || entry == nil { // nil: that was all there is
				return ctx.Err()
			}
			group, user, err := parseKey(entry.Key())
			if err != nil {
				return err
			}
			since, err := strconv.ParseInt(string(entry.Value()), 10, 64)
			if err != nil {
				return err
			}
			if !f(group, user, since) {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func memberKey(group, user int64) string { return fmt.Sprintf("%d.%d", group, user) }

func parseKey(key string) (group, user int64, err error) {
	first, second, _ := strings.Cut(key, ".")
	if group, err = strconv.ParseInt(first, 10, 64); err != nil {
		return 0, 0, err
	}
	user, err = strconv.ParseInt(second, 10, 64)
	return group, user, err
}
