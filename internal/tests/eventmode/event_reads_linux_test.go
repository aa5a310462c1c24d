package eventmode

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// eventInbox is a handler that passes on what it is called with.
func eventInbox() (libnet.MessageHandlerFunc, <-chan string) {
	got := make(chan string, 16)
	return func(_ *libnet.Session, msg []byte) { got <- string(msg) }, got
}

func eventServed(t *testing.T, got <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		if msg := testkit.Await(t, testkit.Patience, "message "+w, got); msg != w {
			t.Fatalf("served %q; want %q", msg, w)
		}
	}
}

// A read of a Unix socket ends where descriptors were passed, though there is more.
func TestEventModeReadsOnBehindPassedDescriptors(t *testing.T) {
	handler, got := eventInbox()
	r := testkit.Modes[2].Start(t, nil, handler)
	conn := r.Dial().(*net.UnixConn)
	pass := func(msg string) {
		t.Helper()
		if _, _, err := conn.WriteMsgUnix(testkit.Frame(msg), syscall.UnixRights(0, 1, 2), nil); err != nil {
			t.Fatal(err)
		}
	}
	pass("so that what is made once exists")
	eventServed(t, got, "so that what is made once exists")
	before := eventDescriptors(t)
	for range 100 {
		pass("one")
		testkit.MustWrite(t, conn, testkit.Frame("two"))
		eventServed(t, got, "one", "two")
	}
	if after := eventDescriptors(t); after > before {
		t.Errorf("%d descriptors more than before: those that were passed stay open", after-before)
	}
}

// A read of a TCP socket ends where urgent data lie, though there is more.
func TestEventModeReadsOnBehindUrgentData(t *testing.T) {
	testkit.OverModes(t, testkit.Modes[:3], func(t *testing.T, mode testkit.Mode) {
		handler, got := eventInbox()
		r := mode.Start(t, nil, handler)
		conn := r.Dial()
		for range 100 {
			testkit.MustWrite(t, conn, testkit.Frame("one"))
			eventUrgent(t, conn)
			testkit.MustWrite(t, conn, testkit.Frame("two"))
			eventServed(t, got, "one", "two")
		}
		testkit.MustWrite(t, conn, append(testkit.Frame("three"), testkit.Frame("four")[:3]...)) // the mark lies in a frame
		eventUrgent(t, conn)
		testkit.MustWrite(t, conn, testkit.Frame("four")[3:])
		eventServed(t, got, "three", "four")
	})
}

// eventUrgent sends a byte that is no part of the stream.
func eventUrgent(t *testing.T, conn net.Conn) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if ctlErr := raw.Control(func(fd uintptr) { err = syscall.Sendto(int(fd), []byte("!"), syscall.MSG_OOB, nil) }); ctlErr != nil {
		t.Fatal(ctlErr)
	}
	if err == syscall.EOPNOTSUPP {
		t.Skip("a kernel without urgent data of Unix sockets")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnIdleTimeoutEndsASilentSessionBehindUrgentData(t *testing.T) {
	testkit.OverModes(t, testkit.Modes[:2], func(t *testing.T, mode testkit.Mode) {
		handler, got := eventInbox()
		r := mode.Start(t, func(srv *libnet.Server) { srv.IdleTimeout = 300 * time.Millisecond }, handler)
		conn := r.Dial()
		testkit.MustWrite(t, conn, testkit.Frame("one"))
		eventUrgent(t, conn)
		testkit.MustWrite(t, conn, testkit.Frame("two"))
		eventServed(t, got, "one", "two")
		r.WantClosed(<-r.Sessions, libnet.ErrIdleTimeout)
	})
}

// A dupListener keeps a duplicate of each descriptor that it accepts, as code does that sets options or watches
// sockets. The first is blocking before the session is made: os.File.Fd takes the mode away from all duplicates.
type dupListener struct {
	net.Listener
	dups chan *os.File
}

func (l *dupListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	dup, err := conn.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, err
	}
	_ = dup.Fd()
	l.dups <- dup
	return conn, nil
}

// inAChild runs the calling test by itself in a process of its own, because what it tests could stop that for good, and
// returns true there.
func inAChild(t *testing.T) bool {
	t.Helper()
	const env = "LIBNET_TEST_CHILD"
	if os.Getenv(env) == t.Name() {
		return true
	}
	ctx := testkit.TimeoutContext(t, 2*testkit.Patience)
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), env+"="+t.Name())
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v, %v\n%.4000s", err, ctx.Err(), out)
	}
	return false
}

