package eventmode

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// roundTrips has each conn asked again and again for d, and returns how long the answers took.
func roundTrips(t *testing.T, conns []net.Conn, d time.Duration) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for _, conn := range conns {
		wg.Go(func() {
			for time.Now().Before(end) {
				begin := time.Now()
				if _, err := conn.Write(testkit.Frame("ping")); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				if msg, err := testkit.ReadFrame(conn); err != nil || string(msg) != "ping" {
					t.Errorf("read %.32q, %v", msg, err)
					return
				}
				mu.Lock()
				all = append(all, time.Since(begin))
				mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all
}

// percentile99 returns the 99th percentile of sorted durations.
func percentile99(sorted []time.Duration) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)*99/100]
}

// Only the peer's end ends the handler's wait.
func TestAHandlerThatWaitsForDoneNoticesItsPeersEnd(t *testing.T) {
	testkit.Slow(t)
	for name, last := range map[string]string{"nothing follows": "", "a message follows": "second"} {
		t.Run(name, func(t *testing.T) {
			handled := make(chan error, 2)
			r := testkit.LoopModes[0].Start(t, nil, func(s *libnet.Session, msg []byte) {
				if string(msg) == "first" && last == "" {
					<-s.Done()
				} else if string(msg) == "first" {
					_ = s.Done()
					time.Sleep(5 * time.Second) // two looks
				}
				handled <- s.Err()
			})
			conn, _ := r.Open()
			testkit.MustWrite(t, conn, testkit.Frame("first"))
			if last != "" {
				testkit.MustWrite(t, conn, testkit.Frame(last))
			}
			_ = conn.Close()
			if last != "" {
				testkit.WantErr(t, "the first", testkit.Await(t, testkit.Patience, "the first", handled), nil)
				testkit.WantErr(t, "the second", testkit.Await(t, testkit.Patience, "the second", handled), nil)
				return
			}
			testkit.WantErr(t, "the reason", testkit.Await(t, testkit.Patience, "the end", handled), io.EOF)
		})
	}
}

// What a blocked handler's peer sends meanwhile is served behind it, in order, by whoever it is then.
func TestAHandlerThatBlocksDelaysOnlyItsOwnSession(t *testing.T) {
	const aWhile, behind = 500 * time.Millisecond, 20
	var mutex sync.Mutex
	var spinning atomic.Bool
	for name, block := range map[string]func(released <-chan struct{}){
		"in a sleep":   func(<-chan struct{}) { time.Sleep(aWhile) },
		"at a channel": func(released <-chan struct{}) { <-released },
		"at a mutex":   func(<-chan struct{}) { mutex.Lock(); defer mutex.Unlock() },
		"in a loop": func(<-chan struct{}) {
			for spinning.Load() {
			}
		},
		"in a fleet of 8": func(released <-chan struct{}) { <-released },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.OverModes(t, testkit.LoopModes, func(t *testing.T, mode testkit.Mode) {
				released := make(chan struct{})
				var inside atomic.Int32
				r := mode.Start(t, nil, func(s *libnet.Session, msg []byte) {
					switch string(msg) {
					case "ping":
					case "block":
						inside.Add(1)
						block(released)
					default:
						_, s.State = testkit.ParseMessage(t, msg)
					}
					_ = s.Send(msg)
				})
				blockers, others := r.DialMany(1), r.DialMany(20)
				if name == "in a fleet of 8" {
					blockers = r.DialMany(8)
				}
				roundTrips(t, others, aWhile/20) // both pollers know them all
				mutex.Lock()
				spinning.Store(true)
				for _, conn := range blockers {
					testkit.MustWrite(t, conn, testkit.Frame("block"))
				}
				testkit.Eventually(t, "the handlers", func() bool { return int(inside.Load()) == len(blockers) })
				for _, conn := range blockers {
					for i := range behind {
						testkit.MustWrite(t, conn, testkit.Frame(string(testkit.Message(1, i, 10))))
					}
				}
				p99 := aWhile
				for range 4 { // a busy machine is slow at times, a blocked poller all the time
					p99 = min(p99, percentile99(roundTrips(t, others, aWhile/10)))
				}
				if p99 > 100*time.Millisecond {
					t.Errorf("behind a blocked handler the others' p99 is %v", p99)
				}
				close(released)
				mutex.Unlock()
				spinning.Store(false)
				for _, conn := range blockers {
					testkit.WantFrame(t, conn, "block")
					for i := range behind {
						testkit.WantFrame(t, conn, string(testkit.Message(1, i, 10)))
					}
				}
			})
		})
	}
}

func TestHandlersThatBlockOftenGetGoroutinesOfTheirOwnUntilNoneDoes(t *testing.T) {
	testkit.OverModesAtOnce(t, testkit.LoopModes, func(t *testing.T, mode testkit.Mode) {
		r := mode.Start(t, nil, func(s *libnet.Session, msg []byte) {
			switch string(msg) {
			case "ping":
			case "block":
				time.Sleep(20 * time.Millisecond)
			case "alone?":
				if bytes.Contains(debug.Stack(), []byte("serveDetached")) {
					msg = []byte("yes")
				} else {
					msg = []byte("no")
				}
			}
			_ = s.Send(msg)
		})
		probe := r.Dial()
		alone := func() string {
			testkit.MustWrite(t, probe, testkit.Frame("alone?"))
			answer, err := testkit.ReadFrame(probe)
			if err != nil {
				t.Fatal(err)
			}
			return string(answer)
		}
		for _, conn := range r.DialMany(8) {
			go func() { // until the server stops
				for {
					if _, err := conn.Write(testkit.Frame("block")); err != nil {
						return
					}
					if _, err := testkit.ReadFrame(conn); err != nil || r.Stats().MessagesIn > 400 {
						_ = conn.Close()
						return
					}
				}
			}()
		}
		testkit.Eventually(t, "a goroutine a message", func() bool { return alone() == "yes" })
		testkit.Eventually(t, "the end of it", func() bool {
			time.Sleep(10 * time.Millisecond)
			return alone() == "no"
		})
	})
}

