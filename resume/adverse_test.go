package resume_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/resume"
)

// A heldConn's writes return when hold, as it was when they began, is closed; their bytes are on their way before.
type heldConn struct {
	net.Conn
	hold func() chan struct{}
}

func (c heldConn) Write(p []byte) (int, error) {
	hold := c.hold()
	n, err := c.Conn.Write(p)
	if hold != nil {
		<-hold
	}
	return n, err
}

// A message can be acknowledged before the Send that wrote it has returned: it makes room when that does.
func TestWhoWaitsForRoomIsToldOfAnAcknowledgementThatCameDuringTheWrite(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.MaxMessages, s.AckDelay = 1, -1 })
		var hold chan struct{}
		over := r.over()
		over.Dial = func(context.Context) (*libnet.Session, error) {
			conn, err := r.pipes.Dial()
			if err != nil {
				return nil, err
			}
			d := &libnet.Dialer{Protocol: protocol} // synchronous: who sends writes
			return d.NewSession(heldConn{conn, func() chan struct{} { return hold }})
		}
		near := new(resume.Client).Start(over)
		defer near.Close()
		far := <-r.sessions
		synctest.Wait()
		hold = make(chan struct{})
		sent := make(chan error, 2)
		go func() { sent <- near.Send("1") }()
		synctest.Wait()
		go func() { sent <- near.SendContext(t.Context(), "2") }()
		synctest.Wait()
		receive(t, far, "1")
		synctest.Wait()
		if near.Stats().Acknowledged != 1 || len(sent) > 0 {
			t.Fatal("not acknowledged during the write")
		}
		close(hold)
		for range 2 {
			if err := testkit.Await(t, testkit.Patience, "a Send", sent); err != nil {
				t.Error(err)
			}
		}
		receive(t, far, "2")
	})
}

func TestAPeerIsToldOfAnEndOnceHoweverOftenItAcknowledges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		conn, _ := r.byHand(newHello)
		s := <-r.sessions
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { _ = s.Shutdown(ctx) }()
		synctest.Wait()
		for range 50 {
			_ = conn.Send(oneAck)
		}
		frames := 0
		for {
			if _, err := conn.Receive(); err != nil {
				break
			}
			frames++
		}
		if frames != 2 { // as its Shutdown found all acknowledged, and as it ended
			t.Errorf("told %d times", frames)
		}
	})
}

func TestAClosedSessionsConnectionEndsThoughItsPeerDoesNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		l := libnettest.NewListener()
		srv := libnet.NewServer(l, protocol, 0)
		configure(&srv.Config)
		srv.SendQueue, srv.WriteTimeout, srv.PeerTimeout = 1, -1, -1
		go func() { _ = srv.Serve(r.server) }()
		defer srv.Stop()
		pipe, err := l.Dial()
		if err != nil {
			t.Fatal(err)
		}
		conn := rawSession(t, pipe)
		sendRaw(t, conn, []byte{0x12, 1, 0, 0, 0, 10, 0x80, 0x80, 0x40}) // 10 messages, 1 MiB
		s := <-r.sessions
		for range 10 {
			send(t, s, string(make([]byte, 100<<10)))
		}
		synctest.Wait()
		link := s.Conn()
		_ = s.Close()
		select {
		case <-link.Done():
		case <-time.After(time.Minute):
			t.Error("the connection is still there")
		}
	})
}

// A network may deliver what a client has sent on a connection it has given up, behind what it sends on the next.
func TestAHelloThatComesLateChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		conn, answer := r.byHand(newHello)
		s := <-r.sessions
		sendRaw(t, conn, oneAck)
		send(t, s, "1", "2")
		first := tokenOf(t, answer)
		late := helloWith(first, 2, 1)
		conn, answer = r.byHand(helloWith(first, 2, 2))
		next := tokenOf(t, answer)
		old, answer := r.byHand(late)
		wantRefused(t, old, answer, 2)
		sendRaw(t, conn, oneAck)
		if conn.IsClosed() || s.State() != resume.Connected || s.Stats().Acknowledged != 2 {
			t.Error(s.State(), s.Err(), s.Stats())
		}
		_, answer = r.byHand(helloWith(next, 2, 2))
		tokenOf(t, answer)
	})
}

// Empty messages take memory, too.
func TestSessionsWithoutAConnectionThatHoldManyEmptyMessagesEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.MaxKeptBytes = 10_000 })
		s := r.visitor("10.0.0.1", true)
		r.down.Store(true)
		for range 100 {
			send(t, s, "")
		}
		if s.State() != resume.Detached {
			t.Fatal(s.Err())
		}
		send(t, s, "")
		wantEnd(t, s, resume.ErrEvicted, 101)
	})
}

func TestWhatCannotBeIsNamed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		near, _ := r.start(new(resume.Client))
		var none context.Context
		for name, call := range map[string]func(){
			"SendContext": func() { _ = near.SendContext(none, "x") },
			"SendAcked":   func() { _ = near.SendAcked(none, "x") },
			"Shutdown":    func() { _ = near.Shutdown(none) },
			"Handler":     func() { new(resume.Server).ServeMessage(near.Conn(), nil) },
		} {
			func() {
				defer func() {
					if text := fmt.Sprint(recover()); !strings.Contains(text, name) {
						t.Errorf("%s: %s", name, text)
					}
				}()
				call()
			}()
		}
		send(t, near, "x") // none of them has begun anything
	})
}

func TestABroadcastCountsSessionsThatShutDownAsClosed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		near, far := r.start(new(resume.Client))
		var g resume.Group[int]
		g.Put(1, far)
		send(t, far, "x")
		go func() { _ = far.Shutdown(t.Context()) }()
		synctest.Wait()
		if got := g.Broadcast("late", nil); got != (libnet.BroadcastResult{Closed: 1}) {
			t.Errorf("%+v", got)
		}
		receive(t, near, "x")
	})
}

func TestAResumeWhileTheHandlerIsAtWorkHandsTheNextMessageOverBehindThat(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var taken []string // only ever one handler is at work
		work := make(chan bool)
		r := newRig(t, func(s *resume.Server) {
			s.MessageHandler = func(s *resume.Session, msg []byte) {
				<-work
				taken = append(taken, string(msg))
			}
		})
		near := new(resume.Client).Start(r.over())
		defer near.Close()
		synctest.Wait()
		send(t, near, "1", "2")
		for range 3 { // each comes while the first is being handled
			synctest.Wait()
			r.cut(near)
			r.up()
			time.Sleep(time.Second)
		}
		send(t, near, "3")
		synctest.Wait()
		if stats := near.Stats(); stats.Resumes != 3 || stats.Acknowledged != 0 || len(taken) != 0 {
			t.Fatalf("%+v, %q", stats, taken)
		}
		close(work)
		if err := near.Shutdown(t.Context()); err != nil || !slices.Equal(taken, []string{"1", "2", "3"}) {
			t.Errorf("%v, %q", err, taken)
		}
	})
}

func TestTheCountersOfASessionThatItsHandlerClosesAreFinal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ended := make(chan [2]resume.Stats, 1)
		r := newRig(t, func(s *resume.Server) {
			s.MessageHandler = func(s *resume.Session, _ []byte) {
				_ = s.Close()
				before := s.Stats()
				go func() {
					time.Sleep(time.Second)
					ended <- [2]resume.Stats{before, s.Stats()}
				}()
			}
		})
		near := new(resume.Client).Start(r.over())
		send(t, near, "x")
		if stats := <-ended; stats[0] != stats[1] {
			t.Errorf("%+v", stats)
		}
		wantEnd(t, near, io.EOF, 1)
	})
}
