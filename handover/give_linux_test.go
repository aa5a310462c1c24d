package handover_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/handover"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

// In these tests the test's own process gives, and another takes.

// A rig is a server of this process.
type rig struct {
	srv    *libnet.Server
	served chan error
	addr   string
}

func newRig(t *testing.T, mode string, set func(*libnet.Server)) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, protocol, mode, set)
}

func serveOn(t *testing.T, l net.Listener, p libnet.Protocol, mode string, set func(*libnet.Server)) *rig {
	r := &rig{srv: libnet.NewServer(l, p, 256), served: make(chan error, 1), addr: l.Addr().String()}
	r.srv.Logger = testkit.Quiet
	configure(r.srv)
	if set != nil {
		set(r.srv)
	}
	go func() { r.served <- serve(r.srv, mode) }()
	t.Cleanup(r.srv.Stop)
	return r
}

func freezeCounter(s *libnet.Session) ([]byte, error) {
	return binary.AppendUvarint(nil, s.State.(*counter).n), nil
}

// give gives the rig's server to a new process, which ends with the test.
func (r *rig) give(t *testing.T, set settings, o handover.GiveOptions) (handover.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if o.Freeze == nil {
		o.Freeze = freezeCounter
	}
	cmd := serverCommand(set)
	result, err := handover.Upgrade(ctx, cmd, r.srv, o)
	if !errors.Is(err, handover.ErrKept) {
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	return result, err
}

func (r *rig) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ask sends a message and returns the answer.
func ask(t *testing.T, conn net.Conn, msg string) string {
	t.Helper()
	say(t, conn, msg)
	return hear(t, conn)
}

func say(t *testing.T, conn net.Conn, msg string) {
	t.Helper()
	if _, err := conn.Write(frame(msg)); err != nil {
		t.Fatal(err)
	}
}

func frame(msg string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

func hear(t *testing.T, conn net.Conn) string {
	t.Helper()
	msg, err := readMessage(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(msg)
}

func readMessage(conn net.Conn) ([]byte, error) {
	var head [2]byte
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err := io.ReadFull(conn, msg)
	return msg, err
}

func askFacts(t *testing.T, conn net.Conn) (f facts) {
	t.Helper()
	if err := json.Unmarshal([]byte(ask(t, conn, "?")), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func numbered(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) + "........." }

func overModes(t *testing.T, test func(t *testing.T, mode string)) {
	for _, mode := range []string{"event", "goroutine"} {
		t.Run(mode, func(t *testing.T) {
			libnettest.VerifyNone(t)
			test(t, mode)
		})
	}
}

func TestASessionKeepsWhatItIs(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		r := newRig(t, mode, nil)
		conn := r.dial(t)
		for n := range uint64(3) {
			ask(t, conn, numbered(n))
		}
		before := askFacts(t, conn)
		r.srv.Manager().GetSession(before.ID).SetName("Ada")
		result, err := r.give(t, settings{Mode: mode}, handover.GiveOptions{})
		if err != nil || result.Moved != 1 {
			t.Fatal(result, err)
		}
		after := askFacts(t, conn)
		if after.PID == before.PID || after.ID != before.ID || after.Name != "Ada" || after.Remote != conn.LocalAddr().String() ||
			after.Handled != 3 || after.Group != 1 {
			t.Errorf("before %+v, after %+v", before, after)
		}
		if a, b := after.Stats, before.Stats; a.MessagesIn != b.MessagesIn+1 || a.MessagesOut != b.MessagesOut+1 ||
			a.BytesIn <= b.BytesIn || b.Opened.Sub(a.Opened).Abs() > 100*time.Millisecond {
			t.Errorf("before %+v, after %+v", b, a)
		}
		if other := askFacts(t, r.dial(t)); other.ID <= before.ID || other.PID != after.PID {
			t.Errorf("a new session is %+v", other)
		}
		testkit.WantErr(t, "Serve", <-r.served, libnet.ErrServerClosed)
	})
}

func TestTheLimitOfSessionsPerAddressCountsOn(t *testing.T) {
	r := newRig(t, "event", nil)
	first, second := r.dial(t), r.dial(t)
	askFacts(t, first)
	askFacts(t, second)
	if result, err := r.give(t, settings{Mode: "event", PerIP: 2}, handover.GiveOptions{}); err != nil || result.Moved != 2 {
		t.Fatal(result, err)
	}
	if rest, _ := io.ReadAll(r.dial(t)); len(rest) > 0 {
		t.Errorf("a third session got %q", rest)
	}
	_ = first.Close()
	testkit.Eventually(t, "room for another", func() bool {
		conn := r.dial(t)
		if _, err := conn.Write(frame("?")); err != nil {
			return false
		}
		_, err := readMessage(conn)
		return err == nil
	})
}

func TestAUnixSocketKeepsItsPathUntilTheLastProcessEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	srv, err := libnet.Serve("unix", path, protocol, 16)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{srv: srv, served: make(chan error, 1)}
	configure(srv)
	go func() { r.served <- serve(srv, "event") }()
	if _, err := r.give(t, settings{Mode: "event"}, handover.GiveOptions{}); err != nil {
		t.Fatal(err)
	}
	<-r.served
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f := askFacts(t, conn)
	if f.PID == os.Getpid() || f.Open != 1 {
		t.Errorf("%+v", f)
	}
	_ = syscall.Kill(f.PID, syscall.SIGTERM)
	testkit.Eventually(t, "the end of the socket's file", func() bool {
		_, err := os.Lstat(path)
		return errors.Is(err, os.ErrNotExist)
	})
}

func TestTheOldProcessesSessionEndsWithErrHandedOver(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		r := newRig(t, mode, nil)
		conn := r.dial(t)
		s := r.srv.Manager().GetSession(askFacts(t, conn).ID)
		called := make(chan struct{})
		s.OnClose(func() { close(called) })
		if _, err := r.give(t, settings{Mode: mode}, handover.GiveOptions{}); err != nil {
			t.Fatal(err)
		}
		testkit.Await(t, patience, "the callback", called)
		testkit.WantErr(t, "Err", s.Err(), libnet.ErrHandedOver)
		testkit.WantErr(t, "Send", s.Send("x"), libnet.ErrHandedOver)
		if stats := r.srv.Stats(); stats.Closed["handed_over"] != 1 || stats.Dropped != 0 || stats.Discarded != 0 || stats.Open != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestHalfAFrameEitherWayGoesOnInTheOtherProcess(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		r := newRig(t, mode, func(srv *libnet.Server) { srv.SendBuffer = 16 << 10 })
		conn := r.dial(t)
		s := r.srv.Manager().GetSession(askFacts(t, conn).ID)
		big := strings.Repeat("abcdefgh", 8000)
		n := 0
		for ; s.Stats().Queued < 6; n++ { // until the kernel takes no more
			if err := s.Send([]byte(numbered(uint64(n)) + big)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		question := frame("?")
		if _, err := conn.Write(question[:2]); err != nil {
			t.Fatal(err)
		}
		if stats := s.Stats(); stats.Queued == 0 || stats.BytesOut%uint64(len(big)+19) == 0 {
			t.Fatalf("nothing is half written: %+v", stats)
		}
		result, err := r.give(t, settings{Mode: mode}, handover.GiveOptions{})
		if err != nil || result.Moved != 1 {
			t.Fatal(result, err)
		}
		if _, err := conn.Write(question[2:]); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if msg := hear(t, conn); msg != numbered(uint64(i))+big {
				t.Fatalf("message %d is %d bytes: %.30q", i, len(msg), msg)
			}
		}
		hear(t, conn)
		var f facts
		asked := uint64(0)
		testkit.Eventually(t, "the count of what has come", func() bool { // which follows the write
			f = askFacts(t, conn)
			asked++
			return f.Stats.Queued == 0
		})
		if f.Stats.MessagesOut != uint64(n)+1+asked {
			t.Errorf("%+v, asked %d times", f, asked)
		}
	})
}

func TestAHandlerAtWorkEndsItsMessageOrItsSessionStays(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		r := newRig(t, mode, func(srv *libnet.Server) { srv.Linger = 5 * time.Second }) // which handlers have
		quick, slow := r.dial(t), r.dial(t)
		ask(t, quick, numbered(0))
		ask(t, slow, numbered(0))
		before := waits.Load()
		say(t, quick, "wait 50ms")
		say(t, quick, "behind")
		say(t, slow, "hold")
		testkit.Eventually(t, "both handlers", func() bool { return waits.Load() == before+2 })
		answers := make(chan string, 1)
		go func() { // drained, with its answer
			all, _ := io.ReadAll(slow)
			_ = slow.Close()
			answers <- string(all)
		}()
		result, err := r.give(t, settings{Mode: mode}, handover.GiveOptions{
			HandlerTime: 750 * time.Millisecond,
			Freeze: func(s *libnet.Session) ([]byte, error) { // of the quick one: the new process is ready
				held <- struct{}{}
				return freezeCounter(s)
			},
		})
		if err != nil || result.Moved != 1 || result.Stayed["busy"] != 1 {
			t.Fatal(result, err)
		}
		for _, want := range []string{"waited", "behind"} {
			if msg := hear(t, quick); msg != want {
				t.Errorf("%q came where %q is due", msg, want)
			}
		}
		if all := <-answers; all != string(frame("waited")) {
			t.Errorf("%q came", all)
		}
	})
}

