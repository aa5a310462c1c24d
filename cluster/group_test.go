package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/libnettest"
)

func join(tb testing.TB, node *cluster.Node, s *libnet.Session, group string) {
	tb.Helper()
	if err := node.Join(s, group); err != nil {
		tb.Fatal(err)
	}
}

// crowded is a mesh of three nodes whose first two have two members of a group each, all bound, and of which all know.
func crowded(t *testing.T) (nodes []*cluster.Node, members []*libnet.Session, clients []net.Conn) {
	t.Helper()
	nodes = mesh(t, 3)
	server := newSessions(t, lines, nil)
	for i := range 4 {
		session, client := server.bound(nodes[i%2], fmt.Sprint("user", i))
		join(t, nodes[i%2], session, "g")
		members, clients = append(members, session), append(clients, client)
	}
	for _, node := range nodes {
		if err := node.Sync(patience(t)); err != nil {
			t.Fatal(err)
		}
	}
	return nodes, members, clients
}

func TestABroadcastWithAContextSaysWhatBecameOfIt(t *testing.T) {
	nodes, _, clients := crowded(t)
	full := newSessions(t, lines, func(s *libnet.Server) { s.SendQueue = 1 })
	slow, conn := libnettest.PipeSize(1)
	t.Cleanup(func() { slow.Close() })
	stuck, err := full.NewSession(conn)
	if err != nil {
		t.Fatal(err)
	}
	join(t, nodes[2], stuck, "g")
	small, _ := newSessions(t, lines, func(s *libnet.Server) { s.MaxMessage = 4 }).open()
	join(t, nodes[2], small, "g")
	for stuck.Send([]byte("fill")) == nil {
	}
	if err := nodes[2].Sync(patience(t)); err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		delivery, err := node.BroadcastContext(patience(t), "g", []byte("hello"))
		want := cluster.Delivery{Nodes: 3, Members: 4, Blocked: 1, Rejected: 1}
		if delivery != want || err != nil {
			t.Errorf("BroadcastContext: %+v, %v; want %+v", delivery, err, want)
		}
		for _, client := range clients {
			read(t, client, "hello\n")
		}
	}
	if delivery, err := nodes[0].BroadcastContext(patience(t), "nobody", nil); delivery != (cluster.Delivery{}) || err != nil {
		t.Errorf("BroadcastContext to a group without members: %+v, %v", delivery, err)
	}
}

func TestCallsAboutGroupsSayWhatIsWrong(t *testing.T) {
	node := startNode(t, cluster.Options{})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	calls := map[string]func(context.Context, string) error{
		"BroadcastContext": func(ctx context.Context, g string) error { _, err := node.BroadcastContext(ctx, g, nil); return err },
		"Count":            func(ctx context.Context, g string) error { _, err := node.Count(ctx, g); return err },
		"Members":          func(ctx context.Context, g string) error { _, err := node.Members(ctx, g); return err },
		"KickGroup":        func(ctx context.Context, g string) error { _, err := node.KickGroup(ctx, g, ""); return err },
		"SendMany":         func(ctx context.Context, u string) error { return node.SendMany(ctx, []string{u}, nil)[0] },
		"KickSession": func(ctx context.Context, run string) error {
			err := node.KickSession(ctx, cluster.Presence{Run: run}, "")
			if run == "" && err == cluster.ErrOffline { // there is no such run
				return cluster.ErrInvalidName
			}
			return err
		},
	}
	for name, call := range calls {
		if err := call(ended, "ABC"); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that has ended: %v", name, err)
		}
		if err := call(patience(t), ""); !errors.Is(err, cluster.ErrInvalidName) {
			t.Errorf("%s with no name: %v", name, err)
		}
	}
	if _, err := node.BroadcastContext(patience(t), "g", make([]byte, node.MaxPayload()+1)); err != cluster.ErrTooLarge {
		t.Errorf("BroadcastContext of too much: %v", err)
	}
	_ = node.Close()
	for name, call := range calls {
		if err := call(patience(t), "ABC"); !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("%s of a closed node: %v", name, err)
		}
	}
}

