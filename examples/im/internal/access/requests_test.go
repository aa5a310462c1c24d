package access_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

// brokenHistory is a history whose Store and Read are the test's.
type brokenHistory struct {
	access.History
	store func(ctx context.Context, m history.Message) (int64, error)
	read  func(ctx context.Context, q history.Query) (history.Page, error)
}

func (b brokenHistory) Store(ctx context.Context, m history.Message) (int64, error) {
	if b.store == nil {
		return b.History.Store(ctx, m)
	}
	return b.store(ctx, m)
}

func (b brokenHistory) Read(ctx context.Context, q history.Query) (history.Page, error) {
	if b.read == nil {
		return b.History.Read(ctx, q)
	}
	return b.read(ctx, q)
}

// A logBuffer is what a server logs.
type logBuffer struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.String()
}

func TestG6AnErrorIsLoggedAlthoughItsAnswerWasSent(t *testing.T) {
	r := newRig(t)
	log := new(logBuffer)
	s := r.start(func(o *access.Options) {
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
		o.History = brokenHistory{
			History: o.History,
			store:   func(context.Context, history.Message) (int64, error) { return 0, errors.New("disk on fire") },
		}
	})
	p := dialTCP(t, s).login(r, 1)
	answer := p.ask(&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 2, Msg: "a secret"}).(*wire.ResSendP2PMsg)
	if answer.ErrCode != wire.CodeServer || strings.Contains(answer.ErrStr, "fire") {
		t.Errorf("answer %v", answer)
	}
	if text := log.String(); !strings.Contains(text, "disk on fire") || strings.Contains(text, "a secret") {
		t.Errorf("logged: %s", text)
	}
	p.want(&wire.ReqPing{Cmd: wire.CmdPing}, wire.OK(wire.CmdPing))
}

func TestG7WhatCannotBeDecodedIsToldSoAndEndsNothing(t *testing.T) {
	r := newRig(t)
	s := r.start(nil)
	malformed := wire.Fail(wire.CmdError, wire.CodeServer, "server error")
	each(t, func(t *testing.T, dial func(testing.TB, *server) *peer) {
		for name, test := range map[string]struct {
			payload []byte
			want    proto.Message // nil: no answer
		}{
			"empty":               {[]byte{}, nil},
			"noise":               {[]byte{0xff, 0xff, 0xff}, malformed},
			"no command":          {wire.Encode(&wire.ReqPing{UID: 1}), nil},
			"an answer":           {wire.Encode(wire.Fail(wire.CmdError, 1, "x")), nil},
			"a request cut short": {wire.Encode(&wire.ReqLogin{Cmd: wire.CmdLogin, Token: "token"})[:8], malformed},
			"a body of another":   {[]byte("\x08\xa3\x9c\x01\x32\x02\xc3\x28"), malformed}, // a text that is none
		} {
			t.Run(name, func(t *testing.T) {
				p := dial(t, s).login(r, 1)
				p.send(test.payload)
				if test.want != nil {
					if got := p.receive(); !proto.Equal(got, test.want) {
						t.Errorf("answered with %v", got)
					}
				}
				p.want(&wire.ReqPing{Cmd: wire.CmdPing}, wire.OK(wire.CmdPing))
			})
		}
	})
}

func TestGuestsAreRefusedAndMayLogInAllTheSame(t *testing.T) {
	r := newRig(t)
	s := r.start(nil)
	each(t, func(t *testing.T, dial func(testing.TB, *server) *peer) {
		p := dial(t, s)
		p.send([]byte{0xff})
		p.want(&wire.ReqPing{Cmd: wire.CmdPing}, wire.Fail(wire.CmdError, wire.CodeServer, "server error"))
		if got := p.receive(); !proto.Equal(got, wire.Fail(wire.CmdPing, wire.CodeNoToken, "no token")) {
			t.Errorf("to a guest's ping: %v", got)
		}
		p.want(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: 1, Token: "noise"}, wire.Fail(wire.CmdLogin, wire.CodeWrongToken, "calc token failed"))
		p.login(r, 1).want(&wire.ReqPing{Cmd: wire.CmdPing}, wire.OK(wire.CmdPing))
	})
}

