package history_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet/examples/im/internal/embedded"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

// open returns a history on a server of its own.
func open(t testing.TB, o history.Options) (*history.History, *embedded.NATS, *nats.Conn) {
	t.Helper()
	server := imtest.StartNATS(t, t.TempDir())
	h, conn := openOn(t, server, o)
	return h, server, conn
}

func connect(t testing.TB, server *embedded.NATS) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func openOn(t testing.TB, server *embedded.NATS, o history.Options) (*history.History, *nats.Conn) {
	t.Helper()
	if o.Logger == nil {
		o.Logger = imtest.Quiet
	}
	conn := connect(t, server)
	h, err := history.Open(imtest.Bounded(t), conn, o)
	if err != nil {
		t.Fatal(err)
	}
	return h, conn
}

func store(t testing.TB, h *history.History, m history.Message) int64 {
	t.Helper()
	version, err := h.Store(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// readAll reads page after page, and checks that each fits into an answer.
func readAll(t testing.TB, h *history.History, q history.Query) (texts []string, pages int, end int64) {
	t.Helper()
	for {
		page, err := h.Read(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if n := proto.Size(&wire.ResHistory{Cmd: wire.CmdHistory, CurrentID: page.Next, More: true, Records: page.Records}); n > wire.MaxMessage {
			t.Fatalf("a page of %d records is %d bytes on the wire", len(page.Records), n)
		}
		if page.More && len(page.Records) == 0 {
			t.Fatal("there is more, and the page is empty")
		}
		for _, r := range page.Records {
			texts = append(texts, r.Msg)
		}
		pages++
		q.After = page.Next
		if !page.More {
			return texts, pages, page.Next
		}
	}
}

func TestMessagesAreReadInOrderAndOnceFromAnyVersionOn(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, history.Options{})
	var want []string
	var versions []int64
	for i := range 20 {
		text := fmt.Sprint("m", i)
		versions = append(versions, store(t, h, history.Message{ID: int64(i + 1), Source: 1, Target: 2, ClientID: text, Text: text}))
		store(t, h, history.Message{ID: int64(i + 100), Source: 1, Target: 3, ClientID: text, Text: "another's"})
		want = append(want, text)
	}
	if !slices.IsSorted(versions) {
		t.Fatalf("versions %v", versions)
	}
	for i := range versions {
		got, _, end := readAll(t, h, history.Query{User: 2, After: versions[i]})
		if !slices.Equal(got, want[i+1:]) || end != versions[len(versions)-1] {
			t.Errorf("after version %d: %v up to %d, want %v", versions[i], got, end, want[i+1:])
		}
	}
	got, _, _ := readAll(t, h, history.Query{User: 2, After: -5})
	if !slices.Equal(got, want) {
		t.Errorf("from the start: %v, want %v", got, want)
	}
}

func TestWhoAsksForWhatComesAfterTheEndIsToldWhereTheEndIs(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, history.Options{})
	for _, after := range []int64{1, math.MaxInt64} {
		if _, _, end := readAll(t, h, history.Query{User: 2, After: after}); end != 0 {
			t.Errorf("of an empty stream after %d: %d", after, end)
		}
	}
	store(t, h, history.Message{ID: 1, Source: 1, Target: 2, Text: "to another"})
	last := store(t, h, history.Message{ID: 2, Source: 1, Target: 1, Text: "to himself"})
	for _, after := range []int64{last + 1, math.MaxInt64 - 1, math.MaxInt64} {
		texts, _, end := readAll(t, h, history.Query{User: 2, After: after})
		if len(texts) != 0 || end != last {
			t.Errorf("after %d: %q up to %d, want %d", after, texts, end, last)
		}
	}
	store(t, h, history.Message{ID: 3, Source: 1, Target: 2, Text: "new"})
	if texts, _, _ := readAll(t, h, history.Query{User: 2, After: last}); !slices.Equal(texts, []string{"new"}) {
		t.Errorf("from there on: %q", texts)
	}
}

func TestBothSidesOfAConversationReadItInTheSameOrder(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, history.Options{})
	var wg sync.WaitGroup
	for _, m := range []history.Message{{Source: 1, Target: 2}, {Source: 2, Target: 1}} {
		wg.Go(func() {
			for i := range 50 {
				m.ID, m.Text = m.Source*1000+int64(i), fmt.Sprint(m.Source, "/", i)
				if _, err := h.Store(t.Context(), m); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	conversation := func(user int64) (order []string) {
		page, err := h.Read(t.Context(), history.Query{User: user, Own: true})
		if err != nil || page.More || len(page.Records) != 100 {
			t.Fatalf("user %d: %d records, more %v, %v", user, len(page.Records), page.More, err)
		}
		slices.SortFunc(page.Records, func(a, b *wire.Record) int { return int(a.Version - b.Version) })
		for _, r := range page.Records {
			order = append(order, fmt.Sprint(r.Version, " ", r.ID, " ", r.Msg))
		}
		return order
	}
	if one, two := conversation(1), conversation(2); !slices.Equal(one, two) {
		t.Errorf("user 1 reads %v\nuser 2 reads %v", one, two)
	}
}

func TestOwnMessagesAreReadOnlyWhenAskedForAndOnce(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, history.Options{})
	since, err := h.Join(t.Context(), 1, 9, 0)
	if err != nil {
		t.Fatal(err)
	}
	store(t, h, history.Message{ID: 1, Source: 1, Target: 2, Text: "to another"})
	store(t, h, history.Message{ID: 2, Source: 1, Target: 1, Text: "to myself"})
	store(t, h, history.Message{ID: 3, Source: 1, Group: 9, Text: "to the group"})
	store(t, h, history.Message{ID: 4, Source: 2, Group: 9, Text: "by another"})
	q := history.Query{User: 1, Groups: map[int64]int64{9: since}}
	if got, _, _ := readAll(t, h, q); !slices.Equal(got, []string{"to myself", "to the group", "by another"}) {
		t.Errorf("without own: %v", got)
	}
	q.Own = true
	if got, _, _ := readAll(t, h, q); !slices.Equal(got, []string{"to another", "to myself", "to the group", "by another"}) {
		t.Errorf("with own: %v", got)
	}
}

func TestARepetitionIsStoredOnce(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, history.Options{})
	m := history.Message{ID: 1, Source: 1, Target: 2, ClientID: "a", Text: "hello"}
	first := store(t, h, m)
	m.ID = 2 // each attempt has its own
	if again := store(t, h, m); again != first {
		t.Errorf("version %d, and %d when repeated", first, again)
	}
	others := []history.Message{
		{ID: 3, Source: 1, Target: 2, ClientID: "b", Text: "hello"},
		{ID: 4, Source: 3, Target: 2, ClientID: "a", Text: "hello"},
		{ID: 5, Source: 1, Target: 2, ClientID: "a", Text: "other"}, // of a client that has one id for all
		{ID: 6, Source: 1, Target: 2, Text: "hello"},
		{ID: 7, Source: 1, Target: 2, Text: "hello"}, // without an id nothing tells it from the one before
	}
	for _, other := range others {
		store(t, h, other)
	}
	if got, _, _ := readAll(t, h, history.Query{User: 2}); len(got) != 1+len(others) {
		t.Errorf("the receiver reads %d messages, want %d: %v", len(got), 1+len(others), got)
	}
	if got, _, _ := readAll(t, h, history.Query{User: 1, Own: true}); len(got) != len(others) {
		t.Errorf("the sender reads %d messages, want %d: %v", len(got), len(others), got)
	}
}

func TestPagesAreBoundedInBytesAndNumber(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, history.Options{})
	big := strings.Repeat("x", history.MaxText)
	id := strings.Repeat("i", history.MaxClientID)
	for i := range 4 {
		store(t, h, history.Message{ID: 1<<62 + int64(i), Source: 1 << 62, Target: 1<<62 + 1, ClientID: id[:120] + fmt.Sprint(i), Text: big})
	}
	for i := range 600 {
		store(t, h, history.Message{ID: int64(i + 10), Source: 1, Target: 1<<62 + 1, Text: "small"})
	}
	got, pages, _ := readAll(t, h, history.Query{User: 1<<62 + 1})
	if len(got) != 604 || pages != 4+2 && pages != 4+3 {
		t.Errorf("%d messages on %d pages", len(got), pages)
	}
	for _, m := range []history.Message{
		{Source: 1, Target: 2, Text: big + "x"},
		{Source: 1, Target: 2, ClientID: id + "i"},
	} {
		if _, err := h.Store(t.Context(), m); err != history.ErrTooLong {
			t.Errorf("a message of %d bytes with an id of %d: %v", len(m.Text), len(m.ClientID), err)
		}
	}
}

func TestAMemberReadsWhatWasSaidSinceHeJoined(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, history.Options{})
	store(t, h, history.Message{ID: 1, Source: 1, Group: 9, Text: "before"})
	store(t, h, history.Message{ID: 2, Source: 1, Target: 2, Text: "direct"})
	since, err := h.Join(t.Context(), 2, 9, 0)
	if err != nil {
		t.Fatal(err)
	}
	store(t, h, history.Message{ID: 3, Source: 1, Group: 9, Text: "after"})
	if again, err := h.Join(t.Context(), 2, 9, 1); err != nil || again != since {
		t.Errorf("joining again: %d, %v; want %d", again, err, since)
	}
	groups, err := h.Groups(t.Context(), 2)
	if err != nil || len(groups) != 1 || groups[9] != since {
		t.Fatalf("groups %v, %v", groups, err)
	}
	if got, _, _ := readAll(t, h, history.Query{User: 2, Groups: groups}); !slices.Equal(got, []string{"direct", "after"}) {
		t.Errorf("a member reads %v", got)
	}
	if err := h.Leave(t.Context(), 2, 9); err != nil {
		t.Fatal(err)
	}
	if groups, err := h.Groups(t.Context(), 2); err != nil || len(groups) != 0 {
		t.Errorf("after leaving: %v, %v", groups, err)
	}
	if later, err := h.Join(t.Context(), 2, 9, 0); err != nil || later <= since {
		t.Errorf("coming back: since %d, %v; want more than %d", later, err, since)
	}
	if _, err := h.Join(t.Context(), 2, 10, history.MaxGroups); err != history.ErrTooManyGroups {
		t.Errorf("a group too many: %v", err)
	}
}

