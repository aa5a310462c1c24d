package libnet_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// grpCounting is a protocol that counts what its codecs encode.
type grpCounting struct {
	libnet.Protocol
	encoded atomic.Int64
}

func (p *grpCounting) NewCodec(rw io.ReadWriter) libnet.Codec {
	inner := p.Protocol.NewCodec(rw)
	return testkit.FramingCodec{Codec: inner, OnAppend: func(dst []byte, msg any) ([]byte, error) {
		p.encoded.Add(1)
		return inner.(libnet.FrameAppender).AppendFrame(dst, msg)
	}}
}

// grpJoin makes n sessions of srv members under keys from first on, and returns their peers.
func grpJoin(t testing.TB, group *libnet.Group[int], srv *libnet.Server, first, n int, connect testkit.Connector) []net.Conn {
	peers := make([]net.Conn, n)
	for i := range peers {
		near, far := connect(t)
		peers[i] = far
		group.Put(first+i, testkit.Adopt(t, srv, near))
	}
	return peers
}

func TestABroadcastEncodesOncePerProtocolAndBound(t *testing.T) {
	counted := &grpCounting{Protocol: testkit.Frames}
	other := &grpCounting{Protocol: codec.New(codec.Lines, codec.Bytes)}
	function := &grpCounting{Protocol: testkit.Frames}
	var group libnet.Group[int]
	bounded := testkit.NewServer(t, counted, 8)
	bounded.MaxMessage = 100
	for i, srv := range []*libnet.Server{
		testkit.NewServer(t, counted, 8), testkit.NewServer(t, counted, 8), bounded, testkit.NewServer(t, other, 8),
		testkit.NewServer(t, libnet.ProtocolFunc(function.NewCodec), 8), // which cannot be compared
	} {
		grpJoin(t, &group, srv, 100*i, 10, testkit.ConnectPipe)
	}
	before := counted.encoded.Load()
	if result := group.Broadcast("hello"); result != (libnet.BroadcastResult{Sent: 50}) {
		t.Errorf("%+v", result)
	}
	if n := counted.encoded.Load() - before; n != 2 {
		t.Errorf("encoded %d times for two servers and one with a bound of its own, want 2", n)
	}
	if n := other.encoded.Load(); n != 1 {
		t.Errorf("encoded %d times for another protocol, want 1", n)
	}
	if n := function.encoded.Load(); n != 1 {
		t.Errorf("encoded %d times for the sessions of one server, want 1", n)
	}
}

func TestABroadcastReachesEachMemberInItsOwnProtocol(t *testing.T) {
	var group libnet.Group[int]
	wires := map[string]libnet.Protocol{
		"\x00\x00\x00\x05hello": testkit.Frames,
		"\x05\x00hello":         codec.New(codec.Uint16LE, codec.Bytes),
		"hello\n":               codec.New(codec.Lines, codec.Bytes),
	}
	var running sync.WaitGroup
	for wire, protocol := range wires {
		for _, peer := range grpJoin(t, &group, testkit.NewServer(t, protocol, 8), group.Len(), 3, testkit.ConnectPipe) {
			running.Go(func() {
				got := make([]byte, len(wire))
				if _, err := io.ReadFull(peer, got); err != nil || string(got) != wire {
					t.Errorf("%q, %v; want %q", got, err, wire)
				}
			})
		}
	}
	var bare atomic.Value
	session := libnet.NewSession(&testkit.FuncCodec{OnSend: func(msg any) error { bare.Store(msg); return nil }}, 4)
	defer session.Close()
	group.Put(-1, session)
	if result := group.Broadcast([]byte("hello")); result != (libnet.BroadcastResult{Sent: 10}) {
		t.Errorf("%+v", result)
	}
	running.Wait()
	testkit.Eventually(t, "the bare codec to be sent to", func() bool { return bare.Load() != nil })
}

