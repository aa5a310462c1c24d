package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/examples/im/internal/wire/wiretest"
	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

func TestARefusedTokenEndsTheClient(t *testing.T) {
	s := newScript(t)
	c, _ := s.client(nil)
	session := s.next()
	if login := expect[*wire.ReqLogin](session); login.UID != 1 || login.Token != "token" {
		t.Errorf("login %v", login)
	}
	session.say(wire.Fail(wire.CmdLogin, wire.CodeWrongToken, "calc token failed"))
	<-c.Done()
	if !errors.Is(c.Err(), client.ErrRefused) || !errors.Is(c.Ready(bounded(t)), client.ErrRefused) {
		t.Errorf("ended with %v", c.Err())
	}
	if err := c.Send(bounded(t), 2, "hello"); !errors.Is(err, client.ErrRefused) {
		t.Errorf("send: %v", err)
	}
}

func TestAReplacedClientDoesNotComeBack(t *testing.T) {
	s := newScript(t)
	c, _ := s.client(nil)
	session := s.next().admit()
	session.say(wire.Fail(wire.CmdError, wire.CodeReplaced, "logged in elsewhere"))
	if err := session.Shutdown(bounded(t)); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if c.Err() != client.ErrReplaced {
		t.Errorf("ended with %v", c.Err())
	}
}

func TestALoginThatLostEndsTheClient(t *testing.T) {
	s := newScript(t)
	c, _ := s.client(nil)
	session := s.next()
	expect[*wire.ReqLogin](session)
	session.say(wire.Fail(wire.CmdLogin, wire.CodeReplaced, "logged in elsewhere"))
	<-c.Done()
	if c.Err() != client.ErrReplaced {
		t.Errorf("ended with %v", c.Err())
	}
}

func TestANotificationBeforeTheAnswerToTheLoginIsCovered(t *testing.T) {
	s := newScript(t)
	_, got := s.client(func(o *client.Options) { o.After = 40 })
	session := s.next()
	expect[*wire.ReqLogin](session)
	session.say(wire.Notify(42))
	session.say(wire.OK(wire.CmdLogin))
	if sync := expect[*wire.ReqSyncMsg](session); sync.CurrentID != 40 {
		t.Errorf("sync %v", sync)
	}
	session.say(page(42, "a", "b"))
	wantMessages(t, got, "a", "b")
}

func TestThereIsOneSyncAtATimeAndEachMessageComesOnce(t *testing.T) {
	s := newScript(t)
	c, got := s.client(nil)
	session := s.next().admit()
	for version := range int64(5) {
		session.say(wire.Notify(version + 10))
	}
	if sync := expect[*wire.ReqSyncMsg](session); sync.CurrentID != 0 {
		t.Errorf("sync %v", sync)
	}
	session.say(wire.Notify(15))
	session.say(page(12, "a", "b"))
	if sync := expect[*wire.ReqSyncMsg](session); sync.CurrentID != 12 { // the next, and not four more of the first
		t.Errorf("sync %v", sync)
	}
	session.say(page(15, "c"))
	session.say(wire.Notify(15)) // late
	session.say(wire.Notify(16))
	if sync := expect[*wire.ReqSyncMsg](session); sync.CurrentID != 15 {
		t.Errorf("sync %v", sync)
	}
	session.say(page(16, "d"))
	session.say(wire.Notify(17))
	if sync := expect[*wire.ReqSyncMsg](session); sync.CurrentID != 16 { // what came before has been handed out
		t.Errorf("sync %v", sync)
	}
	wantMessages(t, got, "a", "b", "c", "d")
	if len(got) != 0 || c.Current() != 16 {
		t.Errorf("%d more, at %d", len(got), c.Current())
	}
}

func TestAfterABreakTheClientSyncsFromWhereItWas(t *testing.T) {
	s := newScript(t)
	_, got := s.client(nil)
	session := s.next().admit()
	session.say(wire.Notify(7))
	expect[*wire.ReqSyncMsg](session)
	session.say(page(7, "a"))
	wantMessages(t, got, "a")
	session.Close()

	session = s.next()
	expect[*wire.ReqLogin](session)
	session.say(wire.OK(wire.CmdLogin))
	if sync := expect[*wire.ReqSyncMsg](session); sync.CurrentID != 7 {
		t.Errorf("sync %v", sync)
	}
}