func TestASocketThatIsMadeBlockingHoldsNobodyUp(t *testing.T) {
	if !inAChild(t) {
		return
	}
	testkit.OverModes(t, testkit.Modes[:4], func(t *testing.T, mode testkit.Mode) {
		dups := make(chan *os.File, 1)
		mode.Wrap = func(l net.Listener) net.Listener { return &dupListener{l, dups} }
		r := mode.Start(t, nil, testkit.EchoMessage)
		conn, s := r.Open()
		dup := <-dups
		defer dup.Close()
		waits := func() {
			testkit.Ask(t, conn, "x")
			time.Sleep(5 * time.Millisecond)
			testkit.Within(t, testkit.Patience, "a collection while the session waits", runtime.GC)
		}
		waits()
		if mode.Network != "tls" { // whose reads are package net's
			_ = syscall.SetNonblock(int(dup.Fd()), false)
			waits()
			waits()
		}
		testkit.Within(t, testkit.Patience, "Close", func() { _ = s.Close() })
	})
}

// A write that waits is bounded by WriteTimeout, and a shutdown by Linger, whatever mode somebody gave the descriptor.
func TestASocketThatIsMadeBlockingKeepsItsTimeouts(t *testing.T) {
	if !inAChild(t) {
		return
	}
	testkit.OverModes(t, testkit.Modes[:3], func(t *testing.T, mode testkit.Mode) {
		dups := make(chan *os.File, 2)
		mode.Wrap = func(l net.Listener) net.Listener { return &dupListener{l, dups} }
		r := mode.Start(t, func(srv *libnet.Server) {
			srv.SendBuffer, srv.WriteTimeout, srv.Linger, srv.SendQueueBytes = 8<<10, 100*time.Millisecond, 100*time.Millisecond, 64<<20
		}, func(s *libnet.Session, msg []byte) {
			for range 64 {
				_ = s.Send(make([]byte, 64<<10))
			}
		})
		_, quiet := r.Open()
		conn, flooded := r.Open()
		for range 2 {
			dup := <-dups
			defer dup.Close()
			_ = syscall.SetNonblock(int(dup.Fd()), false)
		}
		testkit.MustWrite(t, conn, testkit.Frame("flood"))
		r.WantClosed(flooded, libnet.ErrWriteTimeout)
		testkit.Within(t, testkit.Patience, "Shutdown", func() { _ = quiet.Shutdown(t.Context()) })
	})
}

// A Close that comes while the handler works through what has arrived: what the handler was given counts as received,
// the rest as dropped, and it gets no message after that.
func TestACloseDuringAHandlerCountsWhatWasHandled(t *testing.T) {
	const messages = 200
	burst := bytes.Repeat(testkit.Frame("a message"), messages)
	size := uint64(len(burst)) / messages
	testkit.OverModes(t, testkit.LoopModes[:2], func(t *testing.T, mode testkit.Mode) {
		closing, goOn := make(chan *libnet.Session), make(chan struct{})
		var handled, closeAt atomic.Uint64
		r := mode.Start(t, nil, func(s *libnet.Session, msg []byte) {
			if handled.Add(1) == closeAt.Load() {
				closing <- s
				<-goOn
			}
		})
		for _, at := range []uint64{1, 2, 50, messages - 1, messages} {
			handled.Store(0)
			closeAt.Store(at)
			conn := r.Dial()
			testkit.MustWrite(t, conn, burst)
			s := testkit.Await(t, testkit.Patience, "the message", closing)
			_ = s.Close()
			if got := s.Stats(); got.MessagesIn != at || got.Dropped != (messages-at)*size {
				t.Errorf("closed at message %d, of %d bytes: %+v", at, size, got)
			}
			final := s.Stats()
			goOn <- struct{}{}
			testkit.Eventually(t, "the end of the handler", func() bool { return r.Stats().Open == 0 })
			_ = conn.Close()
			time.Sleep(time.Millisecond)
			if s.Stats() != final || handled.Load() != at {
				t.Errorf("closed at message %d: handled %d, %+v after %+v", at, handled.Load(), s.Stats(), final)
			}
		}
	})
}

// The same for a Close that meets the handler anywhere.
func TestACloseBesideAHandlerCountsWhatWasHandled(t *testing.T) {
	burst := bytes.Repeat(testkit.Frame("a message"), 200)
	testkit.OverModes(t, testkit.LoopModes, func(t *testing.T, mode testkit.Mode) {
		begun := make(chan *libnet.Session, 1)
		r := mode.Start(t, func(srv *libnet.Server) {
			srv.OnSession = func(s *libnet.Session) error { s.State = new(atomic.Uint64); return nil }
		}, func(s *libnet.Session, msg []byte) {
			if s.State.(*atomic.Uint64).Add(1) == 1 {
				begun <- s
			}
			runtime.Gosched()
		})
		for i := range 300 {
			conn := r.Dial()
			testkit.MustWrite(t, conn, burst)
			s := testkit.Await(t, testkit.Patience, "the first message", begun)
			for range i % 50 {
				runtime.Gosched()
			}
			_ = s.Close()
			in := s.Stats().MessagesIn
			handled := s.State.(*atomic.Uint64)
			testkit.Eventually(t, "the handler's last message", func() bool { return handled.Load() >= in }) // which it is about to see
			time.Sleep(100 * time.Microsecond)
			if got := handled.Load(); in != got {
				t.Fatalf("run %d: handled %d messages, counted %d", i, got, in)
			}
			_ = conn.Close()
		}
	})
}
