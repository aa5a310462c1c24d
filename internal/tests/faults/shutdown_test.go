package faults

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// pace keeps the last messages under way for a while: what a close then destroys, it destroys.
const pace = time.Millisecond

func TestE78E79ShutdownDeliversEverythingToClientsThatNeverStopSending(t *testing.T) {
	plain := fleetServer(t, "tcp", nil)
	secure := fleetServer(t, "tls", nil)
	fleet := newFleet(t)
	fleet.pace = pace
	fleet.join(plain, testkit.Size(120, 800), false)
	fleet.join(secure, testkit.Size(30, 200), false)
	fleet.fill()

	var wg sync.WaitGroup
	begin := time.Now()
	for _, r := range []*testkit.Rig{plain, secure} {
		wg.Go(func() {
			if err := r.Shutdown(t.Context()); err != nil {
				t.Errorf("%s: Shutdown = %v", r.Network, err)
			}
		})
	}
	fleet.letRead()
	wg.Wait()
	took := time.Since(begin)
	fleet.wantAll()
	for _, r := range []*testkit.Rig{plain, secure} {
		if stats := r.Stats(); stats.Discarded != 0 || stats.Open != 0 {
			t.Errorf("%s: %+v", r.Network, stats)
		}
	}
	t.Logf("%d sessions, %d messages queued or under way, all delivered in %v", len(fleet.members), fleet.accepted(), took)
}

// Without the exchange at the end, the same fleet must lose something, or the test above proves nothing.
func TestE79WithoutLingerTheSameClientsLoseMessages(t *testing.T) {
	r := fleetServer(t, "tcp", func(srv *libnet.Server) { srv.Linger = -1 })
	fleet := newFleet(t)
	fleet.pace = pace
	fleet.join(r, testkit.Size(40, 200), false)
	fleet.fill()
	time.AfterFunc(50*time.Millisecond, fleet.letRead)
	if err := r.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	fleet.wg.Wait()
	var received uint64
	resets := 0
	for _, m := range fleet.members {
		received += m.received
		if m.end != io.EOF {
			resets++
		}
	}
	if received == fleet.accepted() || resets == 0 {
		t.Errorf("all %d messages arrived and %d clients saw no orderly end: this control shows nothing", received, resets)
	}
	t.Logf("without linger: %d of %d messages lost, %d of %d clients saw no orderly end",
		fleet.accepted()-received, fleet.accepted(), resets, len(fleet.members))
}

func TestStopDiscardsWhatIsQueuedAndCountsIt(t *testing.T) {
	r := fleetServer(t, "tcp", nil)
	fleet := newFleet(t)
	fleet.join(r, 20, false)
	fleet.fill()
	r.Stop()
	fleet.letRead()
	stats := r.Stats()
	if stats.Discarded == 0 || stats.MessagesOut+stats.Discarded != fleet.accepted() {
		t.Errorf("%d accepted, %d written, %d discarded", fleet.accepted(), stats.MessagesOut, stats.Discarded)
	}
}

// shutdownWithin shuts a fleet's server down and checks the time it took and the error's figures.
func shutdownWithin(t *testing.T, r *testkit.Rig, fleet *fleet, d time.Duration, forced int) {
	t.Helper()
	slack := 100 * time.Millisecond
	if !testkit.Full() {
		slack = 4 * time.Second // CI's machine does other things as well
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	err := r.Shutdown(ctx)
	took := time.Since(begin)
	if took < d || took > d+slack {
		t.Errorf("Shutdown took %v, want %v to %v", took, d, d+slack)
	}
	var report *libnet.ShutdownError
	if !errors.As(err, &report) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Shutdown = %v", err)
	}
	if report.Forced != forced {
		t.Errorf("%d sessions cut off, want %d", report.Forced, forced)
	}
	if report.Undelivered == 0 || fleet.accepted() != fleet.written()+report.Undelivered {
		t.Errorf("%d accepted, %d written, %d reported", fleet.accepted(), fleet.written(), report.Undelivered)
	}
	if stats := r.Stats(); stats.Discarded != report.Undelivered || stats.MessagesOut != fleet.written() {
		t.Errorf("the counters have %d discarded and %d written", stats.Discarded, stats.MessagesOut)
	}
	t.Logf("%d sessions: %v; %d accepted, %d written, %d reported", len(fleet.members), took, fleet.accepted(), fleet.written(), report.Undelivered)
}

