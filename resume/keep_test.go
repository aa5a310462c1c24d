package resume_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/resume"
)

// Frames by hand.
var (
	newHello = []byte{0x12, 1, 0, 0, 0, 10, 100}
	oneAck   = []byte{0x10, 0}
)

var attempts atomic.Uint64

// helloWith is one that was sent later than those made before.
func helloWith(token []byte, received, taken byte) []byte {
	numbered := binary.AppendUvarint(append([]byte{0x12, 1, 16}, token...), attempts.Add(1))
	return append(numbered, received, taken, 10, 100)
}

// tokenOf returns that of a welcome.
func tokenOf(t testing.TB, frame []byte) []byte {
	t.Helper()
	if len(frame) < 17 || frame[0] != 0x13 {
		t.Fatalf("%x is no welcome", frame)
	}
	return frame[1:17]
}

func wantRefused(t testing.TB, conn *libnet.Session, frame []byte, why byte) {
	t.Helper()
	if len(frame) != 2 || frame[0] != 0x14 || frame[1] != why {
		t.Errorf("answered %x; want a refusal for %d", frame, why)
	}
	if _, err := conn.Receive(); err != io.EOF {
		t.Errorf("after the refusal: %v", err)
	}
}

func sendRaw(t testing.TB, s *libnet.Session, frame []byte) {
	t.Helper()
	if err := s.Send(frame); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func TestATokenIsValidOnceAndReplacedAtEachResume(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		one, answer := r.byHand(newHello)
		first := tokenOf(t, answer)
		sendRaw(t, one, oneAck)
		_, answer = r.byHand(helloWith(first, 0, 0))
		second := tokenOf(t, answer)
		if string(first) == string(second) {
			t.Fatal("the token is the same")
		}
		// The welcome may have got lost: both are valid until it is answered.
		two, answer := r.byHand(helloWith(first, 0, 0))
		third := tokenOf(t, answer)
		sendRaw(t, two, oneAck)
		for name, old := range map[string][]byte{"first": first, "second": second, "none of the server's": make([]byte, 16)} {
			t.Log(name)
			conn, answer := r.byHand(helloWith(old, 0, 0))
			wantRefused(t, conn, answer, 1)
		}
		if two.IsClosed() {
			t.Error("a refused token ended the session's connection")
		}
		_, answer = r.byHand(helloWith(third, 0, 0))
		tokenOf(t, answer)
		if stats := r.server.Stats(); stats.Open != 1 || stats.Resumed != 3 || stats.Refused != 3 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestAResumeTakesOverFromAConnectionThatSeemsAlive(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		one, answer := r.byHand(newHello)
		s := <-r.sessions
		sendRaw(t, one, oneAck)
		old := s.Conn()
		two, answer := r.byHand(helloWith(tokenOf(t, answer), 0, 0))
		tokenOf(t, answer)
		sendRaw(t, two, oneAck)
		if _, err := one.Receive(); err == nil || old.Err() != resume.ErrTakenOver {
			t.Errorf("%v, %v", err, old.Err())
		}
		send(t, s, "to the new one")
		if msg, err := two.Receive(); err != nil || string(msg[1:]) != "to the new one" {
			t.Errorf("%q, %v", msg, err)
		}
		if s.State() != resume.Connected || s.Stats().Resumes != 1 {
			t.Error(s.State(), s.Stats())
		}
	})
}

