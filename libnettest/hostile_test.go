package libnettest_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
	"weak"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestListenerForgetsWhatItHasHandedOut(t *testing.T) {
	listener := libnettest.NewListener()
	defer listener.Close()
	conn := weak.Make(func() *libnettest.PipeConn {
		accepted, _ := libnettest.Pipe()
		listener.Push(accepted, nil)
		listener.Push(nil, syscall.EMFILE) // keeps the queue
		got, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return got.(*libnettest.PipeConn)
	}())
	for range 10 {
		if runtime.GC(); conn.Value() == nil {
			return
		}
	}
	t.Error("a conn that was accepted, and of which nobody else knows, is still there")
}

func TestListenerClosesWithATypedNilInItsQueue(t *testing.T) {
	listener := libnettest.NewListener()
	listener.Push((*libnettest.PipeConn)(nil), nil)
	listener.Push(nil, nil)
	waiting, err := listener.Dial()
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
	wantReadError(t, waiting, syscall.ECONNRESET)
}

func TestPipeOfAnySizeCarriesBytes(t *testing.T) {
	for _, size := range []int{math.MinInt, -1, 0, 1, 2, math.MaxInt - 1, math.MaxInt} {
		inBubble(t, func(t *testing.T) {
			a, b := pipe(t, size)
			go func() {
				mustWrite(t, a, "many bytes")
				_ = a.Close()
			}()
			if got, err := io.ReadAll(b); string(got) != "many bytes" || err != nil {
				t.Errorf("of size %d: read %q, %v", size, got, err)
			}
		})
	}
}

func TestPipeGivesBackTheMemoryOfABurst(t *testing.T) {
	const burst = 64 << 20
	a, b := pipe(t, burst)
	held := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := held()
	for range burst >> 20 {
		if _, err := a.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.CopyN(io.Discard, b, burst); err != nil {
		t.Fatal(err)
	}
	if after := held(); after > before+burst/4 {
		t.Errorf("an empty pipe holds %d bytes", after-before)
	}
	mustWrite(t, a, "works")
	mustRead(t, b, "works")
}

func TestPipeDeadlinesAtTheEdgesOfTime(t *testing.T) {
	farthest := time.Now().Add(math.MaxInt64)
	for name, test := range map[string]struct {
		deadline time.Time
		expires  bool
	}{
		"the zero time":        {time.Time{}, false},
		"the zero Unix time":   {time.Unix(0, 0), true},
		"before the zero time": {time.Time{}.Add(-time.Hour), true},
		"now":                  {time.Now(), true},
		"the farthest":         {farthest, false},
		"the year 200000":      {time.Date(200_000, 1, 1, 0, 0, 0, 0, time.UTC), false},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pipe(t, 1)
			faults := &libnettest.Faults{}
			for _, conn := range []net.Conn{a, faults.Wrap(a)} {
				if err := conn.SetDeadline(test.deadline); err != nil {
					t.Fatal(err)
				}
				_, err := conn.Write([]byte("x"))
				if errors.Is(err, os.ErrDeadlineExceeded) != test.expires || !test.expires && err != nil {
					t.Errorf("Write: %v", err)
				}
				if !test.expires {
					mustRead(t, b, "x")
				}
			}
		})
	}
}

func TestPipeIsClosedOnceWhoeverCloses(t *testing.T) {
	a, b := pipe(t, 16)
	mustWrite(t, a, "rest")
	const goroutines = 8
	errs := make(chan error, goroutines)
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() { errs <- a.Close() })
	}
	wg.Wait()
	close(errs)
	succeeded := 0
	for err := range errs {
		switch {
		case err == nil:
			succeeded++
		case !errors.Is(err, net.ErrClosed):
			t.Errorf("Close: %v", err)
		}
	}
	if succeeded != 1 {
		t.Errorf("Close succeeded %d times", succeeded)
	}
	if err := a.Reset(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Reset of a closed end: %v", err)
	}
	mustRead(t, b, "rest") // a reset that came too late has lost nothing
	wantReadError(t, b, io.EOF)
	wantWriteError(t, b, syscall.EPIPE)
}