func TestEachNodeKnowsAllMembersOfAGroup(t *testing.T) {
	nodes, sessions, _ := crowded(t)
	bind(t, nodes[0], sessions[0], "another name")
	for _, node := range nodes {
		if count, err := node.Count(patience(t), "g"); count != 4 || err != nil {
			t.Errorf("Count on %s: %d, %v", node.ID(), count, err)
		}
		members, err := node.Members(patience(t), "g")
		if len(members) != 4 || err != nil {
			t.Fatalf("Members on %s: %+v, %v", node.ID(), members, err)
		}
		slices.SortFunc(members, func(a, b cluster.Member) int {
			return strings.Compare(a.Users[len(a.Users)-1], b.Users[len(b.Users)-1])
		})
		for i, m := range members {
			users := []string{fmt.Sprint("user", i)}
			if i == 0 {
				users = []string{"another name", "user0"}
			}
			if m.Node != nodes[i%2].ID() || m.Session != sessions[i].ID() || m.Addr != "pipe" || !slices.Equal(m.Users, users) {
				t.Errorf("member %d on %s: %+v", i, node.ID(), m)
			}
		}
	}
	if members, err := nodes[2].Members(patience(t), "nobody"); len(members) > 0 || err != nil {
		t.Errorf("Members of a group without any: %+v, %v", members, err)
	}
}

// A session that has just joined is not known to NATS everywhere, and a node that does not keep up loses a question:
// neither makes an answer that looks like all there is.
func TestAQuestionToAGroupReachesMembersOfWhomInterestDoesNotKnow(t *testing.T) {
	nodes, members, clients := crowded(t)
	if err := cluster.LoseGroupInterest(nodes[1], "g"); err != nil {
		t.Fatal(err)
	}
	if err := nodes[1].Sync(patience(t)); err != nil { // and now all know
		t.Fatal(err)
	}
	for _, node := range nodes {
		if count, err := node.Count(patience(t), "g"); count != 4 || err != nil {
			t.Errorf("Count on %s: %d, %v", node.ID(), count, err)
		}
		if list, err := node.Members(patience(t), "g"); len(list) != 4 || err != nil {
			t.Errorf("Members on %s: %+v, %v", node.ID(), list, err)
		}
		delivery, err := node.BroadcastContext(patience(t), "g", []byte("once"))
		if want := (cluster.Delivery{Nodes: 2, Members: 4}); delivery != want || err != nil {
			t.Errorf("BroadcastContext on %s: %+v, %v; want %+v", node.ID(), delivery, err, want)
		}
		for i, client := range clients {
			send(t, node, fmt.Sprint("user", i), "next")
			read(t, client, "once\nnext\n")
		}
	}
	if closed, err := nodes[2].KickGroup(patience(t), "g", "enough"); closed != 4 || err != nil {
		t.Errorf("KickGroup: %d, %v", closed, err)
	}
	for i, session := range members {
		clients[i].Close()
		wantClosed(t, session, cluster.ErrKicked)
	}
}

func TestALargeGroupIsListedInPartsAndOneThatIsTooLargeNotAtAll(t *testing.T) {
	nodes := mesh(t, 2)
	server := libnet.NewServer(libnettest.NewListener(), lines, 1)
	t.Cleanup(server.Stop)
	add := func(count int) {
		for range count {
			session, err := server.NewSession(newSink(nil))
			if err != nil {
				t.Fatal(err)
			}
			join(t, nodes[1], session, "g")
		}
	}
	add(cluster.MaxMembers)
	if err := nodes[1].Sync(patience(t)); err != nil {
		t.Fatal(err)
	}
	members, err := nodes[0].Members(patience(t), "g")
	different := make(map[uint64]bool)
	for _, m := range members {
		different[m.Session] = true
	}
	if len(members) != cluster.MaxMembers || len(different) != len(members) || err != nil {
		t.Errorf("%d members, %d of them different, %v", len(members), len(different), err)
	}
	add(1)
	if members, err := nodes[0].Members(patience(t), "g"); len(members) > 0 || err != cluster.ErrTooManyMembers {
		t.Errorf("one too many: %d members, %v", len(members), err)
	}
}