func TestG8EveryRequestHasADeadlineAndAnAnswer(t *testing.T) {
	r := newRig(t)
	s := r.start(func(o *access.Options) {
		o.RequestTimeout = 100 * time.Millisecond
		o.Cluster = hangingCluster{o.Cluster}
		o.History = brokenHistory{
			store: func(ctx context.Context, _ history.Message) (int64, error) { <-ctx.Done(); return 0, ctx.Err() },
			read: func(ctx context.Context, _ history.Query) (history.Page, error) {
				<-ctx.Done()
				return history.Page{}, ctx.Err()
			},
			History: o.History,
		}
	})
	p := dialTCP(t, s).login(r, 1)
	for _, request := range []proto.Message{
		&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 2},
		&wire.ReqSendGroupMsg{Cmd: wire.CmdSendGroup, GroupID: 9},
		&wire.ReqSyncMsg{Cmd: wire.CmdSync},
		&wire.ReqHistory{Cmd: wire.CmdHistory},
		&wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, GroupID: 9},
	} {
		began := time.Now()
		answer := p.ask(request)
		m := answer.ProtoReflect()
		if code := m.Get(m.Descriptor().Fields().ByName("errCode")).Uint(); uint32(code) != wire.CodeServer {
			t.Errorf("to %v: %v", request, answer)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("to %v after %v", request, took)
		}
	}
	answer := p.ask(&wire.ReqPresence{Cmd: wire.CmdPresence, UIDs: []int64{1, 2}}).(*wire.ResPresence)
	for _, user := range answer.Users {
		if user.Presence != wire.Presence_UNKNOWN {
			t.Errorf("presence that could not be told: %v", user)
		}
	}
}

// hangingCluster answers no question.
type hangingCluster struct{ access.Cluster }

func (hangingCluster) Sync(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func (hangingCluster) Online(ctx context.Context, _ string) ([]cluster.Presence, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAMessageIsAcknowledgedAndItsReceiverNotified(t *testing.T) {
	r := newRig(t)
	one, two := r.start(nil), r.start(nil)
	each(t, func(t *testing.T, dial func(testing.TB, *server) *peer) {
		p, q := dial(t, one).login(r, 1), dial(t, two).login(r, 2)
		before := q.ask(&wire.ReqSyncMsg{Cmd: wire.CmdSync}).(*wire.ResSyncMsg).CurrentID
		p.want(
			&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, SourceUID: 1, TargetUID: 2, MsgID: t.Name(), Msg: "hello"},
			&wire.ResSendP2PMsg{Cmd: wire.CmdSendP2P, ErrStr: "ok"},
		)
		notify := q.receive().(*wire.ResNotify)
		if notify.CurrentID <= before {
			t.Errorf("notified of version %d, after %d", notify.CurrentID, before)
		}
		q.want(&wire.ReqSyncMsg{Cmd: wire.CmdSync, CurrentID: before}, &wire.ResSyncMsg{
			Cmd: wire.CmdSync, ErrStr: "ok", CurrentID: notify.CurrentID,
			Msgs: []*wire.SyncMsg{{SourceUID: 1, TargetUID: 2, MsgType: "p2p", MsgID: t.Name(), Msg: "hello"}},
		})
		q.want(&wire.ReqSyncMsg{Cmd: wire.CmdSync, CurrentID: notify.CurrentID}, &wire.ResSyncMsg{
			Cmd: wire.CmdSync, ErrStr: "ok", CurrentID: notify.CurrentID,
		})
	})
}

func TestAGroupIsNotifiedOnAllServers(t *testing.T) {
	r := newRig(t)
	servers := []*server{r.start(nil), r.start(nil)}
	var peers []*peer
	for user := int64(1); user <= 4; user++ {
		p := dialTCP(t, servers[user%2]).login(r, user)
		if res := p.ask(&wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, GroupID: 9}).(*wire.ResJoinGroup); res.ErrCode != 0 || res.GroupID != 9 {
			t.Fatalf("join: %v", res)
		}
		peers = append(peers, p)
	}
	peers[0].want(
		&wire.ReqSendGroupMsg{Cmd: wire.CmdSendGroup, SourceUID: 1, GroupID: 9, MsgID: "a", Msg: "all"},
		&wire.ResSendGroupMsg{Cmd: wire.CmdSendGroup, ErrStr: "ok"},
	)
	for i, p := range peers[1:] {
		notify := p.receive().(*wire.ResNotify)
		p.want(&wire.ReqSyncMsg{Cmd: wire.CmdSync}, &wire.ResSyncMsg{
			Cmd: wire.CmdSync, ErrStr: "ok", CurrentID: notify.CurrentID,
			Msgs: []*wire.SyncMsg{{SourceUID: 1, TargetUID: int64(i) + 2, GroupID: 9, MsgType: "group", MsgID: "a", Msg: "all"}},
		})
	}
	peers[0].want(&wire.ReqMembers{Cmd: wire.CmdMembers, GroupID: 9}, &wire.ResMembers{Cmd: wire.CmdMembers, GroupID: 9, UIDs: []int64{1, 2, 3, 4}})

	// Who has left hears nothing and reads nothing more.
	peers[3].want(&wire.ReqLeaveGroup{Cmd: wire.CmdLeaveGroup, GroupID: 9}, &wire.ResLeaveGroup{Cmd: wire.CmdLeaveGroup, GroupID: 9})
	peers[3].want(&wire.ReqMembers{Cmd: wire.CmdMembers, GroupID: 9}, &wire.ResMembers{Cmd: wire.CmdMembers, ErrCode: wire.CodeRefused, ErrStr: "for members only"})
	peers[0].ask(&wire.ReqSendGroupMsg{Cmd: wire.CmdSendGroup, GroupID: 9, Msg: "all the others"})
	peers[1].receive()
	if res := peers[3].ask(&wire.ReqSyncMsg{Cmd: wire.CmdSync}).(*wire.ResSyncMsg); len(res.Msgs) != 0 {
		t.Errorf("who has left reads %v", res.Msgs)
	}
}

