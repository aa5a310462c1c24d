package history_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

func newJetStream(t *testing.T, conn *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestAMembershipThatEndedLeavesNothing(t *testing.T) {
	t.Parallel()
	h, _, conn := open(t, history.Options{})
	for i := range int64(50) {
		if _, err := h.Join(t.Context(), i, i+1, 0); err != nil {
			t.Fatal(err)
		}
		if err := h.Leave(t.Context(), i, i+1); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := newJetStream(t, conn).Stream(t.Context(), "KV_im-groups")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n > 1 { // the beacon
		t.Errorf("the bucket holds %d messages", n)
	}
}

func groupsOf(t *testing.T, h *history.History, user int64, want map[int64]int64) {
	t.Helper()
	if groups, err := h.Groups(t.Context(), user); err != nil || !maps.Equal(groups, want) {
		t.Errorf("the groups of user %d are %v, %v; want %v", user, groups, err, want)
	}
}

func TestMembershipsOfTheVersionBeforeAreTakenOver(t *testing.T) {
	t.Parallel()
	server := imtest.StartNATS(t, t.TempDir())
	js := newJetStream(t, connect(t, server))
	old, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "im-members"})
	if err != nil {
		t.Fatal(err)
	}
	put := func(group, user int64, since string) {
		t.Helper()
		if _, err := old.PutString(t.Context(), fmt.Sprintf("%d.%d", group, user), since); err != nil {
			t.Fatal(err)
		}
	}
	for user := range int64(20) {
		put(9, user+1, "0")
	}
	put(8, 1, "3")
	h, _ := openOn(t, server, history.Options{})
	groupsOf(t, h, 1, map[int64]int64{8: 3, 9: 0}) // copied or not
	if _, err := h.Join(t.Context(), 1, 7, 2); err != nil {
		t.Fatal(err)
	}
	imtest.Eventually(t, "members are listed", func() bool {
		users, _, err := h.Members(t.Context(), 9, 100)
		return err == nil && len(users) == 20
	})
	if err := h.Leave(t.Context(), 1, 8); err != nil {
		t.Fatal(err)
	}
	put(6, 2, "1") // by a server of the version before, which is running still

	h, _ = openOn(t, server, history.Options{})
	imtest.Eventually(t, "what was added is there", func() bool {
		groups, err := h.Groups(t.Context(), 2)
		return err == nil && maps.Equal(groups, map[int64]int64{6: 1, 9: 0})
	})
	groupsOf(t, h, 1, map[int64]int64{7: 0, 9: 0})
}

// A login reads memberships on any server, also when another has just made them.
func TestAMembershipIsKnownOnAllServersWhenJoinReturns(t *testing.T) {
	fleet := openFleet(t, history.Options{})
	want := make(map[int64]int64)
	for i := range int64(60) {
		since, err := fleet[i%3].Join(t.Context(), 1, i+1, int(i))
		if err != nil {
			t.Fatal(err)
		}
		want[i+1] = since
		groupsOf(t, fleet[(i+1)%3], 1, want)
		if i%4 == 0 {
			if err := fleet[(i+2)%3].Leave(t.Context(), 1, i+1); err != nil {
				t.Fatal(err)
			}
			delete(want, i+1)
			groupsOf(t, fleet[i%3], 1, want)
		}
	}
}

// Who copies may have read a membership just before its end, and may stand still there, or die.
func TestWhoLeavesWhileMembershipsAreCopiedStaysAway(t *testing.T) {
	t.Parallel()
	server := imtest.StartNATS(t, t.TempDir())
	js := newJetStream(t, connect(t, server))
	old, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "im-members"})
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, since string) {
		t.Helper()
		if _, err := old.PutString(t.Context(), key, since); err != nil {
			t.Fatal(err)
		}
	}
	listed := func(h *history.History, want ...int64) {
		t.Helper()
		imtest.Eventually(t, "the list of members", func() bool {
			users, _, err := h.Members(t.Context(), 8, 10)
			return err == nil && slices.Equal(users, want)
		})
	}
	put("8.1", "3")
	h, _ := openOn(t, server, history.Options{})
	listed(h, 1)
	if err := h.Leave(t.Context(), 1, 8); err != nil {
		t.Fatal(err)
	}
	groups, err := js.KeyValue(t.Context(), "im-groups")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := groups.Create(t.Context(), "u.1.8", []byte("3")); !errors.Is(err, jetstream.ErrKeyExists) {
		t.Errorf("the membership that has ended could be copied: %v", err)
	}
	put("8.1", "0") // as if its end had not come so far
	put("8.2", "0")
	h, _ = openOn(t, server, history.Options{})
	listed(h, 2)
	groupsOf(t, h, 1, map[int64]int64{})

	if since, err := h.Join(t.Context(), 1, 8, 0); err != nil || since != 0 {
		t.Errorf("joined again: %d, %v", since, err)
	}
	listed(h, 1, 2)
	groupsOf(t, h, 1, map[int64]int64{8: 0})
	if err := h.Leave(t.Context(), 1, 8); err != nil {
		t.Fatal(err)
	}
	put("8.1", "7") // by a server of the version before
	h, _ = openOn(t, server, history.Options{})
	listed(h, 1, 2)
	groupsOf(t, h, 1, map[int64]int64{8: 7})
}