func TestMembersAreListedUpToABound(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, history.Options{})
	for user := int64(1); user <= 12; user++ {
		if _, err := h.Join(t.Context(), user, 9, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Join(t.Context(), user, 99, 1); err != nil {
			t.Fatal(err)
		}
	}
	users, more, err := h.Members(t.Context(), 9, 12)
	if err != nil || more || !slices.Equal(users, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}) {
		t.Errorf("members %v, more %v, %v", users, more, err)
	}
	users, more, err = h.Members(t.Context(), 9, 5)
	if err != nil || !more || len(users) != 5 {
		t.Errorf("at most 5: %v, more %v, %v", users, more, err)
	}
}

func TestALongStretchOfMessagesThatAreNotTheUsersIsPassed(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, history.Options{})
	for i := range 600 {
		store(t, h, history.Message{ID: int64(i + 1), Source: 2, Group: 9, Text: "before"})
	}
	since, err := h.Join(t.Context(), 2, 9, 0)
	if err != nil {
		t.Fatal(err)
	}
	store(t, h, history.Message{ID: 1001, Source: 1, Group: 9, Text: "after"})
	page, err := h.Read(t.Context(), history.Query{User: 2, Groups: map[int64]int64{9: since}})
	if err != nil || page.More || len(page.Records) != 1 || page.Records[0].Msg != "after" {
		t.Errorf("%v, %v", page, err)
	}
}

