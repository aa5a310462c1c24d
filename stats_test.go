package libnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// IdleTimeout spares a peer whose bytes nobody has come for: that is no byte more.
func TestLastReceivedIsWhenSomethingWasReceivedWhateverATimeoutGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		srv.IdleTimeout = time.Second
		near, far := libnettest.Pipe()
		defer far.Close()
		opened := time.Now()
		s := testkit.Adopt(t, srv, near)
		testkit.MustWrite(t, far, testkit.Frame("unread"))
		time.Sleep(1500 * time.Millisecond)
		if stats := s.Stats(); s.IsClosed() || stats != (libnet.SessionStats{Opened: opened, LastReceived: opened}) {
			t.Errorf("%v; %+v", s.Err(), stats)
		}
	})
}

func TestTheStatsOfASessionAreWhatItsWireSaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		near, far := libnettest.PipeSize(20)
		defer far.Close()
		opened := time.Now()
		s := testkit.Adopt(t, srv, near)
		if stats := s.Stats(); stats != (libnet.SessionStats{Opened: opened, LastReceived: opened}) {
			t.Errorf("at first %+v", stats)
		}
		time.Sleep(time.Minute)
		received := time.Now()
		testkit.MustWrite(t, far, append(testkit.Frame("hello"), testkit.Frame("")...))
		testkit.MustReceive(t, s, "hello")
		testkit.MustReceive(t, s, "")
		go s.Receive()
		for range 3 {
			testkit.MustSend(t, s, "0123456789") // 14 bytes on the wire, of which the pipe holds 20
		}
		synctest.Wait()
		want := libnet.SessionStats{
			MessagesIn: 2, BytesIn: 13, MessagesOut: 0, BytesOut: 0, Queued: 3, QueuedBytes: 42,
			Opened: opened, LastReceived: received,
		}
		got := s.Stats()
		got.Queued, got.QueuedBytes = got.Queued+int(got.MessagesOut), got.QueuedBytes+int(got.BytesOut)
		got.MessagesOut, got.BytesOut = 0, 0 // how much of a write that waits has gone out is the conn's affair
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		go testkit.Drain(far)
		synctest.Wait()
		want.MessagesOut, want.BytesOut, want.Queued, want.QueuedBytes = 3, 42, 0, 0
		if got := s.Stats(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		_ = s.Close()
		<-s.Done()
		if got := s.Stats(); got != want {
			t.Errorf("after the end %+v, want %+v", got, want)
		}
	})
}

func TestTheStatsOfASessionCountWhatIsDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			policy    libnet.FullPolicy
			discarded uint64 // of 8 messages to a peer that takes none, with a queue of 4
			blocked   uint64
		}{
			"RejectNewest": {libnet.RejectNewest, 4, 4},
			"DropOldest":   {libnet.DropOldest, 8, 0},
			"CloseSession": {libnet.CloseSession, 4, 0},
		} {
			srv := testkit.NewServer(t, testkit.Frames, 4)
			srv.OnFull, srv.WriteTimeout = test.policy, -1
			near, far := libnettest.PipeSize(1)
			s := testkit.Adopt(t, srv, near)
			accepted := uint64(0)
			for range 8 {
				if s.Send("a message") == nil {
					accepted++
				}
				synctest.Wait()
			}
			_ = s.Close()
			<-s.Done()
			if got := s.Stats(); got.Discarded != test.discarded || got.MessagesOut != 0 || got.Queued != 0 || got.QueuedBytes != 0 {
				t.Errorf("%s: %+v, want %d discarded", name, got, test.discarded)
			}
			if got := srv.Stats(); accepted != test.discarded || got.Discarded != test.discarded || got.Blocked != test.blocked {
				t.Errorf("%s: accepted %d, discarded %d, blocked %d", name, accepted, got.Discarded, got.Blocked)
			}
			far.Close()
		}
	})
}