func TestABroadcastReachesMembersWithACodecThatKnowsOnlyReadAndWrite(t *testing.T) {
	var group libnet.Group[int]
	peers := grpJoin(t, &group, testkit.NewServer(t, testkit.Plain, 8), 0, 5, testkit.ConnectPipe)
	group.Broadcast([]byte("hello"))
	for _, peer := range peers {
		got := make([]byte, 9)
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != string(testkit.Frame("hello")) {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// Frames from 8 KiB on are shared by the queues, and over TCP shorter ones that follow each other. None is torn or
// mixed with what a member is sent besides, and the caller may change the message when Broadcast has returned.
func TestFramesThatAreSharedArriveWhole(t *testing.T) {
	for name, connect := range map[string]testkit.Connector{"pipe": testkit.ConnectPipe, "TCP": testkit.ConnectTCP} {
		t.Run(name, func(t *testing.T) {
			const members, rounds = 8, 60
			srv := testkit.NewServer(t, testkit.Frames, 10*rounds)
			srv.SendQueueBytes = -1
			var group libnet.Group[int]
			var running sync.WaitGroup
			for k, peer := range grpJoin(t, &group, srv, 0, members, connect) {
				running.Go(func() { grpReadNumbered(t, peer, rounds+rounds/3, time.Duration(k)*time.Millisecond) })
			}
			random := rand.New(rand.NewPCG(5, 0))
			sizes := []int{0, 100, 100, 300, 1000, 8<<10 - 13, 8<<10 - 12, 8<<10 - 11, 9000, 70_000, 300_000}
			for i := range rounds {
				msg := testkit.Message(1, i, sizes[random.IntN(len(sizes))])
				if result := group.Broadcast(msg); result.Sent != members {
					t.Fatalf("%+v", result)
				}
				clear(msg)
				if i%3 > 0 {
					continue
				}
				for _, s := range group.All() {
					testkit.MustSend(t, s, testkit.Message(2, i/3, random.IntN(200)))
				}
			}
			running.Wait()
		})
	}
}

// Some broadcast in bursts, to all and to a few, others send to one member, and somebody asks for counters: each member
// has all that was sent to it, and what came of one in order.
func TestWhatSeveralBroadcastAtOnceArrivesWholeAndInOrder(t *testing.T) {
	const members, bursts, burst = 6, 40, 25
	srv := testkit.NewServer(t, testkit.Frames, 10_000)
	srv.SendQueueBytes = -1
	var all, few libnet.Group[int]
	var reading, sending sync.WaitGroup
	for k, peer := range grpJoin(t, &all, srv, 0, members, testkit.ConnectTCP) {
		broadcasts := 2
		if k < members/2 {
			few.Put(k, all.Get(k))
			broadcasts = 3
		}
		reading.Go(func() { grpReadNumbered(t, peer, (broadcasts*burst+1)*bursts, time.Duration(k)*time.Microsecond) })
	}
	for sender, group := range []*libnet.Group[int]{&all, &all, &few} {
		sending.Go(func() {
			for i := range bursts * burst {
				if result := group.Broadcast(testkit.Message(sender, i, i%50)); result.Sent != group.Len() {
					t.Errorf("%+v", result)
				}
				if i%burst == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	sending.Go(func() {
		for i := range bursts {
			for _, s := range all.All() {
				testkit.CheckErr(t, "Send", s.Send(testkit.Message(3, i, 30)), nil)
				_ = s.Stats()
			}
		}
	})
	sending.Wait()
	reading.Wait()
	for k, s := range all.All() {
		testkit.Eventually(t, "all to be counted", func() bool { return s.Stats().Queued == 0 })
		want := uint64(bursts * (2*burst + 1))
		if k < members/2 {
			want += bursts * burst
		}
		if c := s.Stats(); c.MessagesOut != want || c.Discarded > 0 {
			t.Errorf("member %d: %+v, want %d messages", k, c, want)
		}
	}
}

// grpReadNumbered reads n messages, at leisure, and checks that each is whole and each sender's in order.
func grpReadNumbered(t testing.TB, peer net.Conn, n int, leisure time.Duration) {
	s, err := testkit.NewServer(t, testkit.Frames, 0).NewSession(peer)
	if err != nil {
		t.Error(err)
		return
	}
	next := make(map[int]int)
	for range n {
		msg, err := s.Receive()
		if err != nil {
			t.Error(err)
			return
		}
		sender, number := testkit.ParseMessage(t, msg)
		if number != next[sender] {
			t.Errorf("sender %d: message %d, want %d", sender, number, next[sender])
			return
		}
		next[sender]++
		time.Sleep(leisure / 10)
	}
}

// A handler that has more messages in hand broadcasts to members who come, go, are in the group twice, and are sent
// something else: each gets what was sent while it was a member, in order, and nothing else.
func TestInABurstEachMemberGetsWhatWasSentWhileItWasOne(t *testing.T) {
	for seed := range uint64(10) {
		srv := testkit.NewServer(t, testkit.Frames, 10_000)
		b := grpBurst{random: rand.New(rand.NewPCG(seed, 3))}
		for i, peer := range grpJoin(t, &b.group, srv, 0, 6, testkit.ConnectTCP) {
			b.members = append(b.members, grpBurstMember{session: b.group.Get(i), peer: peer, keys: 1})
		}
		near, far := testkit.ConnectTCP(t)
		sender := testkit.Adopt(t, srv, near)
		const bursts, steps = 10, 60
		for range bursts {
			if _, err := far.Write(bytes.Repeat(testkit.Frame("step"), steps)); err != nil {
				t.Fatal(err)
			}
			for range steps {
				if _, err := sender.Receive(); err != nil {
					t.Fatal(err)
				}
				b.step(t)
			}
		}
		go sender.Receive() // which has the last burst written
		for i, m := range b.members {
			got := make([]byte, len(m.want))
			_ = m.peer.SetReadDeadline(time.Now().Add(testkit.Patience))
			if _, err := io.ReadFull(m.peer, got); err != nil || !bytes.Equal(got, m.want) {
				t.Errorf("seed %d: member %d got other messages: %v", seed, i, err)
			}
			if c := m.session.Stats(); c.MessagesOut+uint64(c.Queued) != m.sent || c.Discarded > 0 {
				t.Errorf("seed %d: member %d was sent %d messages: %+v", seed, i, m.sent, c)
			}
		}
	}
}

// grpBurst is a group, and what its members are to get.
type grpBurst struct {
	random  *rand.Rand
	group   libnet.Group[int]
	members []grpBurstMember
	steps   int
}

type grpBurstMember struct {
	session *libnet.Session
	peer    net.Conn
	keys    int // under how many it is in the group
	want    []byte
	sent    uint64
}

func (m *grpBurstMember) gets(msg string) {
	m.want = append(m.want, testkit.Frame(msg)...)
	m.sent++
}

func (b *grpBurst) step(t *testing.T) {
	t.Helper()
	b.steps++
	msg := fmt.Sprint("message ", b.steps)
	i := b.random.IntN(len(b.members))
	one := &b.members[i]
	switch n := b.random.IntN(50); {
	case n < 35:
		b.broadcast(t, msg, nil)
	case n < 43:
		b.broadcast(t, msg, one.session)
	case n < 45:
		_ = one.session.Send(msg)
		one.gets(msg)
	case n < 46:
		_ = one.session.Stats()
	case n < 48 && one.keys > 0:
		one.keys--
		b.group.Remove(i+100*one.keys, one.session)
	case one.keys < 2:
		b.group.Put(i+100*one.keys, one.session)
		one.keys++
	}
}

func (b *grpBurst) broadcast(t *testing.T, msg string, except *libnet.Session) {
	sent := 0
	for i := range b.members {
		if m := &b.members[i]; m.session != except {
			for range m.keys {
				m.gets(msg)
				sent++
			}
		}
	}
	if result := b.group.BroadcastExcept(msg, except); result != (libnet.BroadcastResult{Sent: sent}) {
		t.Fatalf("%+v, want %d", result, sent)
	}
}

// One member reads, one never does; their queues hold two messages.
func TestTheResultOfABroadcastCountsWhatEachPolicyDid(t *testing.T) {
	for name, test := range map[string]struct {
		policy   libnet.FullPolicy
		last     libnet.BroadcastResult // of the one that finds the second queue full
		dropped  uint64
		isClosed bool
	}{
		"RejectNewest": {libnet.RejectNewest, libnet.BroadcastResult{Sent: 1, Blocked: 1}, 0, false},
		"DropOldest":   {libnet.DropOldest, libnet.BroadcastResult{Sent: 2}, 1, false},
		"CloseSession": {libnet.CloseSession, libnet.BroadcastResult{Sent: 1, Closed: 1}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := testkit.NewServer(t, testkit.Frames, 3)
				srv.OnFull, srv.WriteTimeout = test.policy, -1
				near, far := libnettest.PipeSize(10)
				deaf := testkit.Adopt(t, srv, near)
				defer far.Close()
				near, far = libnettest.Pipe()
				hearing := testkit.Adopt(t, srv, near)
				go testkit.Drain(far)
				defer far.Close()

				begin := time.Now()
				for i := range 3 { // one is being written, two wait
					if result := srv.Manager().Broadcast(fmt.Sprint("message ", i)); result.Sent != 2 {
						t.Fatalf("broadcast %d: %+v", i, result)
					}
					synctest.Wait()
				}
				if result := srv.Manager().Broadcast("one too many"); result != test.last {
					t.Errorf("%+v, want %+v", result, test.last)
				}
				if took := time.Since(begin); took != 0 {
					t.Errorf("the broadcasts waited %v", took)
				}
				synctest.Wait()
				if deaf.IsClosed() != test.isClosed || hearing.IsClosed() {
					t.Errorf("closed: %v, %v", deaf.IsClosed(), hearing.IsClosed())
				}
				if stats := deaf.Stats(); !test.isClosed && stats.Discarded != test.dropped {
					t.Errorf("%+v", stats)
				}
				if blocked := srv.Stats().Blocked; blocked != uint64(test.last.Blocked) {
					t.Errorf("counted %d as blocked", blocked)
				}
				if test.isClosed {
					testkit.WantErr(t, "Err", deaf.Err(), libnet.ErrSlowConsumer)
				}
				if sent := hearing.Stats().MessagesOut; sent != 4 {
					t.Errorf("the member that reads was sent %d messages", sent)
				}
			})
		})
	}
}

func TestASynchronousMemberTakesOneBroadcastMessageAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 0)
		srv.WriteTimeout = -1
		near, far := libnettest.PipeSize(10)
		testkit.Adopt(t, srv, near)
		defer far.Close()
		for i, want := range []libnet.BroadcastResult{{Sent: 1}, {Blocked: 1}} {
			if result := srv.Manager().Broadcast("more than the pipe holds"); result != want {
				t.Errorf("broadcast %d: %+v, want %+v", i, result, want)
			}
			synctest.Wait()
		}
		go testkit.Drain(far)
		synctest.Wait()
		if result := srv.Manager().Broadcast("again"); result.Sent != 1 {
			t.Errorf("%+v", result)
		}
	})
}

