package access_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/token"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

func TestG1AClientThatGoesAwayLeavesNothingBehind(t *testing.T) {
	r := newRig(t)
	s := r.start(nil)
	each(t, func(t *testing.T, dial func(testing.TB, *server) *peer) {
		p := dial(t, s).login(r, 1)
		p.Close()
		imtest.Eventually(t, "no session", func() bool { return s.Load() == 0 })
		imtest.Eventually(t, "the user offline", func() bool { return len(r.online(s, 1)) == 0 })
	})
}

func TestG3AWrongTokenBindsNobody(t *testing.T) {
	r := newRig(t)
	s := r.start(nil)
	other, err := token.New(token.NewKey(), "")
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, dial func(testing.TB, *server) *peer) {
		for name, test := range map[string]struct {
			token string
			want  proto.Message
		}{
			"none":           {"", wire.Fail(wire.CmdLogin, wire.CodeNoToken, "no token")},
			"noise":          {"noise", wire.Fail(wire.CmdLogin, wire.CodeWrongToken, "calc token failed")},
			"another user's": {r.token(2), wire.Fail(wire.CmdLogin, wire.CodeWrongToken, "calc token failed")},
			"another key's":  {other.Issue(1, time.Hour), wire.Fail(wire.CmdLogin, wire.CodeWrongToken, "calc token failed")},
			"one that ended": {r.tokens.Issue(1, -2*token.Skew), wire.Fail(wire.CmdLogin, wire.CodeWrongToken, "calc token failed")},
		} {
			t.Run(name, func(t *testing.T) {
				p := dial(t, s)
				p.want(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: 1, Token: test.token}, test.want)
				p.want(&wire.ReqPing{Cmd: wire.CmdPing}, wire.Fail(wire.CmdPing, wire.CodeNoToken, "no token"))
				if sessions := r.online(s, 1); len(sessions) > 0 {
					t.Errorf("online: %v", sessions)
				}
			})
		}
	})
}

func TestG3TheSenderIsWhoLoggedIn(t *testing.T) {
	r := newRig(t)
	s := r.start(nil)
	each(t, func(t *testing.T, dial func(testing.TB, *server) *peer) {
		p := dial(t, s).login(r, 1)
		answer := p.ask(&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, SourceUID: 666, TargetUID: 2, MsgID: t.Name(), Msg: "hello"})
		if res := answer.(*wire.ResSendP2PMsg); res.ErrCode != 0 {
			t.Errorf("answer %v", res)
		}
		p.ask(&wire.ReqSendGroupMsg{Cmd: wire.CmdSendGroup, SourceUID: 666, GroupID: 9, Msg: "all"})

		q := dial(t, s).login(r, 2)
		res := q.ask(&wire.ReqSyncMsg{Cmd: wire.CmdSync, UID: 1}).(*wire.ResSyncMsg) // 1's messages are not to be had either
		if len(res.Msgs) == 0 {
			t.Fatal("nothing came")
		}
		for _, m := range res.Msgs {
			if m.SourceUID != 1 || m.TargetUID != 2 {
				t.Errorf("came as %v", m)
			}
		}
	})
}

func TestBeforeTheLoginNothingIsServed(t *testing.T) {
	r := newRig(t)
	s := r.start(nil)
	each(t, func(t *testing.T, dial func(testing.TB, *server) *peer) {
		for _, request := range []proto.Message{
			&wire.ReqPing{Cmd: wire.CmdPing, UID: 1},
			&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, SourceUID: 1, TargetUID: 2, Msg: "hello"},
			&wire.ReqSyncMsg{Cmd: wire.CmdSync, UID: 1},
			&wire.ReqPresence{Cmd: wire.CmdPresence, UIDs: []int64{1}},
		} {
			p := dial(t, s)
			answer := p.ask(request)
			m := answer.ProtoReflect()
			code := m.Get(m.Descriptor().Fields().ByName("errCode")).Uint()
			if uint32(code) != wire.CodeNoToken {
				t.Errorf("to %v: %v", request, answer)
			}
		}
	})
}

func TestG4ManyComeAndGoAtTheSameTime(t *testing.T) {
	r := newRig(t)
	servers := []*server{r.start(nil), r.start(nil)}
	var wg sync.WaitGroup
	for user := int64(1); user <= 24; user++ {
		wg.Go(func() {
			for range 4 {
				p := dialTCP(t, servers[user%2]).login(r, user)
				p.ask(&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: user%24 + 1, Msg: "hello"})
				p.ask(&wire.ReqPresence{Cmd: wire.CmdPresence, UIDs: []int64{1, 2, 3, user}})
				p.Close()
			}
		})
	}
	wg.Wait()
	for _, s := range servers {
		imtest.Eventually(t, "no session", func() bool { return s.Load() == 0 })
		imtest.Eventually(t, "no user", func() bool { return s.node.Stats().Users == 0 })
	}
}