func TestAMembershipOutlivesTheSession(t *testing.T) {
	r := newRig(t)
	one, two := r.start(nil), r.start(nil)
	p := dialTCP(t, one).login(r, 1)
	p.ask(&wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, GroupID: 9})
	p.ask(&wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, GroupID: 7})
	p.Close()
	q := dialTCP(t, one).login(r, 2)
	q.ask(&wire.ReqSendGroupMsg{Cmd: wire.CmdSendGroup, GroupID: 9, Msg: "while away"})

	p = dialTCP(t, two).login(r, 1)
	if who := p.ask(&wire.ReqWhoAmI{Cmd: wire.CmdWhoAmI}).(*wire.ResWhoAmI); !slices.Equal(who.GroupIDs, []int64{7, 9}) || who.Server != two.node.ID() {
		t.Errorf("who am I: %v", who)
	}
	res := p.ask(&wire.ReqSyncMsg{Cmd: wire.CmdSync}).(*wire.ResSyncMsg)
	if len(res.Msgs) != 1 || res.Msgs[0].Msg != "while away" {
		t.Errorf("missed: %v", res)
	}
	q.ask(&wire.ReqSendGroupMsg{Cmd: wire.CmdSendGroup, GroupID: 9, Msg: "while here"})
	for p.receive().(*wire.ResNotify).CurrentID <= res.CurrentID {
		// The notification of the message before is late: it is sent behind the answer.
	}
}

func TestPresenceSaysWhereAUserIs(t *testing.T) {
	r := newRig(t)
	one, two := r.start(nil), r.start(nil)
	p := dialTCP(t, one).login(r, 1)
	dialTCP(t, two).login(r, 2)
	p.want(&wire.ReqPresence{Cmd: wire.CmdPresence, UIDs: []int64{3, 2, 1}}, &wire.ResPresence{
		Cmd: wire.CmdPresence,
		Users: []*wire.UserPresence{
			{UID: 3, Presence: wire.Presence_OFFLINE},
			{UID: 2, Presence: wire.Presence_ONLINE, Server: two.node.ID()},
			{UID: 1, Presence: wire.Presence_ONLINE, Server: one.node.ID()},
		},
	})
	p.want(&wire.ReqPresence{Cmd: wire.CmdPresence, UIDs: make([]int64, 101)},
		&wire.ResPresence{Cmd: wire.CmdPresence, ErrCode: wire.CodeRefused, ErrStr: "too many users at once"})
}

func TestRequestsThatAreAtFaultAreToldSo(t *testing.T) {
	r := newRig(t)
	p := dialTCP(t, r.start(nil)).login(r, 1)
	long := strings.Repeat("x", history.MaxText+1)
	for _, test := range []struct{ request, answer proto.Message }{
		{&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 2, Msg: long},
			&wire.ResSendP2PMsg{Cmd: wire.CmdSendP2P, ErrCode: wire.CodeRefused, ErrStr: "message too long"}},
		{&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 0, Msg: "hello"},
			&wire.ResSendP2PMsg{Cmd: wire.CmdSendP2P, ErrCode: wire.CodeRefused, ErrStr: "no such user"}},
		{&wire.ReqSendGroupMsg{Cmd: wire.CmdSendGroup, GroupID: -9, Msg: "hello"},
			&wire.ResSendGroupMsg{Cmd: wire.CmdSendGroup, ErrCode: wire.CodeRefused, ErrStr: "no such group"}},
		{&wire.ReqPing{Cmd: wire.CmdPing}, wire.OK(wire.CmdPing)},
	} {
		p.want(test.request, test.answer)
	}
}