func TestReadingMakesNoConsumer(t *testing.T) {
	t.Parallel()
	h, _, conn := open(t, history.Options{})
	made, err := conn.SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.CREATED.im.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	store(t, h, history.Message{ID: 1, Source: 1, Target: 2, Text: "hello"})
	store(t, h, history.Message{ID: 2, Source: 1, Group: 9, Text: "hello"})
	for after := range int64(4) {
		if _, err := h.Read(t.Context(), history.Query{User: 2, After: after, Groups: map[int64]int64{9: 0}, Own: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if msg, err := made.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("a consumer was made: %s", msg.Data)
	}
}

func TestAMessageWithoutANumberHasItsVersionForAnID(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, history.Options{})
	first := store(t, h, history.Message{Source: 1, Target: 2, Text: "hello"})
	second := store(t, h, history.Message{Source: 1, Target: 2, Text: "hello"})
	for user := int64(1); user <= 2; user++ {
		page, err := h.Read(t.Context(), history.Query{User: user, Own: true})
		if err != nil || len(page.Records) != 2 {
			t.Fatal(page, err)
		}
		for i, want := range []int64{first, second} {
			if r := page.Records[i]; r.ID != want || r.Version != want || r.MsgID != fmt.Sprint(want) {
				t.Errorf("user %d, message %d: id %d, version %d, %q; want %d", user, i, r.ID, r.Version, r.MsgID, want)
			}
		}
	}
}

func TestReadersOfAGroupFindTheSameFromAnyVersionOn(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, history.Options{Timeout: imtest.Patience})
	var versions []int64
	for i := range 500 { // more than is kept
		store(t, h, history.Message{ID: int64(i + 1000), Source: 1, Target: 3, Text: "another's"})
		versions = append(versions, store(t, h, history.Message{ID: int64(i + 1), Source: 1, Group: 9, Text: fmt.Sprint(i)}))
	}
	var reading sync.WaitGroup
	for _, from := range rand.Perm(len(versions)) {
		if from%25 != 0 {
			continue
		}
		reading.Go(func() {
			texts, _, end := readAll(t, h, history.Query{User: 2, Groups: map[int64]int64{9: 0}, After: versions[from]})
			if len(texts) != len(versions)-from-1 || end != versions[len(versions)-1] {
				t.Errorf("after %d: %d messages up to %d", from, len(texts), end)
			}
			for i, text := range texts {
				if text != fmt.Sprint(from+1+i) {
					t.Errorf("after %d: message %d is %s", from, i, text)
					return
				}
			}
		})
	}
	reading.Wait()
}