// A goroutine that waits for messages takes a moment to stop, and no handler is at work in it.
func TestSessionsThatOnlyWaitMoveWhateverTheTimeOfHandlers(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		r := newRig(t, mode, nil)
		conns := make([]net.Conn, 50)
		for i := range conns {
			conns[i] = r.dial(t)
			ask(t, conns[i], numbered(1))
		}
		result, err := r.give(t, settings{Mode: mode}, handover.GiveOptions{HandlerTime: -1})
		if err != nil || result.Moved != len(conns) {
			t.Errorf("%+v, %v", result, err)
		}
	})
}

func TestWhatCannotMoveIsDrainedAndCounted(t *testing.T) {
	libnettest.VerifyNone(t)
	r := newRig(t, "event", nil)
	stays, moves := r.dial(t), r.dial(t)
	ask(t, moves, numbered(0))
	for _, name := range []string{"refused", "panics", "receives", "not frozen"} {
		r.srv.Manager().GetSession(askFacts(t, r.dial(t)).ID).SetName(name)
	}
	near, far := net.Pipe()
	go func() { _ = r.srv.ServeConn(near, libnet.HandlerFunc(func(s *libnet.Session) { _, _ = s.Receive() })) }()
	defer far.Close()
	r.srv.Manager().GetSession(askFacts(t, stays).ID).SetName("not frozen")
	testkit.Eventually(t, "all sessions", func() bool { return r.srv.Manager().Len() == 7 })
	result, err := r.give(t, settings{Mode: "event", Refuses: "refused"}, handover.GiveOptions{
		Freeze: func(s *libnet.Session) ([]byte, error) {
			if s.Name() == "not frozen" {
				panic("in Freeze")
			}
			return freezeCounter(s)
		},
	})
	if err != nil || result.Moved != 1 || result.Stayed["refused"] != 5 || result.Stayed["connection"] != 1 {
		t.Fatal(result, err)
	}
	if rest, err := io.ReadAll(stays); err != nil || len(rest) > 0 {
		t.Errorf("a session that stays is ended with %q, %v", rest, err)
	}
	if f := askFacts(t, moves); f.PID == os.Getpid() || f.Open != 1 || f.Group != 1 {
		t.Errorf("%+v", f)
	}
}

