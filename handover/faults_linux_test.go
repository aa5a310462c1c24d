package handover_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/handover"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// A wrapped listener has no descriptor to give.
type wrapped struct{ net.Listener }

func TestAListenerOfTheUsersIsRefusedAndTheServerGoesOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := serveOn(t, wrapped{l}, protocol, "event", nil)
	conn := r.dial(t)
	ask(t, conn, numbered(0))
	near, _ := pair(t)
	if _, err := handover.Give(t.Context(), near, r.srv, handover.GiveOptions{}); !errors.Is(err, handover.ErrKept) {
		t.Errorf("Give: %v", err)
	}
	ask(t, conn, numbered(1))
}

func TestASessionThatHasSaidNothingHasTheHandshakeTimeoutForItsFirstMessageOnly(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		r := newRig(t, mode, nil)
		conn := r.dial(t)
		testkit.Eventually(t, "the session", func() bool { return r.srv.Manager().Len() == 1 })
		time.Sleep(20 * time.Millisecond) // its receiver waits
		result, err := r.give(t, settings{Mode: mode, Handshake: 150 * time.Millisecond}, handover.GiveOptions{
			Freeze: func(s *libnet.Session) ([]byte, error) { // it stands still, so the other process has its first message
				say(t, conn, numbered(0))
				return freezeCounter(s)
			},
		})
		if err != nil || result.Moved != 1 {
			t.Fatal(result, err)
		}
		if msg := hear(t, conn); msg != numbered(0) {
			t.Fatalf("the answer is %q", msg)
		}
		time.Sleep(350 * time.Millisecond)
		ask(t, conn, numbered(1))
	})
}

// fill sends until the kernel takes no more, and returns how many messages were sent.
func fill(t *testing.T, s *libnet.Session, big string) (n int) {
	t.Helper()
	for ; s.Stats().Queued < 6; n++ {
		if err := s.Send([]byte(numbered(uint64(n)) + big)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	return n
}

func TestAWriteThatIsNotInterruptedInTimeGoesOn(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		r := newRig(t, mode, func(srv *libnet.Server) {
			srv.SendBuffer = 16 << 10
			if mode == "goroutine" {
				srv.WriteTimeout = -1
			}
		})
		conn := r.dial(t)
		s := r.srv.Manager().GetSession(askFacts(t, conn).ID)
		big := strings.Repeat("abcdefgh", 8000)
		n := fill(t, s, big)
		for range 5 {
			near, far := pair(t)
			if _, err := far.Write([]byte{'R', 0, 0, 0, 0}); err != nil {
				t.Fatal(err)
			}
			_, err := handover.Give(t.Context(), near, r.srv, handover.GiveOptions{HandlerTime: -1, Pause: 20 * time.Millisecond})
			if !errors.Is(err, handover.ErrKept) {
				t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Millisecond)
		if err := s.Err(); err != nil {
			t.Fatalf("the session has ended: %v", err)
		}
		for i := range n {
			if msg := hear(t, conn); msg != numbered(uint64(i))+big {
				t.Fatalf("message %d is %d bytes: %.30q", i, len(msg), msg)
			}
		}
	})
}

func TestSendsOfFreezeAndThawGoIntoTheQueueOfASynchronousSession(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		r := serveOn(t, l, protocol, mode, func(srv *libnet.Server) { srv.SendQueue = 0 })
		conn := r.dial(t)
		askFacts(t, conn)
		result, err := r.give(t, settings{Mode: mode, Sync: true, ThawSends: true}, handover.GiveOptions{
			Freeze: func(s *libnet.Session) ([]byte, error) {
				if err := s.Send([]byte("from Freeze")); err != nil {
					t.Error(err)
				}
				return freezeCounter(s)
			},
			Pause: 2 * time.Second,
		})
		if err != nil || result.Moved != 1 {
			t.Fatal(result, err)
		}
		for _, want := range []string{"from Freeze", "from Thaw"} {
			if msg := hear(t, conn); msg != want {
				t.Errorf("%q came where %q is due", msg, want)
			}
		}
		askFacts(t, conn)
	})
}

// A taker is another process's part, spoken by the test.
type taker struct {
	t    *testing.T
	conn *net.UnixConn
	in   []byte
	fds  []int
}

func newTaker(t *testing.T, conn *net.UnixConn) *taker {
	k := &taker{t: t, conn: conn}
	t.Cleanup(k.close)
	return k
}