func TestG5ASecondLoginReplacesTheFirst(t *testing.T) {
	r := newRig(t)
	one, two := r.start(nil), r.start(nil)
	each(t, func(t *testing.T, dial func(testing.TB, *server) *peer) {
		first := dial(t, one).login(r, 1)
		second := dial(t, two).login(r, 1)
		<-untilEnd(first)
		imtest.Eventually(t, "one session", func() bool {
			sessions := r.online(one, 1)
			return len(sessions) == 1 && sessions[0].Node == two.node.ID()
		})
		second.want(&wire.ReqPing{Cmd: wire.CmdPing}, wire.OK(wire.CmdPing))
		second.Close()
		imtest.Eventually(t, "offline", func() bool { return len(r.online(one, 1)) == 0 })
		imtest.Eventually(t, "no sessions", func() bool { return one.Load()+two.Load() == 0 })
	})
}

// untilEnd reads until the session ends.
func untilEnd(p *peer) <-chan struct{} {
	go func() {
		for {
			if _, err := p.Receive(); err != nil {
				return
			}
		}
	}()
	return p.Done()
}

func TestASessionStaysTheUsersWhoLoggedInFirst(t *testing.T) {
	r := newRig(t)
	s := r.start(nil)
	p := dialTCP(t, s).login(r, 1)
	p.want(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: 2, Token: r.token(2)}, wire.Fail(wire.CmdLogin, wire.CodeWrongToken, "calc token failed"))
	p.want(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: 1, Token: "noise"}, wire.Fail(wire.CmdLogin, wire.CodeWrongToken, "calc token failed"))
	p.want(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: 1, Token: r.token(1)}, wire.OK(wire.CmdLogin))
	if who := p.ask(&wire.ReqWhoAmI{Cmd: wire.CmdWhoAmI}).(*wire.ResWhoAmI); who.UID != 1 || who.Server != s.node.ID() {
		t.Errorf("who am I: %v", who)
	}
}

func TestWithoutALoginASessionEnds(t *testing.T) {
	r := newRig(t)
	s := r.start(func(o *access.Options) { o.LoginTimeout = 50 * time.Millisecond })
	each(t, func(t *testing.T, dial func(testing.TB, *server) *peer) {
		dial(t, s).wantEnd()
		dial(t, s).login(r, 1).want(&wire.ReqPing{Cmd: wire.CmdPing}, wire.OK(wire.CmdPing))
	})
}

func TestALoginThatTakesTooLongIsRefused(t *testing.T) {
	r := newRig(t)
	s := r.start(func(o *access.Options) {
		o.RequestTimeout = 50 * time.Millisecond
		o.Cluster = slowBind{o.Cluster}
	})
	p := dialTCP(t, s)
	answer := p.ask(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: 1, Token: r.token(1)}).(*wire.Error)
	if answer.ErrCode != wire.CodeServer {
		t.Errorf("answer %v", answer)
	}
	p.wantEnd()
}

type slowBind struct{ access.Cluster }

func (slowBind) Bind(ctx context.Context, _ *libnet.Session, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestLegacyTokenIsAcceptedOnlyBehindTheOption(t *testing.T) {
	r := newRig(t)
	sum := md5.Sum(fmt.Append(nil, 1, "salt"))
	login := &wire.ReqLogin{Cmd: wire.CmdLogin, UID: 1, Token: hex.EncodeToString(sum[:])}
	dialTCP(t, r.start(nil)).want(login, wire.Fail(wire.CmdLogin, wire.CodeWrongToken, "calc token failed"))

	legacy := r.start(func(o *access.Options) {
		tokens, err := token.New(token.NewKey(), "salt")
		if err != nil {
			t.Fatal(err)
		}
		o.Tokens = tokens
	})
	dialTCP(t, legacy).want(login, wire.OK(wire.CmdLogin))
}

func TestSessionsHaveABound(t *testing.T) {
	r := newRig(t)
	s := r.start(func(o *access.Options) { o.MaxSessions = 2 })
	dialTCP(t, s).login(r, 1)
	dialTCP(t, s).login(r, 2)
	d := config()
	session, err := d.Dial(imtest.Bounded(t), "tcp", s.Addr())
	if err == nil {
		defer session.Close()
		_, err = session.Receive()
	}
	if err == nil || errors.Is(err, libnet.ErrIdleTimeout) {
		t.Errorf("the third of two: %v", err)
	}
}