func TestASessionHasLeftItsGroupsAndManagerWhenItsCloseCallbacksRun(t *testing.T) {
	srv := testkit.NewServer(t, testkit.Frames, 8)
	near, _ := testkit.ConnectPipe(t)
	s := testkit.Adopt(t, srv, near)
	var group libnet.Group[string]
	group.Put("leaving", s)
	ran := false
	s.OnClose(func() {
		ran = true
		if result := group.Broadcast("bye"); result != (libnet.BroadcastResult{}) {
			t.Errorf("group: %+v", result)
		}
		if result := srv.Manager().Broadcast("bye"); result != (libnet.BroadcastResult{}) {
			t.Errorf("manager: %+v", result)
		}
	})
	_ = s.Close()
	if !ran {
		t.Error("the callback did not run")
	}
}

func TestMembersThatAreBeingClosedAreCountedAsClosed(t *testing.T) {
	blocked, release := make(chan struct{}), make(chan struct{})
	srv := testkit.NewServer(t, libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return &grpSlowClose{testkit.Frames.NewCodec(rw), blocked, release}
	}), 8)
	near, _ := testkit.ConnectPipe(t)
	slow := testkit.Adopt(t, srv, near)
	slow.Codec()
	var group libnet.Group[string]
	group.Put("slow", slow)
	closed := make(chan error)
	go func() { closed <- slow.Close() }()
	testkit.Await(t, testkit.Patience, "the codec's Close", blocked) // it is still a member
	if result := group.Broadcast("too late"); result != (libnet.BroadcastResult{Closed: 1}) {
		t.Errorf("%+v", result)
	}
	close(release)
	testkit.Await(t, testkit.Patience, "the session's Close", closed)
}

