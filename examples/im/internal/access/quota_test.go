package access_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/quota"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

func withQuotas(l quota.Limits) func(*access.Options) {
	return func(o *access.Options) {
		o.Quotas = quota.New(o.History.(interface{ Senders() quota.Records }).Senders(), l)
	}
}

func TestWhoFloodsAUserIsRefusedAndTakesNobodysPlace(t *testing.T) {
	r := newRig(t)
	limits := quota.Limits{PerSecond: -1, Share: 20, Bytes: 30_000}
	one, two := r.start(withQuotas(limits)), r.start(withQuotas(limits))
	friend, victim := dialTCP(t, one).login(r, 1), int64(2)
	say := func(p *peer, to int64, id string) *wire.ResSendP2PMsg {
		return p.ask(&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: to, MsgID: id, Msg: "hello"}).(*wire.ResSendP2PMsg)
	}
	if res := say(friend, victim, "first"); res.ErrCode != 0 {
		t.Fatal(res)
	}
	taken := 0
	for login := range 4 { // coming again, and elsewhere, is of no use
		flooder := dialTCP(t, []*server{one, two}[login%2]).login(r, 3)
		for i := range 15 {
			switch res := say(flooder, victim, fmt.Sprint(login, i)); res.ErrCode {
			case wire.CodeOK:
				taken++
			case wire.CodeFull:
				if !strings.Contains(res.ErrStr, "of your messages") {
					t.Fatalf("refused with %q", res.ErrStr)
				}
			default:
				t.Fatal(res)
			}
		}
		flooder.Close()
		imtest.Eventually(t, "what was stored is recorded", func() bool { // by the first two logins
			_, revision, err := one.history.Senders().Load(t.Context(), 3)
			return err == nil && revision >= uint64(min(login+1, 2))
		})
	}
	if taken != 20 {
		t.Errorf("one sender has stored %d messages, of 20", taken)
	}
	if res := say(friend, victim, "last"); res.ErrCode != 0 {
		t.Fatal(res)
	}
	p := dialTCP(t, two).login(r, victim)
	var ids []string
	for _, m := range p.ask(&wire.ReqSyncMsg{Cmd: wire.CmdSync}).(*wire.ResSyncMsg).Msgs {
		if m.SourceUID == 1 {
			ids = append(ids, m.MsgID)
		}
	}
	if !slices.Equal(ids, []string{"first", "last"}) {
		t.Errorf("of the friend the victim has %v", ids)
	}

	// Nor can he fill the store through many receivers.
	flooder := dialTCP(t, one).login(r, 4)
	for i := 0; ; i++ {
		res := say(flooder, int64(100+i), "x")
		if res.ErrCode == wire.CodeFull && strings.Contains(res.ErrStr, "in the store") {
			break
		}
		if res.ErrCode != 0 || i > 100 {
			t.Fatalf("message %d: %v", i, res)
		}
	}
}

func TestWhoFloodsAGroupIsRefused(t *testing.T) {
	r := newRig(t)
	p := dialTCP(t, r.start(withQuotas(quota.Limits{PerSecond: -1, Share: 5}))).login(r, 1)
	var codes []uint32
	for i := range 7 {
		res := p.ask(&wire.ReqSendGroupMsg{Cmd: wire.CmdSendGroup, GroupID: 9, MsgID: fmt.Sprint(i), Msg: "hello"})
		codes = append(codes, res.(*wire.ResSendGroupMsg).ErrCode)
	}
	if !slices.Equal(codes, []uint32{0, 0, 0, 0, 0, wire.CodeFull, wire.CodeFull}) {
		t.Errorf("answers %v", codes)
	}
}

func TestWhoJoinsAndLeavesAllTheTimeHasToWait(t *testing.T) {
	r := newRig(t)
	s := r.start(withQuotas(quota.Limits{PerSecond: 1, Burst: 10}))
	let := 0
	for range 2 { // coming again is of no use
		p := dialTCP(t, s).login(r, 1)
		for range 10 {
			joined := p.ask(&wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, GroupID: 9}).(*wire.ResJoinGroup).ErrCode
			left := p.ask(&wire.ReqLeaveGroup{Cmd: wire.CmdLeaveGroup, GroupID: 9}).(*wire.ResLeaveGroup).ErrCode
			for _, code := range []uint32{joined, left} {
				switch code {
				case wire.CodeOK:
					let++
				case wire.CodeTooFast:
				default:
					t.Fatalf("code %d", code)
				}
			}
		}
	}
	if let >= 40 {
		t.Errorf("%d joins and leaves were let through", let)
	}
}

