package cluster_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/codec"
)

func TestABroadcastReachesAllMembersInTheirOwnFramingsAndNobodyElse(t *testing.T) {
	nodes := mesh(t, 3)
	framings := map[string]*sessions{
		"%s\n":       newSessions(t, lines, nil),
		"\x00\x05%s": newSessions(t, codec.New(codec.Uint16BE, codec.Bytes), nil),
	}
	type member struct {
		conn   net.Conn
		format string
	}
	var members []member
	var outsiders []net.Conn
	for _, node := range nodes {
		for format, server := range framings {
			session, conn := server.open()
			if err := node.Join(session, "room"); err != nil {
				t.Fatal(err)
			}
			members = append(members, member{conn, format})
			session, conn = server.open()
			if err := node.Join(session, "another room"); err != nil {
				t.Fatal(err)
			}
			outsiders = append(outsiders, conn)
		}
		if err := node.Sync(patience(t)); err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range nodes {
		if err := node.Broadcast("room", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			read(t, m.conn, fmt.Sprintf(m.format, "hello"))
		}
	}
	if err := nodes[0].Broadcast("another room", []byte("first")); err != nil {
		t.Fatal(err)
	}
	for i, conn := range outsiders { // had they heard the other room, it would come first
		format := members[i].format
		read(t, conn, fmt.Sprintf(format, "first"))
	}
}

// countingProtocol counts how often a message is encoded.
type countingProtocol struct {
	inner   libnet.Protocol
	encoded *atomic.Int64
}

type countingCodec struct {
	libnet.Codec
	libnet.FrameParser
	appender libnet.FrameAppender
	encoded  *atomic.Int64
}

func (p countingProtocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	c := p.inner.NewCodec(rw)
	return &countingCodec{c, c.(libnet.FrameParser), c.(libnet.FrameAppender), p.encoded}
}

func (c *countingCodec) AppendFrame(dst []byte, msg any) ([]byte, error) {
	c.encoded.Add(1)
	return c.appender.AppendFrame(dst, msg)
}

func TestABroadcastIsEncodedOnceANode(t *testing.T) {
	nodes := mesh(t, 2)
	var encoded atomic.Int64
	server := newSessions(t, countingProtocol{lines, &encoded}, nil)
	var clients []net.Conn
	for i := range 20 {
		session, client := server.open()
		if err := nodes[i%2].Join(session, "g"); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, client)
	}
	for _, node := range nodes {
		if err := node.Sync(patience(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nodes[0].Broadcast("g", []byte("all")); err != nil {
		t.Fatal(err)
	}
	for _, client := range clients {
		read(t, client, "all\n")
	}
	if n := encoded.Load(); n != 2 {
		t.Errorf("encoded %d times for 20 members on 2 nodes", n)
	}
}

func TestAMemberThatLeavesOrClosesHearsNoMoreAndTheLastEndsTheGroup(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, nil)
	leaving, leavingEnd := server.open()
	closing, _ := server.open()
	for range 2 { // joining again changes nothing
		for _, s := range []*libnet.Session{leaving, closing} {
			if err := nodes[1].Join(s, "g"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if groups := nodes[1].Stats().Groups; groups != 1 {
		t.Fatalf("%d groups", groups)
	}
	closing.Close()
	if err := nodes[1].Leave(leaving, "g"); err != nil {
		t.Fatal(err)
	}
	if err := nodes[1].Leave(leaving, "g"); err != nil {
		t.Errorf("leaving a group again: %v", err)
	}
	if groups := nodes[1].Stats().Groups; groups != 0 {
		t.Errorf("%d groups when all have left", groups)
	}
	if err := nodes[1].Broadcast("g", []byte("not for you")); err != nil {
		t.Fatal(err)
	}
	if err := nodes[1].Join(leaving, "g"); err != nil {
		t.Fatal(err)
	}
	if err := nodes[1].Broadcast("g", []byte("back")); err != nil {
		t.Fatal(err)
	}
	read(t, leavingEnd, "back\n")
}

func TestManyJoinAndLeaveAGroupAtOnce(t *testing.T) {
	node := startNode(t, cluster.Options{})
	server := newSessions(t, lines, nil)
	done := make(chan struct{})
	const members = 16
	for range members {
		session, _ := server.open()
		go func() {
			defer func() { done <- struct{}{} }()
			for range 50 {
				_ = node.Join(session, "g")
				_ = node.Leave(session, "g")
			}
			_ = node.Join(session, "g")
			session.Close()
		}()
	}
	for range members {
		<-done
	}
	if groups := node.Stats().Groups; groups != 0 {
		t.Errorf("%d groups are left", groups)
	}
}

func repeat(times int, f func()) {
	for range times {
		f()
	}
}

func TestASessionThatJoinsWhileItLeavesIsAMemberOrNotButNeverADeafOne(t *testing.T) {
	node := startNode(t, cluster.Options{})
	server := newSessions(t, lines, nil)
	other, _ := server.open() // keeps the group
	if err := node.Join(other, "g"); err != nil {
		t.Fatal(err)
	}
	session, client := server.open()
	for range 500 {
		var both sync.WaitGroup
		for range 4 {
			both.Go(func() { repeat(20, func() { _ = node.Leave(session, "g") }) })
			both.Go(func() { repeat(20, func() { _ = node.Join(session, "g") }) })
		}
		both.Wait()
		if err := node.Join(session, "g"); err != nil {
			t.Fatal(err)
		}
		if err := node.Broadcast("g", []byte("x")); err != nil {
			t.Fatal(err)
		}
		read(t, client, "x\n")
	}
}