func TestAShutdownThatReturnsHasItsFiguresInStatsThoughACallbackStillRuns(t *testing.T) {
	r := fleetServer(t, "tcp", nil)
	fleet := newFleet(t)
	fleet.join(r, 4, true)
	fleet.fill()
	release := make(chan struct{})
	defer close(release)
	for _, m := range fleet.members {
		m.session.OnClose(func() { <-release })
	}
	shutdownWithin(t, r, fleet, 100*time.Millisecond, len(fleet.members))
}

func TestE81StalledTLSPeersCostTheContextAndNotFiveSecondsEach(t *testing.T) {
	t.Parallel() // it mostly waits
	r := fleetServer(t, "tls", nil)
	fleet := newFleet(t)
	n := testkit.Size(60, 1000)
	fleet.join(r, n, true)
	fleet.fill()
	shutdownWithin(t, r, fleet, time.Second, n)
}

func TestShutdownReadsWhileItDrains(t *testing.T) {
	r := testkit.Serve(t, "tcp", func(srv *libnet.Server) { srv.SendQueue, srv.SendBuffer = 1000, 16<<10 }, testkit.ReceiveToEnd)
	conn, s := r.Open()
	accepted := 0
	for ; s.Send(make([]byte, 32<<10)) == nil; accepted++ {
	}
	type result struct {
		received int
		err      error
	}
	done := make(chan result, 1)
	begun := make(chan struct{})
	go func() { // a client with one goroutine, which writes before it reads
		<-begun
		frame := testkit.Frame(string(make([]byte, 60<<10)))
		for range 200 {
			if _, err := conn.Write(frame); err != nil {
				done <- result{0, err}
				return
			}
		}
		var got result
		for ; got.err == nil; got.received++ {
			_, got.err = testkit.ReadFrame(conn)
		}
		conn.Close()
		got.received--
		done <- got
	}()
	time.AfterFunc(20*time.Millisecond, func() { close(begun) })
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if got := <-done; got.received != accepted || got.err != io.EOF {
		t.Errorf("the client got %d of %d messages, then %v", got.received, accepted, got.err)
	}
}

// A net.Pipe has no CloseWrite and no buffer: a peer that is in its Write reads nothing before that returns.
func TestShutdownReadsWhileItDrainsAConnThatCannotHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 16)
		near, far := net.Pipe()
		s := testkit.Adopt(t, srv, near)
		const sent = 10
		for range sent {
			testkit.MustSend(t, s, []byte("news"))
		}
		received := make(chan int)
		go func() { // a client with one goroutine, which writes before it reads
			n := 0
			for ; ; n++ {
				_, _ = far.Write(testkit.Frame("x"))
				if _, err := testkit.ReadFrame(far); err != nil {
					received <- n
					return
				}
			}
		}()
		synctest.Wait()
		testkit.CheckErr(t, "Shutdown", s.Shutdown(t.Context()), nil)
		if n := <-received; n != sent {
			t.Errorf("the client got %d of %d messages; %+v", n, sent, s.Stats())
		}
		if dropped := s.Stats().Dropped; dropped == 0 {
			t.Error("what the client sent is not counted as dropped")
		}
		_ = far.Close()
	})
}

// Nobody has accepted a message that a synchronous Send is still at.
func TestAShutdownDoesNotReportTheMessageOfASendThatHasNotReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := libnet.NewSession(&testkit.FuncCodec{OnSend: func(any) error { <-release; return nil }}, 0)
		sent := make(chan error)
		go func() { sent <- s.Send("news") }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := s.Shutdown(ctx)
		if e, ok := err.(*libnet.ShutdownError); !ok || e.Undelivered != 0 || e.Forced != 1 {
			t.Errorf("Shutdown = %v", err)
		}
		<-s.Done()
		close(release)
		testkit.CheckErr(t, "Send", <-sent, libnet.ErrSessionClosed)
		if stats := s.Stats(); stats.MessagesOut != 0 || stats.Discarded != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestE83WhileItDrainsTheServerRefusesNewSessions(t *testing.T) {
	r := fleetServer(t, "tcp", nil)
	fleet := newFleet(t)
	fleet.join(r, 1, false)
	fleet.fill()
	done := make(chan error, 1)
	go func() { done <- r.Shutdown(t.Context()) }()
	testkit.Eventually(t, "the drain to begin", fleet.members[0].session.IsClosed)
	if conn, err := testkit.DialTCP(r.Listener().Addr().String()); err == nil {
		conn.Close()
		t.Error("a dial during the drain was accepted")
	}
	if _, err := r.Accept(); err != io.EOF {
		t.Errorf("Accept = %v, want io.EOF", err)
	}
	if err := r.Serve(libnet.HandlerFunc(testkit.EchoWhileThereIsRoom)); !errors.Is(err, libnet.ErrServerClosed) {
		t.Errorf("Serve = %v, want ErrServerClosed", err)
	}
	if err := fleet.members[0].session.Send("late"); !errors.Is(err, libnet.ErrServerClosed) {
		t.Errorf("Send = %v, want ErrServerClosed", err)
	}
	fleet.letRead()
	if err := <-done; err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	fleet.wantAll()
}