func TestPipeHalfCloseIsDoneOnceAndLeavesTheOtherHalf(t *testing.T) {
	a, b := pipe(t, 16)
	for range 2 {
		if err := a.CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
	}
	wantReadError(t, b, io.EOF)
	mustWrite(t, b, "answer")
	if err := b.Reset(); err != nil {
		t.Error(err)
	}
	wantReadError(t, a, syscall.ECONNRESET)
	if err := a.Close(); err != nil {
		t.Errorf("Close after the peer's reset: %v", err)
	}
}

func TestFaultsRefuseWhatCanNeverHappen(t *testing.T) {
	for name, fail := range map[string]func(f *libnettest.Faults){
		"no such op":             func(f *libnettest.Faults) { f.Fail(libnettest.OpSetDeadline+1, 1, libnettest.Fault{}) },
		"a negative op":          func(f *libnettest.Faults) { f.Fail(-1, 1, libnettest.Fault{}) },
		"call 0":                 func(f *libnettest.Faults) { f.Fail(libnettest.OpRead, 0, libnettest.Fault{}) },
		"a negative call":        func(f *libnettest.Faults) { f.Fail(libnettest.OpRead, math.MinInt, libnettest.Fault{}) },
		"fewer than no bytes":    func(f *libnettest.Faults) { f.Fail(libnettest.OpWrite, 1, libnettest.Fault{N: -1}) },
		"bytes of a Close":       func(f *libnettest.Faults) { f.Fail(libnettest.OpClose, 1, libnettest.Fault{N: 1}) },
		"a deadline that blocks": func(f *libnettest.Faults) { f.Fail(libnettest.OpSetDeadline, 1, libnettest.Fault{Block: true}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was accepted", name)
				}
			}()
			fail(new(libnettest.Faults))
		}()
	}
}

func TestFaultConnMovesNoMoreThanItWasAskedFor(t *testing.T) {
	a, b := pipe(t, 16)
	var faults libnettest.Faults
	faults.Fail(libnettest.OpWrite, 1, libnettest.Fault{N: math.MaxInt, Err: errFault})
	faults.Fail(libnettest.OpRead, math.MaxInt, libnettest.Fault{N: math.MaxInt, Err: errFault})
	conn := faults.Wrap(a)
	if n, err := conn.Write([]byte("all")); n != 3 || err != errFault {
		t.Errorf("Write = %d, %v", n, err)
	}
	mustRead(t, b, "all")
	mustWrite(t, b, "back")
	mustRead(t, conn, "back")
}

func TestFaultConnMayBeClosedBySeveralGoroutines(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, _ := pipe(t, 16)
		var faults libnettest.Faults
		faults.Fail(libnettest.OpRead, 1, libnettest.Fault{Block: true})
		conn := faults.Wrap(a)
		var wg sync.WaitGroup
		wg.Go(func() { wantReadError(t, conn, net.ErrClosed) })
		for range 4 {
			wg.Go(func() {
				if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
					t.Errorf("Close: %v", err)
				}
				_ = conn.SetDeadline(time.Now().Add(time.Hour)) // must not start a timer
			})
		}
		wg.Wait()
		if n := faults.Calls(libnettest.OpClose); n != 4 {
			t.Error(fmt.Sprint(n, " calls of Close"))
		}
	})
}

// A roundError wraps itself.
type roundError struct{}

func (roundError) Error() string   { return "test: round" }
func (e roundError) Unwrap() error { return e }

func TestAnErrorThatWrapsItselfHoldsNothingUp(t *testing.T) {
	if name := (libnettest.Fault{Err: fmt.Errorf("wrapped: %w", roundError{})}).String(); name != "test: round" {
		t.Errorf("a fault's name is %q", name)
	}
	r := recordInBubble(t, func(tb testing.TB) {
		srv := libnet.NewServer(libnettest.NewListener(), codec.New(codec.Lines, codec.Bytes), 4)
		srv.Logger = testkit.Quiet
		client := libnettest.Serve(tb, srv, libnet.HandlerFunc(func(s *libnet.Session) { _ = s.CloseWithError(roundError{}) })).Dial()
		_, _ = client.Receive()
	})
	if r.failed {
		t.Error(r.output.String())
	}
	wantCaught(t, "a write that fails", "does not wrap the writer's error", mutated(func(c *parts) {
		c.send = func(msg any) error {
			if err := c.soundSend(msg); err != nil {
				return roundError{}
			}
			return nil
		}
	}), mutantMessages()...)
}
