package cluster_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
)

func TestOnlineSaysWhereAUserIs(t *testing.T) {
	nodes := mesh(t, 3)
	server := newSessions(t, lines, nil)
	session, _ := server.bound(nodes[1], "u")
	for _, node := range nodes {
		list, err := node.Online(patience(t), "u")
		if err != nil || len(list) != 1 {
			t.Fatalf("Online on %s: %+v, %v", node.ID(), list, err)
		}
		p := list[0]
		if p.Node != "n2" || p.Session != session.ID() || p.Addr != "pipe" || time.Since(p.Since).Abs() > time.Minute {
			t.Errorf("Online on %s: %+v", node.ID(), p)
		}
	}
	eventually(t, "a certain answer", func() bool {
		list, err := nodes[0].Online(patience(t), "nobody")
		if len(list) > 0 || err != nil && !errors.Is(err, cluster.ErrDegraded) {
			t.Fatalf("Online of nobody: %+v, %v", list, err)
		}
		return err == nil
	})
}

func TestKickClosesAUsersSessionOnAnyNodeAndSaysHowMany(t *testing.T) {
	nodes := mesh(t, 3)
	server := newSessions(t, lines, nil)
	reason := strings.Repeat("because ", 200)
	for _, node := range nodes {
		session, _ := server.bound(nodes[1], "u")
		count, err := node.Kick(patience(t), "u", reason)
		if count != 1 || err != nil {
			t.Fatalf("Kick on %s: %d, %v", node.ID(), count, err)
		}
		wantClosed(t, session, cluster.ErrKicked)
		var kicked *cluster.KickedError
		if !errors.As(session.Err(), &kicked) || kicked.Reason != reason[:1024] {
			t.Errorf("the session's reason: %v", session.Err())
		}
		count, err = node.Kick(patience(t), "u", reason)
		if count != 0 || err != nil && !errors.Is(err, cluster.ErrDegraded) {
			t.Errorf("Kick of a user who is offline: %d, %v", count, err)
		}
		wantOffline(t, node, "u")
	}
}

// What is queued waits in a pipe that is full when the session loses its user.
func TestWhoLosesItsUserStillGetsWhatWasQueuedForIt(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, nil)
	for reason, lose := range map[error]func(){
		cluster.ErrKicked:   func() { _, _ = nodes[1].Kick(patience(t), "u", "") },
		cluster.ErrReplaced: func() { server.bound(nodes[1], "u") },
	} {
		session, client := server.bound(nodes[0], "u")
		want := strings.Repeat("x", 1<<10) + "\n"
		sent := 0
		for full := 0; full < 3; {
			switch err := session.Send([]byte(want[:1<<10])); err {
			case nil:
				sent, full = sent+1, 0
			case libnet.ErrSessionBlocked:
				full++
				time.Sleep(10 * time.Millisecond)
			default:
				t.Fatal(err)
			}
		}
		lose()
		eventually(t, "the end to begin", session.IsClosed)
		for range sent {
			read(t, client, want)
		}
		client.Close()
		wantClosed(t, session, reason)
	}
}

func TestNodesListsAllWithTheirUsers(t *testing.T) {
	nodes := mesh(t, 3)
	server := newSessions(t, lines, nil)
	server.bound(nodes[2], "a")
	server.bound(nodes[2], "b")
	for _, node := range nodes {
		eventually(t, "the numbers of users", func() bool {
			list := node.Nodes()
			return len(list) == 3 && list[0].Users == 0 && list[1].Users == 0 && list[2].Users == 2
		})
		for i, info := range node.Nodes() {
			if info.ID != nodes[i].ID() || info.Self != (nodes[i] == node) || info.Draining || time.Since(info.LastSeen) > soon {
				t.Errorf("Nodes on %s: %+v", node.ID(), info)
			}
		}
	}
}