func TestAHandlerThatNeverReturnsDoesNotKeepTheServer(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *testkit.Rig){
		"Stop": func(_ *testing.T, r *testkit.Rig) { r.Stop() },
		"Shutdown": func(t *testing.T, r *testkit.Rig) {
			begun := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			var cut *libnet.ShutdownError
			if err := r.Shutdown(ctx); err != nil && !errors.As(err, &cut) || time.Since(begun) > testkit.Patience/2 {
				t.Errorf("Shutdown = %v after %v", err, time.Since(begun))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.OverModesAtOnce(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
				forEver := make(chan struct{})
				defer close(forEver) // the test is not to leave goroutines
				entered := make(chan struct{}, 3)
				r := mode.Start(t, nil, func(s *libnet.Session, msg []byte) {
					entered <- struct{}{}
					<-forEver
				})
				for _, conn := range r.DialMany(3) {
					testkit.MustWrite(t, conn, append(testkit.Frame("never"), testkit.Frame("answered")...))
					testkit.Await(t, testkit.Patience, "the handler", entered)
				}
				testkit.Within(t, testkit.Patience, name, func() { end(t, r) })
				testkit.Eventually(t, "the sessions' end", func() bool { return r.Stats().Open == 0 })
			})
		})
	}
}

func TestAPeerThatSendsWithoutPauseStarvesNobody(t *testing.T) {
	testkit.OverModes(t, testkit.LoopModes, func(t *testing.T, mode testkit.Mode) {
		var floods atomic.Int64
		r := mode.Start(t, nil, func(s *libnet.Session, msg []byte) {
			if string(msg) == "ping" {
				_ = s.Send(msg)
			} else {
				floods.Add(1)
			}
		})
		many := bytes.Repeat(testkit.Frame("flood"), 10_000)
		for _, conn := range r.DialMany(2) {
			go func() { // until the test closes it
				for {
					if _, err := conn.Write(many); err != nil {
						return
					}
				}
			}()
		}
		testkit.Eventually(t, "the flood", func() bool { return floods.Load() > 100_000 })
		const others = 50
		trips := roundTrips(t, r.DialMany(others), 300*time.Millisecond)
		if p99 := percentile99(trips); len(trips) < others || p99 > 2*time.Second {
			t.Errorf("beside a flood: %d round trips, p99 %v", len(trips), p99)
		}
	})
}

// inTurn has who accepts take turns: package net lets the same one have nearly all, on one processor.
type inTurn struct {
	net.Listener
	conns chan net.Conn // those who wait at a channel are served in their order
}

func (l inTurn) pass() {
	defer close(l.conns)
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return
		}
		l.conns <- conn
	}
}

func (l inTurn) Accept() (net.Conn, error) {
	if conn, ok := <-l.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func TestAServerServesInSeveralWaysAtATime(t *testing.T) {
	libnettest.VerifyNone(t)
	l := inTurn{testkit.Listen(t, "tcp"), make(chan net.Conn)}
	go l.pass()
	srv := libnet.NewServer(l, testkit.Frames, 64)
	srv.Logger = testkit.Quiet
	var calls [3]atomic.Int64
	served := make(chan error, len(calls))
	count := func(i int) libnet.MessageHandlerFunc {
		return func(s *libnet.Session, msg []byte) {
			calls[i].Add(1)
			_ = s.Send(msg)
		}
	}
	go func() { served <- srv.ServeMessages(count(0)) }()
	go func() { served <- srv.ServeMessages(count(1)) }()
	go func() { served <- testkit.ReceiveLoop(srv, count(2)) }()
	var all int64
	r := &testkit.Rig{Server: srv, TB: t}
	for i := 0; calls[0].Load() == 0 || calls[1].Load() == 0 || calls[2].Load() == 0; i++ {
		conn := r.Dial()
		testkit.Ask(t, conn, string(binary.AppendUvarint(nil, uint64(i))))
		all++
		if i > 5000 {
			t.Fatalf("calls: %d, %d, %d", calls[0].Load(), calls[1].Load(), calls[2].Load())
		}
		_ = conn.Close()
	}
	if sum := calls[0].Load() + calls[1].Load() + calls[2].Load(); sum != all {
		t.Errorf("%d calls for %d messages", sum, all)
	}
	srv.Stop()
	for range cap(served) {
		testkit.WantErr(t, "serving", testkit.Await(t, testkit.Patience, "the end", served), libnet.ErrServerClosed)
	}
	testkit.WantErr(t, "ServeMessages after Stop", srv.ServeMessages(count(0)), libnet.ErrServerClosed)
}