func TestAMessageIsRepeatedUnderItsIDUntilItIsAcknowledged(t *testing.T) {
	s := newScript(t)
	c, _ := s.client(nil)
	session := s.next().admit()
	result := make(chan error, 1)
	go func() { result <- c.Send(bounded(t), 2, "hello") }()
	first := expect[*wire.ReqSendP2PMsg](session)
	if first.TargetUID != 2 || first.Msg != "hello" || first.MsgID == "" {
		t.Errorf("first %v", first)
	}
	session.Close() // without an answer

	session = s.next().admit()
	second := expect[*wire.ReqSendP2PMsg](session)
	if !proto.Equal(first, second) {
		t.Errorf("then %v", second)
	}
	session.say(wire.Refuse(wire.CmdSendP2P, wire.CodeServer, "try again"))
	third := expect[*wire.ReqSendP2PMsg](session)
	if !proto.Equal(first, third) {
		t.Errorf("then %v", third)
	}
	session.say(&wire.ResSendP2PMsg{Cmd: wire.CmdSendP2P, MsgID: third.MsgID})
	if err := <-result; err != nil {
		t.Error(err)
	}
	go func() { result <- c.Send(bounded(t), 2, "hello") }()
	if next := expect[*wire.ReqSendP2PMsg](session); next.MsgID == first.MsgID {
		t.Error("another message has the same id")
	}
	session.say(wire.Refuse(wire.CmdSendP2P, wire.CodeRefused, "no such user"))
	if err := <-result; !errors.Is(err, client.ErrRefused) {
		t.Errorf("refused: %v", err)
	}
}

func TestASilentServerIsLeft(t *testing.T) {
	s := newScript(t)
	c, _ := s.client(func(o *client.Options) { o.Timeout = 100 * time.Millisecond })
	session := s.next().admit()
	result := make(chan error, 1)
	go func() { result <- c.Send(bounded(t), 2, "hello") }()
	expect[*wire.ReqSendP2PMsg](session)
	if _, err := session.Receive(); err == nil {
		t.Error("something else came")
	}
	go func() { // the login of a busy machine may take longer than the timeout
		for {
			select {
			case session := <-s.sessions:
				for {
					payload, err := session.Receive()
					if err != nil {
						break
					}
					switch cmd, msg, _ := wiretest.Request(payload); request := msg.(type) {
					case *wire.ReqSendP2PMsg:
						_ = session.Send(&wire.ResSendP2PMsg{Cmd: cmd, MsgID: request.MsgID})
					default:
						_ = session.Send(wire.Refuse(cmd, wire.CodeOK, ""))
					}
				}
			case <-t.Context().Done():
				return
			}
		}
	}()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestAnAnswerThatNobodyWaitsForAnyMoreIsNotTakenForTheNext(t *testing.T) {
	s := newScript(t)
	c, _ := s.client(nil)
	session := s.next().admit()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- c.SendGroup(ctx, 9, "given up") }()
	expect[*wire.ReqSendGroupMsg](session)
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	go func() { result <- c.SendGroup(bounded(t), 9, "second") }()
	expect[*wire.ReqSendGroupMsg](session)
	session.say(&wire.ResSendGroupMsg{Cmd: wire.CmdSendGroup})
	session.say(wire.Refuse(wire.CmdSendGroup, wire.CodeRefused, "no"))
	if err := <-result; !errors.Is(err, client.ErrRefused) {
		t.Errorf("the second was given the first one's answer: %v", err)
	}
}

func TestWhatIsNotKnownIsIgnoredAndWhatCannotBeReadIsNot(t *testing.T) {
	s := newScript(t)
	c, _ := s.client(nil)
	session := s.next().admit()
	session.say(&wire.Command{Cmd: 29_999})
	session.say(wire.Fail(wire.CmdError, wire.CodeServer, "nobody asked"))
	result := make(chan error, 1)
	go func() { _, err := c.WhoAmI(bounded(t)); result <- err }()
	expect[*wire.ReqWhoAmI](session)
	session.say(wire.Fail(wire.CmdError, wire.CodeServer, "an old server"))
	if err := <-result; !errors.Is(err, client.ErrRefused) {
		t.Errorf("a server that cannot say who I am: %v", err)
	}
	if err := session.Send([]byte{0xff}); err != nil {
		t.Fatal(err)
	}
	s.next().admit()
}