func TestTLSStaysAndIsDrainedOverTheTimeThatTheUserSets(t *testing.T) {
	libnettest.VerifyNone(t)
	r := newRig(t, "event", func(srv *libnet.Server) { srv.TLSConfig = testkit.ServerTLS() })
	d := libnet.Dialer{Protocol: protocol, TLSConfig: testkit.ClientTLS()}
	var sessions []*libnet.Session
	for range 4 {
		s, err := d.Dial(t.Context(), "tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Send([]byte("?")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Receive(); err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	for _, s := range sessions {
		go func() { _, _ = s.Receive() }()
	}
	began := time.Now()
	result, err := r.give(t, settings{Mode: "event"}, handover.GiveOptions{Drain: 400 * time.Millisecond})
	if err != nil || result.Moved != 0 || result.Stayed["tls"] != 4 {
		t.Fatal(result, err)
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("drained within %v", took)
	}
	for _, s := range sessions {
		testkit.WantErr(t, "the client's end", s.Err(), io.EOF)
	}
}

func TestAWebSocketMovesBetweenTwoMessages(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		r := serveOn(t, l, settings{WebSocket: true}.protocol(), mode, nil)
		s, err := ws.Dial(t.Context(), "ws://"+r.addr+"/room?x=1", &libnet.Dialer{Protocol: protocol}, &ws.DialOptions{CompressFrom: 64})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		exchange := func(msg string) string {
			if err := s.Send([]byte(msg)); err != nil {
				t.Fatal(err)
			}
			answer, err := s.Receive()
			if err != nil {
				t.Fatal(err)
			}
			return string(answer)
		}
		exchange("?")
		result, err := r.give(t, settings{Mode: mode, WebSocket: true}, handover.GiveOptions{})
		if err != nil || result.Moved != 1 {
			t.Fatal(result, err)
		}
		var f facts
		if err := json.Unmarshal([]byte(exchange("?")), &f); err != nil || f.PID == os.Getpid() || f.Path != "/room" {
			t.Errorf("%+v, %v", f, err)
		}
		if long := strings.Repeat("compressed ", 100); !strings.HasPrefix(exchange("say "+long), "say "+long) {
			t.Error("a compressed message came otherwise")
		}
	})
}