func TestTheStatsOfAServerAddUpOverOpenAndClosedSessions(t *testing.T) {
	srv := testkit.NewServer(t, testkit.Frames, 8)
	refused := errors.New("not today")
	admit := true
	srv.OnSession = func(*libnet.Session) error {
		if admit {
			return nil
		}
		return refused
	}
	srv.MaxSessions = 3
	exchange := func() *libnet.Session {
		near, far := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, srv, near)
		testkit.MustWrite(t, far, testkit.Frame("12345"))
		testkit.MustReceive(t, s, "12345")
		testkit.MustSend(t, s, "123")
		testkit.Eventually(t, "the message to be written", func() bool { return s.Stats().MessagesOut == 1 })
		return s
	}
	first, second, third := exchange(), exchange(), exchange()
	near, _ := testkit.ConnectPipe(t)
	_, err := srv.NewSession(near)
	testkit.WantErr(t, "a fourth session", err, libnet.ErrTooManySessions)
	_ = first.Close()
	_ = second.CloseWithError(libnet.ErrIdleTimeout)
	admit = false
	near, _ = testkit.ConnectPipe(t)
	_, err = srv.NewSession(near)
	testkit.WantErr(t, "a refused session", err, refused)
	go third.Receive() // which counts what came before

	want := libnet.ServerStats{
		Open: 1, Peak: 3, Accepted: 4, Rejected: 2,
		MessagesIn: 3, MessagesOut: 3, BytesIn: 27, BytesOut: 21,
	}
	testkit.Eventually(t, "the messages to be counted", func() bool { return srv.Stats().MessagesIn == want.MessagesIn })
	stats := srv.Stats()
	closed := stats.Closed
	stats.Closed = nil
	if !reflect.DeepEqual(stats, want) {
		t.Errorf("%+v, want %+v", stats, want)
	}
	if want := map[string]uint64{"closed": 1, "idle_timeout": 1, "error": 1}; !maps.Equal(closed, want) {
		t.Errorf("closed %v, want %v", closed, want)
	}
	closed["closed"] = 100 // is the caller's
	if n := srv.Stats().Closed["closed"]; n != 1 {
		t.Errorf("the server's map was handed out: %d", n)
	}
}

// Somebody draws a rate from two snapshots: no counter may ever go down, whatever ends in between.
func TestCountersNeverGoDown(t *testing.T) {
	srv := testkit.NewServer(t, testkit.Frames, 8)
	var working sync.WaitGroup
	for range 4 {
		working.Go(func() {
			for range 100 {
				near, far := testkit.ConnectPipe(t)
				s := testkit.Adopt(t, srv, near)
				testkit.MustWrite(t, far, testkit.Frame("in"))
				_, _ = s.Receive()
				_ = s.Send("out")
				_ = s.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		working.Wait()
	}()
	var before libnet.ServerStats
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		now := srv.Stats()
		if now.MessagesIn < before.MessagesIn || now.MessagesOut < before.MessagesOut || now.BytesIn < before.BytesIn ||
			now.BytesOut < before.BytesOut || now.Discarded < before.Discarded || now.Accepted < before.Accepted ||
			now.Peak < before.Peak || now.Closed["closed"] < before.Closed["closed"] {
			t.Fatalf("%+v after %+v", now, before)
		}
		if now.Open < 0 || now.Open > 4 || now.Peak > 4 {
			t.Fatalf("%+v", now)
		}
		before = now
	}
	if last := srv.Stats(); last.Accepted != 400 || last.Closed["closed"] != 400 || last.MessagesIn != 400 || last.MessagesOut+last.Discarded != 400 {
		t.Errorf("%+v", last)
	}
}

func TestAServerRemembersTheSessionsThatClosedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		if last := srv.LastClosed(); len(last) != 0 {
			t.Errorf("before any session: %v", last)
		}
		reason := errors.New("a reason of the test's")
		var ids []uint64
		for i := range 100 {
			near, far := libnettest.Pipe()
			s := testkit.Adopt(t, srv, near)
			testkit.MustWrite(t, far, testkit.Frame("hello"))
			testkit.MustReceive(t, s, "hello")
			time.Sleep(time.Second)
			_ = s.CloseWithError(reason)
			_ = far.Close()
			ids = append(ids, s.ID())
			last := srv.LastClosed()
			if len(last) != min(i+1, 64) {
				t.Fatalf("%d closed, %d remembered", i+1, len(last))
			}
			for j, c := range last {
				if c.ID != ids[i-j] {
					t.Fatalf("after %d: number %d is session %d; want %d", i+1, j, c.ID, ids[i-j])
				}
			}
			c := last[0]
			if c.Err != reason || !c.Closed.Equal(time.Now()) || c.RemoteAddr != near.RemoteAddr() || c.Stats != s.Stats() || c.Stats.MessagesIn != 1 {
				t.Fatalf("%+v", c)
			}
		}
	})
}