func TestKickOfAGroupOrASessionEndsItAndNothingReachesItAfterwards(t *testing.T) {
	nodes, sessions, clients := crowded(t)
	members, err := nodes[2].Members(patience(t), "g")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(members, func(m cluster.Member) bool { return m.Session == sessions[0].ID() })
	if err := nodes[2].KickSession(patience(t), members[i].Presence, "you"); err != nil {
		t.Fatalf("KickSession: %v", err)
	}
	if count, err := nodes[2].Count(patience(t), "g"); count != 3 || err != nil {
		t.Errorf("Count after KickSession: %d, %v", count, err)
	}
	if err := nodes[2].KickSession(patience(t), members[i].Presence, "you"); err != cluster.ErrOffline {
		t.Errorf("KickSession of one that was kicked: %v", err)
	}
	for range 50 {
		if err := nodes[2].Broadcast("g", []byte("last")); err != nil {
			t.Fatal(err)
		}
	}
	if count, err := nodes[2].KickGroup(patience(t), "g", "all of you"); count != 3 || err != nil {
		t.Fatalf("KickGroup: %d, %v", count, err)
	}
	if delivery, err := nodes[2].BroadcastContext(patience(t), "g", []byte("too late")); delivery.Members > 0 || err != nil {
		t.Errorf("BroadcastContext after KickGroup: %+v, %v", delivery, err)
	}
	for i, client := range clients {
		want := ""
		if i > 0 {
			want = strings.Repeat("last\n", 50)
		}
		readAll(t, client, want)
		wantClosed(t, sessions[i], cluster.ErrKicked)
		wantOffline(t, nodes[2], fmt.Sprint("user", i))
	}
}

func TestAKickedSessionHearsNothingThatIsSentAfterwardsOnAnyRoad(t *testing.T) {
	nodes := mesh(t, 2)
	for i := range 20 {
		prefix := fmt.Sprint(i, " ")
		_, client := reachedAs(t, nodes[1], prefix)
		if n, err := nodes[0].Kick(patience(t), prefix+"u", ""); n != 1 || err != nil {
			t.Fatalf("Kick: %d, %v", n, err)
		}
		burstAs(t, nodes[0], prefix, 20)
		readAll(t, client, "")
	}
}

func TestWhatIsSaidOfAGroupIsIncompleteWhileANodeIsCutOff(t *testing.T) {
	near, far, between := external(t, cluster.Options{})
	session, client := newSessions(t, lines, nil).open()
	join(t, near, session, "g")
	presence := cluster.Presence{}
	other, _ := newSessions(t, lines, nil).bound(far, "u")
	if list, err := near.Online(patience(t), "u"); len(list) == 1 && err == nil {
		presence = list[0]
	}
	join(t, far, other, "g")
	between.sever()
	eventually(t, "the silence", func() bool { return alive(near) == 1 })
	if delivery, err := near.BroadcastContext(patience(t), "g", []byte("x")); delivery.Members != 1 || !errors.Is(err, cluster.ErrDegraded) {
		t.Errorf("BroadcastContext: %+v, %v", delivery, err)
	}
	read(t, client, "x\n")
	if count, err := near.Count(patience(t), "g"); count != 1 || !errors.Is(err, cluster.ErrDegraded) {
		t.Errorf("Count: %d, %v", count, err)
	}
	if members, err := near.Members(patience(t), "g"); len(members) != 1 || !errors.Is(err, cluster.ErrDegraded) {
		t.Errorf("Members: %+v, %v", members, err)
	}
	if err := near.KickSession(patience(t), presence, ""); !errors.Is(err, cluster.ErrDegraded) {
		t.Errorf("KickSession: %v", err)
	}
	if _, err := far.Count(patience(t), "g"); !errors.Is(err, cluster.ErrDisconnected) {
		t.Errorf("Count on the far side: %v", err)
	}
}

func TestABatchTellsOfEachUserWhatSendWouldTell(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, func(s *libnet.Server) { s.SendQueue = 1 << 12 })
	const online = 1500 // more than go at a time
	var users []string
	var clients []net.Conn
	for i := range 10 {
		_, client := server.bound(nodes[i%2], fmt.Sprint("user", i))
		clients = append(clients, client)
	}
	for i := range online {
		users = append(users, fmt.Sprint("user", i%10))
	}
	users = append(users, "", "nobody")
	errs := nodes[0].SendMany(patience(t), users, []byte("x"))
	for i, err := range errs[:online] {
		if err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	}
	for _, client := range clients {
		read(t, client, strings.Repeat("x\n", online/10))
	}
	if !errors.Is(errs[online], cluster.ErrInvalidName) {
		t.Errorf("a name that is none: %v", errs[online])
	}
	if err := errs[online+1]; err != cluster.ErrOffline && !errors.Is(err, cluster.ErrDegraded) {
		t.Errorf("nobody: %v", err)
	}
}