func TestASuccessorWhoseCodecGreetsTakesNoSession(t *testing.T) {
	r := newRig(t, "event", nil)
	conn := r.dial(t)
	askFacts(t, conn)
	result, err := r.give(t, settings{Mode: "event", Greets: true}, handover.GiveOptions{})
	if err != nil || result.Moved != 0 || result.Stayed["refused"] != 1 {
		t.Fatal(result, err)
	}
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("the peer got %q, %v", rest, err)
	}
}

func TestAProcessThatHangsIsGivenUp(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		r := newRig(t, mode, nil)
		conn := r.dial(t)
		ask(t, conn, numbered(0))
		near, far := pair(t)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := handover.Give(ctx, near, r.srv, handover.GiveOptions{Freeze: freezeCounter})
		if !errors.Is(err, handover.ErrKept) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Give: %v", err)
		}
		_ = far
		// One that is ready, and hangs while the sessions stand still: they do so for Pause at the most.
		near, far = pair(t)
		if _, err := far.Write([]byte{'R', 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = handover.Give(t.Context(), near, r.srv, handover.GiveOptions{Freeze: freezeCounter, Pause: 100 * time.Millisecond})
		if !errors.Is(err, handover.ErrKept) || time.Since(began) > patience/2 {
			t.Errorf("Give: %v, after %v", err, time.Since(began))
		}
		ask(t, conn, numbered(1))
		ask(t, r.dial(t), numbered(0)) // and accepting goes on
	})
}

func TestAProcessThatSpeaksSomethingElseIsRefused(t *testing.T) {
	for _, said := range []string{"HTTP/1.1 200 OK\r\n\r\n", "R\xff\xff\xff\xff", "Q\x00\x00\x00\x02no", ""} {
		r := newRig(t, "event", nil)
		conn := r.dial(t)
		ask(t, conn, numbered(0))
		near, far := pair(t)
		if _, err := far.Write([]byte(said)); err != nil {
			t.Fatal(err)
		}
		_ = far.CloseWrite()
		if _, err := handover.Give(t.Context(), near, r.srv, handover.GiveOptions{}); !errors.Is(err, handover.ErrKept) {
			t.Errorf("Give to who says %q: %v", said, err)
		}
		near, far = pair(t)
		if _, err := far.Write([]byte(said)); err != nil {
			t.Fatal(err)
		}
		_ = far.CloseWrite()
		_, _, err := handover.Take(t.Context(), near, nil, handover.TakeOptions{})
		if !errors.Is(err, handover.ErrNotTaken) {
			t.Errorf("Take from who says %q: %v", said, err)
		}
		ask(t, conn, numbered(1))
	}
}

// pair returns both ends of a Unix socket.
func pair(t *testing.T) (near, far *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conns := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		conn, err := net.FileConn(file)
		_ = file.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		conns[i] = conn.(*net.UnixConn)
	}
	return conns[0], conns[1]
}

// Such as a server for terminals on its own listener, and for pages on net/http's.
func TestAServerThatAlsoHasWebSocketsOfNetHTTPIsGiven(t *testing.T) {
	libnettest.VerifyNone(t)
	r := newRig(t, "event", nil)
	web := httptest.NewServer(ws.MessageHandler(r.srv, libnet.MessageHandlerFunc(answer), nil))
	defer web.Close()
	page, err := ws.Dial(t.Context(), web.URL, &libnet.Dialer{Protocol: protocol}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	moves := r.dial(t)
	ask(t, moves, numbered(0))
	testkit.Eventually(t, "both sessions", func() bool { return r.srv.Manager().Len() == 2 })
	result, err := r.give(t, settings{Mode: "event"}, handover.GiveOptions{})
	if err != nil || result.Moved != 1 || result.Stayed["websocket"] != 1 {
		t.Fatal(result, err)
	}
	if _, err := page.Receive(); err != io.EOF {
		t.Errorf("a session that stays is ended with %v", err)
	}
	if f := askFacts(t, moves); f.PID == os.Getpid() {
		t.Errorf("%+v", f)
	}
}