type grpSlowClose struct {
	libnet.Codec
	blocked, release chan struct{}
}

func (c *grpSlowClose) Close() error {
	close(c.blocked)
	<-c.release
	return c.Codec.Close()
}

func TestAMessageThatAMemberCannotEncodeIsInNoCountAndLogged(t *testing.T) {
	var log testkit.Log
	srv := testkit.NewServer(t, codec.New(codec.Uint16BE, codec.Bytes), 8)
	srv.Logger = slog.New(&log)
	var group libnet.Group[int]
	grpJoin(t, &group, srv, 0, 2, testkit.ConnectPipe)
	grpJoin(t, &group, testkit.NewServer(t, codec.New(codec.Uint16BE, codec.JSON), 8), 10, 3, testkit.ConnectPipe)
	if result := group.Broadcast(struct{ A int }{1}); result != (libnet.BroadcastResult{Sent: 3}) {
		t.Errorf("%+v", result)
	}
	if result := group.Broadcast(strings.Repeat("x", 70_000)); result != (libnet.BroadcastResult{}) {
		t.Errorf("%+v", result)
	}
	testkit.Eventually(t, "four lines are logged, however late this process is given a processor", func() bool {
		return len(log.With("")) == 4
	})
	for _, s := range group.All() {
		if s.IsClosed() {
			t.Error("a member was closed")
		}
	}
}

