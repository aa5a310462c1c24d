package resume_test

import (
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/resume"
)

// counting counts how often a message is encoded.
type counting struct{ n atomic.Int64 }

func (c *counting) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	c.n.Add(1)
	return fmt.Append(dst, msg), nil
}

func TestABroadcastIsEncodedOnceAndReachesMembersWithoutAConnectionLater(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		marshaler := new(counting)
		r := newRig(t, func(s *resume.Server) { s.Marshaler, s.MaxMessages = marshaler, 4 })
		var g resume.Group[int]
		var near []*resume.Session
		for i := range 4 {
			a, b := r.start(new(resume.Client))
			near = append(near, a)
			g.Put(i, b)
		}
		r.cut(near[1])
		_ = near[3].Close()
		synctest.Wait()
		if g.Len() != 3 || g.Get(3) != nil {
			t.Errorf("%d members", g.Len())
		}
		if got := g.Broadcast("all", nil); got != (libnet.BroadcastResult{Sent: 3}) || marshaler.n.Load() != 1 {
			t.Errorf("%+v, encoded %d times", got, marshaler.n.Load())
		}
		if got := g.Broadcast("others", g.Get(0)); got != (libnet.BroadcastResult{Sent: 2}) {
			t.Errorf("%+v", got)
		}
		receive(t, near[0], "all")
		receive(t, near[2], "all", "others")
		r.up()
		receive(t, near[1], "all", "others")
		synctest.Wait()
		r.cut(near[1])
		for range 4 {
			g.Broadcast("full", g.Get(0))
			receive(t, near[2], "full")
			synctest.Wait()
		}
		if got := g.Broadcast("too many", nil); got.Blocked != 1 || got.Sent != 2 {
			t.Errorf("%+v", got)
		}
		first, second := g.Get(0), g.Get(2)
		if old := g.Put(0, second); old != first || g.Get(0) != second || g.Remove(0, first) || !g.Remove(0, second) {
			t.Error("Put and Remove")
		}
		r.up()
	})
}

func TestASessionThatLeavesAGroupKeepsNothingOfIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		_, s := r.start(new(resume.Client))
		var g resume.Group[float64]
		g.Put(math.NaN(), s)
		before, _ := testkit.InUse()
		for i := range 100_000 {
			key := float64(i % 2)
			g.Put(key, s)
			if i%4 > 1 {
				g.Remove(key, s)
			}
		}
		if after, _ := testkit.InUse(); after > before+1<<20 {
			t.Errorf("%d bytes more", after-before)
		}
		g.Put(1, s)
		for range g.All() {
			break
		}
		closed := make(chan int, 1)
		s.OnClose(func() { closed <- g.Len() })
		_ = s.Close()
		if n := <-closed; n != 0 {
			t.Errorf("%d members as the session's close callbacks ran", n)
		}
		if g.Put(1, s); g.Len() != 0 {
			t.Error("a session that has ended was added")
		}
	})
}

func TestAKeyThatNoMapTakesPanicsAndLeavesNothingBehind(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		_, s := r.start(new(resume.Client))
		var g resume.Group[any]
		func() {
			defer func() { _ = recover() }()
			g.Put([]int{1}, s)
			t.Error("no panic")
		}()
		if g.Put("key", s); g.Len() != 1 {
			t.Error("not added")
		}
	})
}

func ExampleGroup() {
	var room resume.Group[string]
	h := &resume.Server{MessageHandler: func(s *resume.Session, name []byte) {
		room.Put(string(name), s)
		s.Send("welcome")
	}}
	server := serveExample(h)
	defer server.Stop()
	defer h.Close()

	ann := new(resume.Client).Start(overExample(server))
	defer ann.Close()
	ann.Send("ann")
	welcome, _ := ann.Receive()
	fmt.Println(string(welcome))
	ann.Conn().Close()
	fmt.Printf("%+v\n", room.Broadcast("hello", nil))
	msg, err := ann.Receive() // with the next connection
	fmt.Println(string(msg), err)
	// Output:
	// welcome
	// {Sent:1 Blocked:0 Closed:0}
	// hello <nil>
}

func TestWhoeverWaitedForDoneFindsTheSessionInNoGroup(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		_, s := r.start(new(resume.Client))
		groups := make([]resume.Group[int], 10_000)
		for i := range groups {
			groups[i].Put(i, s)
		}
		done := s.Done()
		go s.Close()
		<-done
		for i := len(groups) - 1; i >= 0; i-- { // they are left from the first on
			if n := groups[i].Len(); n != 0 {
				t.Fatalf("group %d of %d: %d members", i, len(groups), n)
			}
		}
	})
}