func TestTheLongestMessageArrives(t *testing.T) {
	r := newRig(t)
	s := r.start(nil)
	each(t, func(t *testing.T, dial func(testing.TB, *server) *peer) {
		p := dial(t, s).login(r, 1)
		long := strings.Repeat("x", history.MaxText)
		if res := p.ask(&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 1, MsgID: t.Name(), Msg: long}).(*wire.ResSendP2PMsg); res.ErrCode != wire.CodeOK {
			t.Fatalf("answer %d %s", res.ErrCode, res.ErrStr)
		}
		if res := p.ask(&wire.ReqSyncMsg{Cmd: wire.CmdSync}).(*wire.ResSyncMsg); len(res.Msgs) != 1 || res.Msgs[0].Msg != long {
			t.Errorf("%d messages", len(res.Msgs))
		}
	})
}

func TestAClientThatKnowsNoPagesIsNotifiedUntilItHasAll(t *testing.T) {
	r := newRig(t)
	p := dialTCP(t, r.start(nil)).login(r, 1)
	const messages = 12
	text := strings.Repeat("x", 20_000)
	for i := range messages {
		p.ask(&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 2, MsgID: fmt.Sprint(i), Msg: text})
	}
	p.want(&wire.ReqPing{Cmd: wire.CmdPing}, wire.OK(wire.CmdPing)) // the notification of the last message was sent: user 2 does not get it
	q := dialTCP(t, r.servers[0]).login(r, 2)
	var ids []string
	var current int64
	q.send(&wire.ReqSyncMsg{Cmd: wire.CmdSync})
	for len(ids) < messages {
		switch msg := q.receive().(type) {
		case *wire.ResSyncMsg:
			for _, m := range msg.Msgs {
				ids = append(ids, m.MsgID)
			}
			current = msg.CurrentID
		case *wire.ResNotify:
			if msg.CurrentID <= current {
				t.Fatalf("notified of %d at %d", msg.CurrentID, current)
			}
			q.send(&wire.ReqSyncMsg{Cmd: wire.CmdSync, CurrentID: current})
		}
	}
	var want []string
	for i := range messages {
		want = append(want, fmt.Sprint(i))
	}
	if !slices.Equal(ids, want) {
		t.Errorf("got %v", ids)
	}
	q.want(&wire.ReqPing{Cmd: wire.CmdPing}, wire.OK(wire.CmdPing)) // and no further notification
}

func TestHistoryHasBothSidesOfAConversationAfterAReload(t *testing.T) {
	r := newRig(t)
	s := r.start(nil)
	p, q := dialWebSocket(t, s).login(r, 1), dialTCP(t, s).login(r, 2)
	p.ask(&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 2, MsgID: "a", Msg: "hello"})
	q.ask(&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 1, MsgID: "a", Msg: "hello yourself"})
	p.Close()
	p = dialWebSocket(t, s).login(r, 1)
	res := p.ask(&wire.ReqHistory{Cmd: wire.CmdHistory}).(*wire.ResHistory)
	if res.More || res.ErrCode != 0 || len(res.Records) != 2 {
		t.Fatalf("history %v", res)
	}
	first, second := res.Records[0], res.Records[1]
	if first.SourceUID != 1 || first.Msg != "hello" || second.SourceUID != 2 || second.Msg != "hello yourself" || first.MsgID != "a" {
		t.Errorf("records %v", res.Records)
	}
	if first.ID == second.ID || first.ID == 0 || first.Version >= second.Version {
		t.Errorf("ids %d and %d, versions %d and %d", first.ID, second.ID, first.Version, second.Version)
	}
	if age := time.Since(time.UnixMilli(first.Time)); age < -time.Second || age > time.Minute {
		t.Errorf("time %v ago", age)
	}
	p.want(&wire.ReqHistory{Cmd: wire.CmdHistory, CurrentID: res.CurrentID}, &wire.ResHistory{Cmd: wire.CmdHistory, CurrentID: res.CurrentID})
}
