package faults

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// wantPanic checks what a panic in a session must leave behind.
func wantPanic(r *testkit.Rig, s *libnet.Session, text string) {
	r.TB.Helper()
	r.WantClosed(s, libnet.ErrPanic)
	if r.Stats().Panics != 1 {
		r.TB.Errorf("%d panics counted, want 1", r.Stats().Panics)
	}
	lines := r.Logs.With("libnet: panic")
	if len(lines) != 1 || !strings.Contains(lines[0], "goroutine ") || !strings.Contains(lines[0], text) {
		r.TB.Errorf("want one line with a stack and %q, got %q", text, lines)
	}
	for _, line := range lines {
		if len(line) > 20<<10 {
			r.TB.Errorf("the stack's line has %d bytes", len(line))
		}
	}
}

func TestA12ACodecThatPanicsEndsOneSession(t *testing.T) {
	for _, pure := range []bool{false, true} {
		for name, provoke := range map[string]func(conn net.Conn, s *libnet.Session){
			"decode": func(conn net.Conn, s *libnet.Session) { _, _ = conn.Write(testkit.Frame(testkit.Bomb)) },
			"encode": func(conn net.Conn, s *libnet.Session) {
				if err := s.Send(testkit.Bomb); !errors.Is(err, libnet.ErrPanic) {
					t.Errorf("Send = %v, want ErrPanic", err)
				}
			},
			"broadcast": func(conn net.Conn, s *libnet.Session) {
				var group libnet.Group[int]
				group.Put(1, s)
				if result := group.Broadcast(testkit.Bomb); result.Closed != 1 {
					t.Errorf("Broadcast = %+v, want 1 closed", result)
				}
			},
		} {
			for _, queue := range []int{0, 8} {
				synctest.Test(t, func(t *testing.T) {
					r := testkit.ServeWith(t, testkit.BombProtocol(pure), func(srv *libnet.Server) { srv.SendQueue = queue }, testkit.EchoWhileThereIsRoom)
					other, _ := r.Open()
					conn, s := r.Open()
					testkit.Ask(t, conn, "before")
					synctest.Wait() // else the echo may still be under way, and have a synchronous session refuse a broadcast
					provoke(conn, s)
					synctest.Wait()
					wantPanic(r, s, "cannot")
					if lines := r.Logs.With("cannot"); !strings.Contains(strings.Join(lines, ""), "codec") {
						t.Errorf("%s, pure %v: the log does not blame the codec: %q", name, pure, lines)
					}
					testkit.Ask(t, other, "after")
				})
			}
		}
	}
}

func TestD72AHandlerThatPanicsEndsItsSessionOnly(t *testing.T) {
	var none map[string]int
	for text, panics := range map[string]func(){
		"a string":                   func() { panic("a string") },
		"an error":                   func() { panic(errors.New("an error")) },
		"assignment to entry in nil": func() { none["x"] = 1 },
		"index out of range":         func() { _ = make([]int, 0)[len(none)] },
		"deep":                       func() { deep(10_000) },
	} {
		synctest.Test(t, func(t *testing.T) {
			r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.SendQueue, srv.WriteTimeout = 8, -1 }, func(s *libnet.Session) {
				msg, _ := s.Receive()
				if string(msg) == "panic" {
					for range 8 { // more than the pipe holds: the queue is not empty
						_ = s.Send(make([]byte, 32<<10))
					}
					panics()
				}
				_ = s.Send(msg)
			})
			other, _ := r.Open()
			conn, s := r.Open()
			testkit.MustWrite(t, conn, testkit.Frame("panic"))
			synctest.Wait()
			wantPanic(r, s, text)
			if stats := s.Stats(); stats.Discarded == 0 || stats.Discarded+stats.MessagesOut != 8 || r.Stats().Open != 1 {
				t.Errorf("%+v; %d open", stats, r.Stats().Open)
			}
			testkit.Ask(t, other, "after")
		})
	}
}

func deep(n int) int {
	if n == 0 {
		panic("deep")
	}
	return deep(n-1) + 1
}

func TestD73ACloseCallbackThatPanicsKeepsNoneFromRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", nil, testkit.NeverReceive)
		_, s := r.Open()
		var group libnet.Group[int]
		group.Put(1, s)
		var ran []string
		s.OnClose(func() { ran = append(ran, "first") })
		s.OnClose(func() { panic("in a callback") })
		s.OnClose(func() { ran = append(ran, "last") })
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if len(ran) != 2 || group.Len() != 0 || r.Manager().Len() != 0 || r.Stats().Open != 0 {
			t.Errorf("ran %v; %d in the group, %d in the manager, %d open", ran, group.Len(), r.Manager().Len(), r.Stats().Open)
		}
		if lines := r.Logs.With("close callback"); len(lines) != 1 {
			t.Errorf("log: %q", lines)
		}
	})
}