// A conn without deadlines ends its output and nothing else: its peer may still be sending, and would see a reset of
// what it had not read.
type withoutDeadlines struct{ net.Conn }

func (withoutDeadlines) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (withoutDeadlines) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (withoutDeadlines) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

func TestAShutdownAwaitsThePeersEndOnAConnWithoutDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 16)
		near, far := libnettest.Pipe()
		s := testkit.Adopt(t, srv, withoutDeadlines{near})
		testkit.MustSend(t, s, []byte("news"))
		const work = 300 * time.Millisecond
		go func() {
			_, _ = io.ReadAll(far)
			time.Sleep(work)
			_, _ = far.Write(testkit.Frame("thanks"))
			_ = far.Close()
		}()
		begun := time.Now()
		testkit.CheckErr(t, "Shutdown", s.Shutdown(t.Context()), nil)
		if took, dropped := time.Since(begun), s.Stats().Dropped; took != work || dropped == 0 {
			t.Errorf("it took %v, and dropped %d bytes; the peer ended after %v", took, dropped, work)
		}
	})
}

// Behind the last message of a session over TLS comes close_notify, which finds no room where the peer reads nothing. A
// Unix socket bounds writes rather than bytes, so that as many messages as it takes of one peer fill it for the next.
func TestAShutdownOverTLSTakesNoLongerThanLingerForItsCloseNotify(t *testing.T) {
	testkit.Slow(t)
	for name, layered := range map[string]bool{"the server's TLS": false, "a listener's TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const linger = 100 * time.Millisecond
			listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
			if err != nil {
				t.Fatal(err)
			}
			config := testkit.ServerTLS()
			made := make(chan *libnet.Session, 1)
			accepting := listener
			if layered {
				accepting, config = tls.NewListener(listener, config), nil
			}
			srv := libnet.NewServer(accepting, testkit.Frames, 8)
			srv.TLSConfig, srv.Linger = config, linger
			t.Cleanup(srv.Stop)
			go func() {
				_ = srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
					_, _ = s.TLS() // which does the handshake
					made <- s
					<-s.Done()
				}))
			}()
			fill := func(most int) (*libnet.Session, int) {
				mutePeer(t, listener)
				s := <-made
				return s, sendUntilStuck(t, s, most)
			}
			_, most := fill(10_000)
			s, taken := fill(most)
			begun := time.Now()
			err = s.Shutdown(t.Context())
			if took := time.Since(begun); taken != most || err != nil || took > linger+4*time.Second { // it was five
				t.Errorf("behind %d messages of %d Shutdown took %v: %v", taken, most, took, err)
			}
		})
	}
}

// mutePeer does the handshake of TLS, and reads nothing more.
func mutePeer(t *testing.T, listener net.Listener) {
	t.Helper()
	conn, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client := tls.Client(conn, testkit.AnyTLS())
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := testkit.Await(t, testkit.Patience, "the handshake", done); err != nil {
		t.Fatal(err)
	}
}

// sendUntilStuck sends up to n messages, each in a write of its own, until the kernel takes no more.
func sendUntilStuck(t *testing.T, s *libnet.Session, n int) (taken int) {
	t.Helper()
	for taken < n {
		if err := s.Send(make([]byte, 8<<10)); err != nil {
			t.Fatal(err)
		}
		for begun := time.Now(); s.Stats().Queued > 0; time.Sleep(20 * time.Microsecond) {
			if time.Since(begun) > time.Second { // not only a machine that is busy
				return taken
			}
		}
		taken++
	}
	return taken
}