func TestTheGatewayIsAskedForEachSession(t *testing.T) {
	gateway, s := newScript(t), newScript(t)
	c, _ := s.client(func(o *client.Options) { o.Pick, o.Gateway = nil, gateway.address })
	answer := func(res *wire.ResSelectAccessServerForClient) {
		session := gateway.next()
		expect[*wire.ReqAccessServer](session)
		session.say(res)
	}
	answer(&wire.ResSelectAccessServerForClient{Cmd: wire.CmdAccessServer, ErrCode: wire.CodeNoAccessServer, ErrStr: "none"})
	for range 2 {
		answer(&wire.ResSelectAccessServerForClient{Cmd: wire.CmdAccessServer, Addr: s.address})
		session := s.next().admit()
		if err := c.Ready(bounded(t)); err != nil || c.Server() != s.address {
			t.Errorf("at %q: %v", c.Server(), err)
		}
		session.Close()
	}
}

func TestStateIsTold(t *testing.T) {
	s := newScript(t)
	states := make(chan string, 16)
	c, _ := s.client(func(o *client.Options) { o.OnState = func(server string) { states <- server } })
	s.next().admit().Close()
	s.next().admit()
	var told []string
	for range 3 {
		told = append(told, <-states)
	}
	c.Close()
	<-c.Done()
	close(states)
	for state := range states {
		told = append(told, state)
	}
	if want := []string{s.address, "", s.address}; !slices.Equal(told[:3], want) || len(told) > 4 {
		t.Errorf("told %q", told)
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	s := newScript(t)
	c, _ := s.client(nil)
	session := s.next().admit()
	results := make(chan error, 10)
	for i := range 10 {
		go func() { results <- c.Send(bounded(t), 2, fmt.Sprint(i)) }()
	}
	for range 10 {
		expect[*wire.ReqSendP2PMsg](session)
	}
	c.Close()
	c.Close()
	for range 10 {
		if err := <-results; err != client.ErrClosed {
			t.Errorf("send: %v", err)
		}
	}
	<-c.Done()
	if err := c.Ready(bounded(t)); err != client.ErrClosed || c.Err() != client.ErrClosed {
		t.Errorf("ready: %v, err %v", err, c.Err())
	}
}

func TestMessagesThatTakeTheVersionsOfLostOnesAreHandedOut(t *testing.T) {
	s := newScript(t)
	_, got := s.client(func(o *client.Options) { o.After = 1000 })
	side := s.next()
	expect[*wire.ReqLogin](side)
	side.say(wire.OK(wire.CmdLogin))
	expect[*wire.ReqSyncMsg](side)
	// A power cut has taken 991 to 1000.
	side.say(&wire.ResSyncMsg{Cmd: wire.CmdSync, CurrentID: 990})
	side.say(wire.Notify(991))
	if after := expect[*wire.ReqSyncMsg](side).CurrentID; after != 990 {
		t.Fatalf("it asks for what comes after %d", after)
	}
	side.say(page(991, "new"))
	wantMessages(t, got, "new")
}

func TestPickSpeaksToTheGatewayToTheByte(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		request := make([]byte, len("\x00\x03\x08\x91\x4e"))
		_, _ = io.ReadFull(conn, request)
		_, _ = io.WriteString(conn, "\x00\x08\x08\x91\x4e\x2a\x03h:1")
		rest, _ := io.ReadAll(conn)
		asked <- string(request) + string(rest)
	}()
	if address, err := client.Pick(bounded(t), l.Addr().String()); err != nil || address != "h:1" {
		t.Errorf("picked %q, %v", address, err)
	}
	if got := <-asked; got != "\x00\x03\x08\x91\x4e" {
		t.Errorf("asked with %q", got)
	}
}