func TestWhoIsTooFastWaitsAndNothingIsLost(t *testing.T) {
	r := newRig(t)
	r.start(withQuotas(quota.Limits{PerSecond: 50, Burst: 10}))
	_, box := r.client(2, nil)
	sender, _ := r.client(1, nil)
	var want []string
	for i := range 30 {
		want = append(want, fmt.Sprint(i))
		if err := sender.Send(imtest.Bounded(t), 2, want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if got := box.await(t, 30); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestAClientIsToldThatThereIsNoRoom(t *testing.T) {
	r := newRig(t)
	r.start(withQuotas(quota.Limits{Share: 1}))
	sender, _ := r.client(1, nil)
	if err := sender.Send(imtest.Bounded(t), 2, "first"); err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(imtest.Bounded(t), 2, "second"); !errors.Is(err, client.ErrFull) {
		t.Errorf("sent with no room: %v", err)
	}
}

// Without etcd nobody numbers messages: their versions do.
func TestMessagesGoOnWithoutNumbers(t *testing.T) {
	r := newRig(t)
	r.start(func(o *access.Options) {
		o.NextID = func() (int64, error) { return 0, errors.New("no etcd") }
	})
	_, box := r.client(2, nil)
	sender, _ := r.client(1, nil)
	for i := range 3 {
		if err := sender.Send(imtest.Bounded(t), 2, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := box.await(t, 3); !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("got %v", got)
	}
	p := dialTCP(t, r.servers[0]).login(r, 3)
	p.ask(&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 3, Msg: "without a client's id"})
	res := p.ask(&wire.ReqHistory{Cmd: wire.CmdHistory}).(*wire.ResHistory)
	if len(res.Records) != 1 || res.Records[0].ID != res.Records[0].Version || res.Records[0].ID == 0 {
		t.Errorf("records %v", res.Records)
	}
}

// The answer to the message that took the last of the room may be lost with the connection.
func TestARepetitionOfWhatFilledTheShareIsAcknowledgedOnAnyServerAndCountedOnce(t *testing.T) {
	for name, limits := range map[string]quota.Limits{"share": {PerSecond: -1, Share: 3}, "store": {PerSecond: -1, Bytes: 1500}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			one, two := r.start(withQuotas(limits)), r.start(withQuotas(limits))
			say := func(p *peer, id string) uint32 {
				return p.ask(&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 2, MsgID: id, Msg: "hello"}).(*wire.ResSendP2PMsg).ErrCode
			}
			p := dialTCP(t, one).login(r, 1)
			for _, id := range []string{"a", "a", "a", "b", "c", "c", "a"} {
				if code := say(p, id); code != 0 {
					t.Fatalf("%s is answered with %d", id, code)
				}
			}
			if code := say(p, "d"); code != wire.CodeFull {
				t.Fatalf("what has no room is answered with %d", code)
			}
			p.Close()
			imtest.Eventually(t, "what was stored is recorded", func() bool {
				_, revision, err := one.history.Senders().Load(t.Context(), 1)
				return err == nil && revision > 0
			})
			p = dialTCP(t, two).login(r, 1)
			for id, want := range map[string]uint32{"a": 0, "b": 0, "c": 0, "d": wire.CodeFull} {
				if code := say(p, id); code != want {
					t.Errorf("%s is answered with %d, want %d", id, code, want)
				}
			}
			if stored := dialTCP(t, two).login(r, 2).ask(&wire.ReqSyncMsg{Cmd: wire.CmdSync}).(*wire.ResSyncMsg).Msgs; len(stored) != 3 {
				t.Errorf("stored %v", stored)
			}
		})
	}
}

// slowRecords save nothing until saved is closed.
type slowRecords struct {
	quota.Records
	saves, saved chan struct{}
}

func (r slowRecords) Save(ctx context.Context, user int64, record []byte, revision uint64) (uint64, error) {
	r.saves <- struct{}{}
	<-r.saved
	return r.Records.Save(ctx, user, record, revision)
}

func TestAMessageIsAcknowledgedBeforeWhatItsSenderHasTakenIsRecorded(t *testing.T) {
	records := slowRecords{saves: make(chan struct{}, 100), saved: make(chan struct{})}
	var stored, answered atomic.Int64
	r := newRig(t)
	p := dialTCP(t, r.start(func(o *access.Options) {
		whole := o.History
		records.Records = whole.(interface{ Senders() quota.Records }).Senders()
		o.Quotas = quota.New(&records, quota.Limits{PerSecond: -1})
		o.History = brokenHistory{History: whole, store: func(ctx context.Context, m history.Message) (int64, error) {
			defer stored.Add(1)
			return whole.Store(ctx, m)
		}}
	})).login(r, 1)
	over, done := make(chan struct{}), make(chan struct{})
	defer func() {
		close(over)
		close(records.saved)
		<-done
	}()
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			select {
			case <-over:
				return
			default:
				p.ask(&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 2, MsgID: fmt.Sprint(n), Msg: "hello"})
				answered.Add(1)
			}
		}
	}()
	<-records.saves
	imtest.Eventually(t, "all that is stored is acknowledged", func() bool { return answered.Load() == stored.Load() })
}