// close closes the sessions that have come.
func (k *taker) close() {
	for _, fd := range k.fds {
		_ = syscall.Close(fd)
	}
	k.fds = nil
}

func (k *taker) say(kind byte, payload ...byte) {
	k.t.Helper()
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)))
	if _, err := k.conn.Write(append(head, payload...)); err != nil {
		k.t.Error(err)
	}
}

// hear reads until a message of that kind.
func (k *taker) hear(kind byte) {
	k.t.Helper()
	for {
		if len(k.in) >= 5 {
			if n := 5 + int(binary.BigEndian.Uint32(k.in[1:])); len(k.in) >= n {
				is := k.in[0]
				if k.in = k.in[n:]; is == kind {
					return
				}
				continue
			}
		}
		buf, oob := make([]byte, 1<<16), make([]byte, 1024)
		n, oobn, _, _, err := k.conn.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			k.t.Errorf("no %q came: %v", kind, err)
			return
		}
		k.in = append(k.in, buf[:n]...)
		messages, _ := syscall.ParseSocketControlMessage(oob[:oobn])
		for i := range messages {
			fds, _ := syscall.ParseUnixRights(&messages[i])
			k.fds = append(k.fds, fds...)
		}
	}
}

func TestAShutdownInTheLastMomentLeavesTheInputToTheOtherProcess(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		r := newRig(t, mode, nil)
		conn := r.dial(t)
		s := r.srv.Manager().GetSession(askFacts(t, conn).ID)
		near, far := pair(t)
		gave := make(chan error, 1)
		go func() {
			_, err := handover.Give(t.Context(), near, r.srv, handover.GiveOptions{Freeze: freezeCounter})
			gave <- err
		}()
		k := newTaker(t, far)
		k.say('R')
		k.hear('E')
		k.say('A', 0)
		k.hear('G')
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(context.Background()) }()
		testkit.Eventually(t, "the closing", s.IsClosed)
		say(t, conn, "to the other")
		time.Sleep(100 * time.Millisecond)
		k.say('T')
		if err := <-gave; err != nil {
			t.Error(err)
		}
		<-ended
		got := make([]byte, 100)
		n, _, err := syscall.Recvfrom(k.fds[1], got, syscall.MSG_DONTWAIT)
		if err != nil || string(got[:max(n, 0)]) != string(frame("to the other")) {
			t.Errorf("the other process finds %q, %v", got[:max(n, 0)], err)
		}
		if _, err := syscall.Write(k.fds[1], frame("and back")); err != nil {
			t.Error(err)
		}
		if msg := hear(t, conn); msg != "and back" {
			t.Errorf("the peer got %q", msg)
		}
	})
}

// Until the other process has all or this one goes on, nobody knows whose a message would be.
func TestASendInTheLastMomentDoesNotTakeTheSessionForEnded(t *testing.T) {
	for _, taken := range []bool{false, true} {
		t.Run(map[bool]string{false: "kept", true: "taken"}[taken], func(t *testing.T) {
			overModes(t, func(t *testing.T, mode string) {
				for name, queue := range map[string]int{"queue": 256, "synchronous": 0} {
					t.Run(name, func(t *testing.T) { sendInTheLastMoment(t, mode, queue, taken) })
				}
			})
		})
	}
}