func TestD74GoexitInAHandlerIsCleanedUpLikeAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", nil, func(*libnet.Session) { runtime.Goexit() })
		conn, s := r.Open()
		r.WantClosed(s, libnet.ErrSessionClosed)
		testkit.ReadToEnd(t, conn)
	})
}

func TestOtherUserCodeThatPanicsEndsOneSession(t *testing.T) {
	answer := func(s *libnet.Session) {
		if _, err := s.Receive(); err == nil {
			_ = s.Send("answer")
		}
	}
	run := func(t *testing.T, r *testkit.Rig) {
		conn := r.Dial()
		_, _ = conn.Write(testkit.Frame("question")) // the session may have ended
		time.Sleep(2 * time.Second)
		conn.Close()
		time.Sleep(time.Minute)
		stats := r.Stats()
		if stats.Open != 0 || stats.Accepted != 1 || len(stats.Closed) != 1 {
			t.Errorf("%+v", stats)
		}
		if n := len(r.Logs.With("stack=")); stats.Panics != 1 || n != 1 {
			t.Errorf("%d panics counted, %d stacks logged; want 1", stats.Panics, n)
		}
	}
	for name, configure := range map[string]func(*libnet.Server){
		"OnSession": func(srv *libnet.Server) {
			srv.OnSession = func(*libnet.Session) error { panic("no welcome") }
		},
		"heartbeat": func(srv *libnet.Server) {
			srv.Heartbeat = libnet.Heartbeat{Interval: time.Second, Message: func(*libnet.Session) any { panic("no heart") }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				run(t, testkit.ServeWith(t, testkit.Frames64K, configure, testkit.ReceiveToEnd))
			})
		})
	}
	t.Run("protocol", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			run(t, testkit.ServeWith(t, libnet.ProtocolFunc(func(io.ReadWriter) libnet.Codec { panic("no codec") }), nil, answer))
		})
	})
	for _, op := range []libnettest.Op{libnettest.OpRead, libnettest.OpWrite, libnettest.OpCloseWrite, libnettest.OpClose, libnettest.OpSetDeadline} {
		for _, queue := range []int{0, 8} {
			t.Run(fmt.Sprint(op, " with a queue of ", queue), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := testkit.ServeWith(t, testkit.Frames64K, func(srv *libnet.Server) { srv.SendQueue = queue }, answer)
					r.Faults = &libnettest.Faults{}
					r.Faults.Fail(op, 1, libnettest.Fault{Panic: "the connection's own"})
					run(t, r)
				})
			})
		}
	}
}

func TestAProtocolThatMakesNoCodecEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.ServeWith(t, libnet.ProtocolFunc(func(io.ReadWriter) libnet.Codec { return nil }), nil, testkit.ReceiveToEnd)
		conn := r.Dial()
		testkit.ReadToEnd(t, conn)
		synctest.Wait()
		if stats := r.Stats(); stats.Open != 0 || stats.Closed["panic"] != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestD72D74AMessageHandlerThatPanicsOrExitsEndsItsSessionOnly(t *testing.T) {
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", testkit.Frames64K, 8)
	if err != nil {
		t.Fatal(err)
	}
	logs := &testkit.Log{}
	srv.Logger = slog.New(logs)
	served := make(chan error, 1)
	go func() {
		served <- srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
			switch string(msg) {
			case "panic":
				panic("over a message")
			case "exit":
				runtime.Goexit()
			}
			_ = s.Send(msg)
		}))
	}()
	dial := func() net.Conn {
		conn, err := testkit.DialTCP(srv.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	others := make([]net.Conn, 8) // some for each poller
	for i := range others {
		others[i] = dial()
	}
	for _, bad := range []string{"panic", "exit", "exit", "panic"} {
		conn := dial()
		testkit.Ask(t, conn, "before")
		testkit.MustWrite(t, conn, testkit.Frame(bad))
		testkit.ReadToEnd(t, conn)
		for _, other := range others {
			testkit.Ask(t, other, "after "+bad)
		}
	}
	if lines := logs.With("libnet: panic"); len(lines) != 2 {
		t.Errorf("%d panics logged, want 2", len(lines))
	}
	srv.Stop()
	if stats := srv.Stats(); stats.Open != 0 || stats.Closed["panic"] != 2 || stats.Accepted != 12 {
		t.Errorf("%+v", stats)
	}
	<-served
}