// addrPanics is a conn of a user's that cannot say who is at its other end.
type addrPanics struct{ net.Conn }

func (addrPanics) RemoteAddr() net.Addr { panic("no address") }

func TestAConnWhoseAddressPanicsIsRememberedWithoutOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		near, far := libnettest.Pipe()
		defer far.Close()
		_ = testkit.Adopt(t, srv, addrPanics{near}).Close()
		if last := srv.LastClosed(); len(last) != 1 || last[0].RemoteAddr != nil || srv.Stats().Open != 0 {
			t.Errorf("remembered %+v, %d open", last, srv.Stats().Open)
		}
	})
}

func TestStoppingIsClosedWhenAShutdownBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		near, far := libnettest.Pipe()
		defer far.Close()
		s := testkit.Adopt(t, srv, near)
		select {
		case <-srv.Stopping():
			t.Fatal("stopping before anybody asked for it")
		default:
		}
		ended := make(chan error, 1)
		go func() { ended <- srv.Shutdown(context.Background()) }()
		<-srv.Stopping() // while the session still waits for its peer's end
		synctest.Wait()
		select {
		case <-s.Done():
			t.Error("the session has ended before its peer")
		case <-ended:
			t.Error("the shutdown has ended before the session")
		default:
		}
		_ = far.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if last := srv.LastClosed(); len(last) != 1 || libnet.CloseReason(last[0].Err) != "server_closed" {
			t.Errorf("remembered %+v", last)
		}
	})
}

// Stats "is final once Session.Done is closed".
func TestCountersAreFinalAtDone(t *testing.T) {
	for _, kind := range []string{"FrameParser", "plain", "bare"} {
		t.Run(kind, func(t *testing.T) {
			at, goOn := make(chan struct{}), make(chan struct{})
			stop := func() { close(at); <-goOn }
			srv := testkit.NewServer(t, libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				inner := testkit.Frames.NewCodec(rw)
				if kind == "plain" {
					two := testkit.NewTwoWrites(rw)
					return &testkit.FuncCodec{OnSend: two.Send, OnReceive: func() ([]byte, error) {
						msg, err := two.Receive()
						stop()
						return msg, err
					}}
				}
				return testkit.FramingCodec{Codec: inner, OnParse: func(src []byte) ([]byte, int, error) {
					stop()
					return inner.(libnet.FrameParser).ParseFrame(src)
				}}
			}), 4)
			var s *libnet.Session
			if kind == "bare" {
				s = libnet.NewSession(&testkit.FuncCodec{OnReceive: func() ([]byte, error) { stop(); return []byte("x"), nil }}, 4)
			} else {
				near, far := testkit.ConnectTCP(t)
				s = testkit.Adopt(t, srv, near)
				testkit.MustWrite(t, far, testkit.Frame("hello"))
			}
			received := make(chan error, 1)
			go func() {
				_, err := s.Receive()
				received <- err
			}()
			<-at
			_ = s.Close()
			<-s.Done()
			final := s.Stats()
			close(goOn)
			<-received
			after := s.Stats()
			if final != after {
				t.Errorf("at Done   %+v\nand after %+v", final, after)
			}
			if kind != "bare" {
				if server2 := srv.Stats(); server2.MessagesIn != after.MessagesIn {
					t.Errorf("the session says %d messages, its server %d", after.MessagesIn, server2.MessagesIn)
				}
			}
		})
	}
}