func sendInTheLastMoment(t *testing.T, mode string, queue int, taken bool) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := serveOn(t, l, protocol, mode, func(srv *libnet.Server) { srv.SendQueue, srv.OnFull = queue, libnet.CloseSession })
	conn := r.dial(t)
	s := r.srv.Manager().GetSession(askFacts(t, conn).ID)
	near, far := pair(t)
	gave := make(chan error, 1)
	go func() {
		_, err := handover.Give(t.Context(), near, r.srv, handover.GiveOptions{Freeze: freezeCounter})
		gave <- err
	}()
	k := newTaker(t, far)
	takeUntil(k, 'G')
	if queue > 0 {
		if err := s.Send([]byte("not accepted")); err != libnet.ErrSessionBlocked {
			t.Errorf("Send: %v", err)
		}
		if err := s.SendBytes([]byte("not accepted")); err != libnet.ErrSessionBlocked {
			t.Errorf("SendBytes: %v", err)
		}
	}
	if result := r.srv.Manager().Broadcast([]byte("not accepted")); result.Blocked != 1 {
		t.Errorf("Broadcast: %+v", result)
	}
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.SendContext(soon, []byte("not accepted")); err != context.DeadlineExceeded {
		t.Errorf("SendContext: %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- s.SendContext(t.Context(), []byte("accepted")) }()
	time.Sleep(20 * time.Millisecond)
	if err := s.Err(); err != nil {
		t.Errorf("the session has ended: %v", err)
	}
	if taken {
		k.say('T')
		if err := testkit.Await(t, testkit.Patience, "SendContext", waited); err != libnet.ErrHandedOver {
			t.Errorf("SendContext of a session that another process has: %v", err)
		}
		if err := <-gave; err != nil {
			t.Error(err)
		}
		return
	}
	k.close()
	_ = far.Close()
	if err := <-gave; !errors.Is(err, handover.ErrKept) {
		t.Fatal(err)
	}
	if err := testkit.Await(t, testkit.Patience, "SendContext", waited); err != nil {
		t.Errorf("SendContext of a session that goes on: %v", err)
	}
	if msg := hear(t, conn); msg != "accepted" {
		t.Errorf("the peer got %q", msg)
	}
	askFacts(t, conn)
}

func TestASessionThatEndsMeanwhileKeepsNobodyWaiting(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		r := newRig(t, mode, nil)
		conn := r.dial(t)
		s := r.srv.Manager().GetSession(askFacts(t, conn).ID)
		say(t, conn, "wait 200ms")
		time.Sleep(20 * time.Millisecond)
		near, far := pair(t)
		gave := make(chan handover.Result, 1)
		go func() {
			result, err := handover.Give(t.Context(), near, r.srv, handover.GiveOptions{Pause: -1, HandlerTime: patience})
			if err != nil {
				t.Error(err)
			}
			gave <- result
		}()
		k := newTaker(t, far)
		k.hear('H')
		k.say('R')
		time.Sleep(50 * time.Millisecond) // it waits for the handler
		_ = s.Close()
		k.hear('E')
		k.say('A', 0)
		k.hear('G')
		k.say('T')
		if result := <-gave; result.Paused > patience/2 || len(result.Stayed) > 0 {
			t.Errorf("%+v", result)
		}
	})
}

func TestFreezeThatEndsItsGoroutineHarmsItsSessionOnly(t *testing.T) {
	libnettest.VerifyNone(t)
	r := newRig(t, "event", nil)
	var conns []net.Conn
	for range 3 {
		conn := r.dial(t)
		r.srv.Manager().GetSession(askFacts(t, conn).ID).SetName("ends")
		conns = append(conns, conn)
	}
	moves := r.dial(t)
	askFacts(t, moves)
	result, err := r.give(t, settings{Mode: "event"}, handover.GiveOptions{Freeze: func(s *libnet.Session) ([]byte, error) {
		if s.Name() == "ends" {
			runtime.Goexit()
		}
		return freezeCounter(s)
	}})
	if err != nil || result.Moved != 1 || result.Stayed["refused"] != 3 {
		t.Fatal(result, err)
	}
	askFacts(t, moves)
	for _, conn := range conns {
		_, _ = io.ReadAll(conn)
	}
}

// A slowCodec takes its time to close: until all of them are closing.
type slowCodec struct {
	wholeCodec
	all *closingTogether
}

type closingTogether struct {
	missing atomic.Int32
	there   chan struct{}
}

type wholeCodec interface {
	libnet.Codec
	libnet.FrameParser
	libnet.FrameAppender
}

func (c slowCodec) Close() error {
	if c.all.missing.Add(-1) == 0 {
		close(c.all.there)
	}
	<-c.all.there
	return nil
}

func TestACodecThatTakesItsTimeToCloseKeepsNoOther(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const sessions = 10
	all := &closingTogether{there: make(chan struct{})}
	all.missing.Store(sessions)
	slow := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return slowCodec{protocol.NewCodec(rw).(wholeCodec), all}
	})
	r := serveOn(t, l, slow, "event", nil)
	for range sessions {
		askFacts(t, r.dial(t))
	}
	result, err := r.give(t, settings{Mode: "event"}, handover.GiveOptions{})
	if err != nil || result.Moved != sessions {
		t.Error(result, err)
	}
	testkit.Await(t, testkit.Patience, "all codecs to be closing", all.there)
}