func TestABatchSendsNothingTwiceThoughAnswersAreLost(t *testing.T) {
	node := startNode(t, cluster.Options{})
	sub := somebody(t, node, "silent", nil)
	_, client := newSessions(t, lines, nil).bound(node, "u")
	errs := node.SendMany(patience(t), []string{"u", "silent"}, []byte("x"))
	if errs[0] != nil || !errors.Is(errs[1], cluster.ErrDegraded) {
		t.Errorf("SendMany: %v", errs)
	}
	read(t, client, "x\n")
	if count, err := sub.Delivered(); count != 1 || err != nil {
		t.Errorf("delivered %d times, %v", count, err)
	}
}

func TestALoginsDataIsShownWhereverTheUserIsAskedFor(t *testing.T) {
	nodes := mesh(t, 2)
	session, _ := newSessions(t, lines, nil).open()
	data := map[string]string{"device": "phone", "roles": "admin,player"}
	want := maps.Clone(data)
	if err := nodes[1].BindWith(patience(t), session, "u", cluster.BindOptions{Data: data}); err != nil {
		t.Fatal(err)
	}
	data["device"] = "changed afterwards"
	join(t, nodes[1], session, "g")
	bind(t, nodes[1], session, "v")
	check := func(when string) {
		t.Helper()
		bind(t, nodes[1], session, "u") // leaves the data
		list, err := nodes[0].Online(patience(t), "u")
		if err != nil || len(list) != 1 || !maps.Equal(list[0].Data, want) {
			t.Errorf("Online %s: %+v, %v", when, list, err)
		}
		members, err := nodes[0].Members(patience(t), "g")
		if err != nil || len(members) != 1 || !maps.Equal(members[0].Data, want) || !slices.Equal(members[0].Users, []string{"u", "v"}) {
			t.Errorf("Members %s: %+v, %v", when, members, err)
		}
	}
	if err := nodes[1].Sync(patience(t)); err != nil {
		t.Fatal(err)
	}
	check("after a login")
	want = map[string]string{"device": "laptop"}
	if err := nodes[1].BindWith(patience(t), session, "u", cluster.BindOptions{Data: want}); err != nil {
		t.Fatal(err)
	}
	check("with other data")
	want = nil
	if err := nodes[1].BindWith(patience(t), session, "u", cluster.BindOptions{}); err != nil {
		t.Fatal(err)
	}
	check("without data")
	large := cluster.BindOptions{Data: map[string]string{"k": strings.Repeat("x", cluster.MaxData)}}
	if err := nodes[1].BindWith(patience(t), session, "u", large); err != cluster.ErrTooLarge {
		t.Errorf("BindWith of too much: %v", err)
	}
}

// Members with much data come in several parts, and too much of it not at all.
func TestMembersWithMuchDataAreListedInPartsAsFarAsThatGoes(t *testing.T) {
	nodes := mesh(t, 2)
	server := libnet.NewServer(libnettest.NewListener(), lines, 1)
	t.Cleanup(server.Stop)
	data := map[string]string{"k": strings.Repeat("\x00", cluster.MaxData-1)} // six bytes each in JSON
	add := func(count int) {
		ctx := patience(t)
		var logins sync.WaitGroup
		defer logins.Wait()
		for range count {
			session, err := server.NewSession(newSink(nil))
			if err != nil {
				t.Fatal(err)
			}
			join(t, nodes[1], session, "g")
			logins.Go(func() {
				if err := nodes[1].BindWith(ctx, session, fmt.Sprint("user", session.ID()), cluster.BindOptions{Data: data}); err != nil {
					t.Errorf("BindWith: %v", err)
				}
			})
		}
	}
	add(100)
	if members, err := nodes[0].Members(patience(t), "g"); len(members) != 100 || err != nil || !maps.Equal(members[99].Data, data) {
		t.Errorf("%d members, %v", len(members), err)
	}
	add(1350)
	if members, err := nodes[0].Members(patience(t), "g"); len(members) > 0 || err != cluster.ErrTooManyMembers {
		t.Errorf("with 9 MB of data: %d members, %v", len(members), err)
	}
}