// The name may be a peer's: it is kept short, and written on one line.
func TestANameIsInTheLinesOfItsSessionsEnd(t *testing.T) {
	log := new(testkit.Log)
	srv := testkit.NewServer(t, testkit.Frames, 8)
	srv.Logger = slog.New(log)
	for _, test := range []struct{ set, kept, logged string }{
		{"ann", "ann", "ann"},
		{"", "", ""},
		{"a\nlevel=ERROR\u202e", "a\nlevel=ERROR\u202e", `a\\nlevel=ERROR\\u202e`},
		{strings.Repeat("x", 1<<20), strings.Repeat("x", 128), strings.Repeat("x", 128)},
		{strings.Repeat("é", 100) + "!", strings.Repeat("é", 64), strings.Repeat("é", 64)},
		{strings.Repeat("x", 126) + "世", strings.Repeat("x", 126), strings.Repeat("x", 126)},
		{strings.Repeat("\x80", 300), strings.Repeat("\x80", 124), strings.Repeat(`\x80`, 124)},
	} {
		for _, end := range []error{libnet.ErrMalformedFrame, nil} { // nil: a panic
			s := adoptPipe(t, srv)
			s.SetName("another")
			s.SetName(test.set)
			if got := s.Name(); got != test.kept {
				t.Errorf("%.40q became %q", test.set, got)
			}
			want := "reason=malformed_frame"
			if end != nil {
				_ = s.CloseWithError(end)
			} else {
				s.OnClose(func() { panic("on purpose") })
				_ = s.Close()
				want = "on purpose"
			}
			testkit.Eventually(t, fmt.Sprintf("the line of %.20q, for %v", test.set, end), func() bool {
				lines := log.With(fmt.Sprintf("session=%d ", s.ID()))
				return len(lines) == 1 && strings.Contains(lines[0], want) &&
					strings.Contains(lines[0], "name=") == (test.logged != "") && strings.Contains(lines[0], test.logged)
			})
			testkit.Eventually(t, "the record", func() bool { return srv.LastClosed()[0].ID == s.ID() })
			if last := srv.LastClosed()[0]; last.Name != test.kept {
				t.Errorf("the last closed is %q, want %q", last.Name, test.kept)
			}
		}
	}
}

func TestTakingANameBackCostsASessionWithoutOneNothing(t *testing.T) {
	s := libnet.NewSession(&testkit.FuncCodec{}, 1)
	defer s.Close()
	if n := testing.AllocsPerRun(10, func() { s.SetName("") }); n > 0 || s.Name() != "" {
		t.Errorf("%v allocations, the name %q", n, s.Name())
	}
}

func adoptPipe(t *testing.T, srv *libnet.Server) *libnet.Session {
	near, far := libnettest.Pipe()
	t.Cleanup(func() { _ = far.Close() })
	return testkit.Adopt(t, srv, near)
}

// lateReads is a conn whose Read goes on bringing bytes for a while though it is closed.
type lateReads struct {
	net.Conn
	begun, closed chan struct{}
	once          sync.Once
	left          atomic.Int32
}

func (c *lateReads) Read(p []byte) (int, error) {
	c.once.Do(func() { close(c.begun) })
	<-c.closed
	if c.left.Add(-1) < 0 {
		return 0, io.EOF
	}
	time.Sleep(100 * time.Microsecond)
	return 1, nil
}

func (c *lateReads) Close() error {
	close(c.closed)
	return c.Conn.Close()
}

func TestAServersSumsHaveWhatASessionDropsAsItEnds(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	srv := testkit.NewServer(t, testkit.Frames, 8)
	conn := &lateReads{Conn: near, begun: make(chan struct{}), closed: make(chan struct{})}
	conn.left.Store(100)
	s := testkit.Adopt(t, srv, conn)
	var group libnet.Group[int] // leaving it so many times takes a while
	for i := range 50_000 {
		group.Put(i, s)
	}
	testkit.MustSend(t, s, []byte("never read")) // while that is to be written, a Shutdown reads
	go func() { _ = s.Shutdown(t.Context()) }()
	testkit.Await(t, testkit.Patience, "the drain", conn.begun)
	_ = s.Close()
	testkit.Await(t, testkit.Patience, "the end", s.Done())
	final := s.Stats().Dropped
	testkit.Eventually(t, "the last read", func() bool { return conn.left.Load() < 0 })
	if now, sum := s.Stats().Dropped, srv.Stats().Dropped; now != final || sum != final {
		t.Errorf("%d bytes were dropped at Done, %d later, and %d by the server's sums", final, now, sum)
	}
}