func TestAPeerThatBreaksTheProtocolEndsItsSession(t *testing.T) {
	for name, frame := range map[string][]byte{
		"an empty frame":                         {},
		"an unknown kind":                        {0x77},
		"unknown flags":                          {0x04, 'x'},
		"an acknowledgement of what nobody sent": {0x10, 3},
		"one that travels":                       {0x01, 3, 'x'},
		"a count that does not end":              {0x10, 0x80},
		"a count that is longer than it must be": {0x10, 0x80, 0},
		"something behind a count":               {0x10, 0, 0},
		"a second hello":                         newHello,
		"a welcome":                              append(make([]byte, 0), 0x13, 0),
		"an end with a wrong count":              {0x11, 9},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, nil)
				conn, _ := r.byHand(newHello)
				s := <-r.sessions
				send(t, s, "1", "2")
				synctest.Wait()
				sendRaw(t, conn, frame)
				wantEnd(t, s, resume.ErrProtocol, 2)
			})
		})
	}
	for name, counts := range map[string][]byte{
		"more received than was sent":      {3, 0},
		"less than was acknowledged":       {0, 0},
		"more taken than received":         {1, 2},
		"less taken than was acknowledged": {2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, nil)
				conn, answer := r.byHand(newHello)
				s := <-r.sessions
				send(t, s, "1", "2")
				synctest.Wait()
				sendRaw(t, conn, []byte{0x10, 1})
				_ = conn.Close()
				synctest.Wait()
				_, refused := r.byHand(helloWith(tokenOf(t, answer), counts[0], counts[1]))
				if refused[0] != 0x14 {
					t.Errorf("answered %x", refused)
				}
				if name != "more taken than received" { // that is no hello: the session goes on
					wantEnd(t, s, resume.ErrProtocol, 1)
				}
			})
		})
	}
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.MaxMessages = 2 })
		conn, _ := r.byHand(newHello)
		s := <-r.sessions
		for range 3 {
			_ = conn.Send([]byte{0, 'x'})
		}
		wantEnd(t, s, resume.ErrProtocol, 0)
	})
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		for _, frame := range [][]byte{{}, {0, 'x'}, {0x12}, {0x12, 1, 16, 1}, {0x12, 1, 0, 0, 0, 0, 0}, {0x12, 1, 0, 1, 0, 9, 9}} {
			conn, answer := r.byHand(frame)
			wantRefused(t, conn, answer, 4)
		}
		conn, answer := r.byHand([]byte{0x12, 2, 0, 0})
		wantRefused(t, conn, answer, 3)
		r.server.Close()
		conn, answer = r.byHand(newHello)
		wantRefused(t, conn, answer, 2)
		if stats := r.server.Stats(); stats.Open != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// visitor is a client of an address, which goes, having used its session or not.
func (r *rig) visitor(addr string, used bool) *resume.Session {
	near := new(resume.Client).Start(&reconnect.Client{
		Dial: func(ctx context.Context) (*libnet.Session, error) {
			if r.down.Load() {
				return nil, errDown
			}
			conn, err := r.pipes.DialFrom(&net.TCPAddr{IP: net.ParseIP(addr), Port: 1000})
			if err != nil {
				return nil, err
			}
			return dialer().NewSession(conn)
		},
		Logger: testkit.Quiet,
	})
	r.t.Cleanup(func() { _ = near.Close() })
	far := <-r.sessions
	if used {
		send(r.t, near, "used")
		receive(r.t, far, "used")
	}
	synctest.Wait()
	r.cut(near)
	r.up()
	return far
}

func open(sessions []*resume.Session) (n int) {
	for _, s := range sessions {
		if s.State() != resume.Closed {
			n++
		}
	}
	return n
}