func TestACodecThatPanicsInABroadcastEndsNoOtherMember(t *testing.T) {
	broken := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return testkit.FramingCodec{Codec: testkit.Frames.NewCodec(rw), OnAppend: func([]byte, any) ([]byte, error) { panic("as asked") }}
	})
	var group libnet.Group[int]
	grpJoin(t, &group, testkit.NewServer(t, broken, 8), 0, 1, testkit.ConnectPipe)
	peers := grpJoin(t, &group, testkit.NewServer(t, testkit.Frames, 8), 1, 3, testkit.ConnectPipe)
	victim := group.Get(0)
	if result := group.Broadcast("hello"); result.Sent != 3 {
		t.Errorf("%+v", result)
	}
	if !errors.Is(victim.Err(), libnet.ErrPanic) || group.Len() != 3 {
		t.Errorf("ended with %v, %d members", victim.Err(), group.Len())
	}
	for _, peer := range peers {
		got := make([]byte, 9)
		if _, err := io.ReadFull(peer, got); err != nil {
			t.Error(err)
		}
	}
}

// A member whose messages wait for its receiver broadcasts to all others what its own codec cannot encode.
func TestInABurstTheMemberThatIsLeftOutEncodesNothing(t *testing.T) {
	picky := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return testkit.FramingCodec{Codec: testkit.Frames.NewCodec(rw), OnAppend: func(dst []byte, msg any) ([]byte, error) {
			return append(dst, msg.([]byte)...), nil
		}}
	})
	var group, alone libnet.Group[int]
	far := grpJoin(t, &group, testkit.NewServer(t, picky, 64), 0, 1, testkit.ConnectTCP)[0]
	grpJoin(t, &group, testkit.NewServer(t, testkit.Frames, 64), 1, 1, testkit.ConnectTCP)
	sender := group.Get(0)
	alone.Put(0, sender)
	if _, err := far.Write(bytes.Repeat(testkit.Frame("step"), 3)); err != nil {
		t.Fatal(err)
	}
	_, err := sender.Receive()
	testkit.CheckErr(t, "Receive", err, nil)
	for range 3 {
		alone.Broadcast([]byte("hello"))
	}
	result := group.BroadcastExcept("hello", sender)
	if result != (libnet.BroadcastResult{Sent: 1}) || sender.Err() != nil {
		t.Errorf("%+v, and the sender has ended with %v", result, sender.Err())
	}
}

// A codec may make each frame in memory of its own. To members with different protocols a message is encoded more than
// once, and one who does not read has the frames in its queue while the next ones are made.
func TestFramesThatCodecsMakeInMemoryOfTheirOwnAreNotChangedInAQueue(t *testing.T) {
	const rounds, full = 20, 16 << 20 // more than the kernel takes
	var group libnet.Group[int]
	var peers []net.Conn
	for i := range 3 {
		p := &grpReusing{Protocol: testkit.Frames}
		srv := testkit.NewServer(t, p, 10*rounds)
		srv.MaxMessage, srv.SendQueueBytes = full, -1
		peers = append(peers, grpJoin(t, &group, srv, i, 1, testkit.ConnectTCP)...)
	}
	for _, s := range group.All() {
		testkit.MustSend(t, s, make([]byte, full))
	}
	for _, peer := range peers { // once something is being written, other frames go into a batch of their own
		if _, err := io.ReadFull(peer, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range rounds {
		group.Broadcast(fmt.Sprintf("message %2d", i))
	}
	for _, peer := range peers {
		if _, err := io.CopyN(io.Discard, peer, full+3); err != nil {
			t.Fatal(err)
		}
		for i := range rounds {
			testkit.WantFrame(t, peer, fmt.Sprintf("message %2d", i))
		}
	}
}

// grpReusing is a protocol whose codecs make the frames of texts in the same memory.
type grpReusing struct {
	libnet.Protocol
	memory []byte
}

func (p *grpReusing) NewCodec(rw io.ReadWriter) libnet.Codec {
	inner := p.Protocol.NewCodec(rw)
	return testkit.FramingCodec{Codec: inner, OnAppend: func(dst []byte, msg any) (frame []byte, err error) {
		if _, text := msg.(string); !text {
			return inner.(libnet.FrameAppender).AppendFrame(dst, msg)
		}
		p.memory, err = inner.(libnet.FrameAppender).AppendFrame(p.memory[:0], msg)
		return p.memory, err
	}}
}