func TestTheOldestOfTooManySessionsWithoutAConnectionEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.MaxKept, s.MaxKeptPerIP = 6, 3 })
		r.down.Store(true)
		leave := func(addr string, used bool) *resume.Session {
			r.up()
			far := r.visitor(addr, used)
			r.down.Store(true)
			return far
		}
		friend := leave("10.0.0.1", true)
		// One address pushes out its own.
		var strangers []*resume.Session
		for range 10 {
			strangers = append(strangers, leave("10.0.0.2", false))
		}
		if n := open(strangers[:7]); n > 0 || open(strangers[7:]) != 3 {
			t.Errorf("%d of the older, %d of the newer", n, open(strangers[7:]))
		}
		wantEnd(t, strangers[0], resume.ErrEvicted, 0)
		// Many addresses, and networks of IPv6, push out those that never exchanged a message, and the friend stays.
		for i := range 10 {
			strangers = append(strangers, leave(fmt.Sprintf("2001:db8:0:%x::1", i), false))
		}
		if friend.State() != resume.Detached || open(strangers) != 5 {
			t.Error(friend.State(), open(strangers))
		}
		for i := range 9 {
			strangers = append(strangers, leave(fmt.Sprintf("2001:db8:1::%x", i), true)) // of one network
		}
		if open(strangers[20:]) != 3 {
			t.Errorf("%d of one network", open(strangers[20:]))
		}
		// Among those that did, the oldest goes.
		for i := range 6 {
			leave(fmt.Sprintf("10.1.0.%d", i), true)
		}
		wantEnd(t, friend, resume.ErrEvicted, 0)
		stats := r.server.Stats()
		if stats.Kept != 6 || stats.Open != 6 || stats.Evicted != 1+10+10+9+6-6 {
			t.Errorf("%+v", stats)
		}
		time.Sleep(3 * time.Minute)
		if stats := r.server.Stats(); stats.Open != 0 || stats.Kept != 0 || stats.Expired != 6 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestTheOldestSessionsEndWhereThoseWithoutAConnectionHoldTooMuch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.MaxKeptBytes = 1200 })
		one, two := r.visitor("10.0.0.1", true), r.visitor("10.0.0.2", true)
		r.down.Store(true)
		send(t, two, string(make([]byte, 500)))
		send(t, one, string(make([]byte, 500)))
		if stats := r.server.Stats(); stats.KeptBytes != 1200 || stats.Kept != 2 {
			t.Errorf("%+v", stats)
		}
		send(t, two, "x")
		wantEnd(t, one, resume.ErrEvicted, 1)
		if stats := r.server.Stats(); stats.KeptBytes != 500+1+2*100 || stats.Kept != 1 || stats.Evicted != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

// A broadcast's bytes are shared, and count in each session that holds them.
func TestWithoutABoundOfBytesSessionsMayHoldMoreThanAnInt32(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const sessions, messages, size = 300, 8, 1<<20 - 100
		r := newRig(t, func(s *resume.Server) { s.MaxBytes, s.MaxKeptBytes = messages*size, -1 })
		var group resume.Group[uint64]
		hello := binary.AppendUvarint(append([]byte{0x12, 1, 0, 0, 0}, messages), messages*size)
		for range sessions {
			conn, _ := r.byHand(hello)
			_ = conn.Close()
		}
		synctest.Wait()
		for s := range r.server.Sessions() {
			group.Put(s.ID(), s)
		}
		for range messages {
			if sent := group.Broadcast(make([]byte, size), nil); sent.Sent != sessions {
				t.Fatalf("%+v", sent)
			}
		}
		if stats := r.server.Stats(); stats.Kept != sessions || int64(stats.KeptBytes) != sessions*messages*(size+100) || stats.Evicted != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestSessionsExpireEachAfterItsWindow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.Window = time.Minute })
		one := r.visitor("10.0.0.1", true)
		r.down.Store(true)
		time.Sleep(30 * time.Second)
		r.up()
		two := r.visitor("10.0.0.1", true)
		r.down.Store(true)
		time.Sleep(30*time.Second - 1)
		synctest.Wait()
		if one.State() != resume.Detached {
			t.Error("too early")
		}
		time.Sleep(time.Nanosecond)
		wantEnd(t, one, resume.ErrWindow, 0)
		time.Sleep(30*time.Second - 1)
		synctest.Wait()
		if two.State() != resume.Detached {
			t.Error("too early")
		}
		time.Sleep(time.Nanosecond)
		wantEnd(t, two, resume.ErrWindow, 0)
	})
}

func TestWithoutAWindowASessionEndsWithItsConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.Window = -1 })
		client := new(resume.Client)
		client.Window = -1
		near, far := r.start(client)
		send(t, far, "1")
		synctest.Wait()
		r.cut(near)
		wantEnd(t, near, libnet.ErrSessionClosed, 0)
		wantEnd(t, far, nil, 1)
	})
}
