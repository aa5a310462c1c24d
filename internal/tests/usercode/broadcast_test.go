package usercode

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// A member's own codec that blocks, or a logger, does not hold a broadcast.
func TestABroadcastDoesNotWaitForAMembersCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		bad := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			return &testkit.FuncCodec{OnSend: func(any) error { <-release; return nil }}
		})
		srv := testkit.NewServer(t, bad, 8)
		near, _ := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, srv, near)
		s.Codec()
		done := make(chan struct{})
		go func() { defer close(done); srv.Manager().Broadcast([]byte("x")) }()
		testkit.Await(t, 3*time.Second, "Broadcast", done)
	})
}

func TestABroadcastDoesNotWaitForALogger(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	srv := libnet.NewServer(libnettest.NewListener(), codec.New(codec.Uint16BE, codec.Bytes), 8)
	srv.Logger = slog.New(scriptedLogger{func(slog.Record) { <-release }})
	near, _ := testkit.ConnectPipe(t)
	s, err := srv.NewSession(near)
	if err != nil {
		t.Fatal(err)
	}
	s.Codec()
	done := make(chan struct{})
	go func() { defer close(done); srv.Manager().Broadcast(struct{}{}) }() // cannot be encoded
	testkit.Await(t, 3*time.Second, "Broadcast", done)
}

// The codec of a member panics over the message, and its conn's Close takes its time: the broadcast goes on.
func TestABroadcastDoesNotWaitForTheEndOfAMemberWhoseCodecPanics(t *testing.T) {
	release := make(chan struct{})
	bad := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return &testkit.FuncCodec{OnSend: func(any) error { panic("as asked") }}
	})
	srv := testkit.NewServer(t, bad, 8)
	near, _ := testkit.ConnectPipe(t)
	s := testkit.Adopt(t, srv, &scriptedConn{Conn: near, close: func() error { <-release; return near.Close() }})
	s.Codec()
	var group libnet.Group[int]
	group.Put(1, s)
	done := make(chan struct{})
	go func() { defer close(done); group.Broadcast([]byte("x")) }()
	select {
	case <-done:
		close(release)
	case <-time.After(3 * time.Second):
		t.Error("Broadcast waits for the conn's Close")
		close(release)
		<-done
	}
}

// CloseSession is for a queue that is full: a codec that is being made, or at work on another message, ends nobody.
func TestABroadcastEndsNoSessionWhoseQueueHasRoom(t *testing.T) {
	t.Run("the codec is being made", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := testkit.NewServer(t, helloProtocol(testkit.Frames), 64)
			srv.OnFull = libnet.CloseSession
			near, _ := testkit.ConnectPipe(t)
			s := testkit.Adopt(t, srv, near)
			result := srv.Manager().Broadcast([]byte("x"))
			time.Sleep(50 * time.Millisecond)
			if s.IsClosed() {
				t.Errorf("%+v, %v", result, s.Err())
			}
		})
	})
	t.Run("the codec is at work", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				return &testkit.FuncCodec{OnSend: func(msg any) error {
					time.Sleep(300 * time.Millisecond)
					_, err := rw.Write(msg.([]byte))
					return err
				}}
			})
			srv := testkit.NewServer(t, p, 64)
			srv.OnFull = libnet.CloseSession
			near, _ := testkit.ConnectPipe(t)
			s := testkit.Adopt(t, srv, near)
			s.Codec()
			go s.Send([]byte("slow"))
			time.Sleep(50 * time.Millisecond)
			result := srv.Manager().Broadcast([]byte("x"))
			time.Sleep(50 * time.Millisecond)
			if s.IsClosed() {
				t.Errorf("%+v, %v", result, s.Err())
			}
			time.Sleep(time.Second) // the codec returns
		})
	})
	t.Run("Send, the codec is at work", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				return &testkit.FuncCodec{OnSend: func(msg any) error {
					time.Sleep(500 * time.Millisecond)
					_, err := rw.Write(msg.([]byte))
					return err
				}}
			})
			srv := testkit.NewServer(t, p, 64)
			srv.OnFull, srv.WriteTimeout = libnet.CloseSession, 100*time.Millisecond
			near, _ := testkit.ConnectPipe(t)
			s := testkit.Adopt(t, srv, near)
			s.Codec()
			go s.Send([]byte("slow"))
			time.Sleep(50 * time.Millisecond)
			err := s.Send([]byte("x")) // "who waits for another's codec gets ErrSessionBlocked after Config.WriteTimeout"
			if !errors.Is(err, libnet.ErrSessionBlocked) || s.IsClosed() {
				t.Errorf("%v, %v", err, s.Err())
			}
			time.Sleep(time.Second) // the codec returns
		})
	})
}

type slowClose struct{ net.Conn }

func (c slowClose) Close() error {
	time.Sleep(500 * time.Millisecond)
	return c.Conn.Close()
}

// Members whose codec panics end; the broadcast does not wait for all their connections to close.
func TestABroadcastDoesNotWaitForTheEndsOfMembersWhoseCodecsPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), libnet.ProtocolFunc(func(io.ReadWriter) libnet.Codec {
			return &testkit.FuncCodec{OnSend: func(any) error { panic("bad") }}
		}), 8)
		srv.Logger = testkit.Quiet
		for range 50 {
			near, far := net.Pipe()
			defer far.Close()
			s, err := srv.NewSession(slowClose{near})
			if err != nil {
				t.Fatal(err)
			}
			s.Codec()
		}
		began := time.Now()
		r := srv.Manager().Broadcast([]byte("x"))
		if d := time.Since(began); d > 300*time.Millisecond {
			t.Errorf("Broadcast took %v: %+v", d, r)
		}
		srv.Stop()
		time.Sleep(5 * time.Second)
	})
}

func TestABroadcastWaitsForNoMember(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	hanging := libnet.ProtocolFunc(func(io.ReadWriter) libnet.Codec {
		return &testkit.FuncCodec{OnSend: func(any) error { <-release; return nil }}
	})
	plain := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return testkit.NewTwoWrites(rw) })
	for name, test := range map[string]struct {
		queue  int
		p      libnet.Protocol
		before func(*libnet.Session)
	}{
		"whose codec reads first":        {8, helloProtocol(testkit.Plain), func(*libnet.Session) {}},
		"that sends synchronously":       {0, testkit.Frames, func(s *libnet.Session) { go s.Send(make([]byte, 100)) }},
		"the same, with a plain codec":   {0, plain, func(s *libnet.Session) { go s.Send(make([]byte, 100)) }},
		"whose codec is at work, queued": {8, hanging, func(s *libnet.Session) { go s.Send("hang") }},
	} {
		t.Run(name, func(t *testing.T) {
			srv, ordinary := testkit.NewServer(t, test.p, test.queue), testkit.NewServer(t, testkit.Frames, 8)
			srv.WriteTimeout = time.Minute
			_, near := libnettest.PipeSize(10)
			s := testkit.Adopt(t, srv, near)
			near, far := testkit.ConnectPipe(t)
			go testkit.Drain(far)
			var group libnet.Group[int]
			group.Put(1, s)
			group.Put(2, testkit.Adopt(t, ordinary, near))
			test.before(s)
			time.Sleep(20 * time.Millisecond)
			testkit.Within(t, testkit.Patience, "Broadcast", func() {
				if result := group.Broadcast([]byte("x")); result.Sent == 0 {
					t.Errorf("%+v: the other member has not got it", result)
				}
			})
			_ = s.Close()
		})
	}
}

// Codecs that are slow, or do not return, are waited for together: the time does not grow with their number.
func TestABroadcastWaitsForSlowCodecsTogether(t *testing.T) {
	const members = 40
	for name, test := range map[string]struct {
		takes, within time.Duration
		want          libnet.BroadcastResult
	}{
		"a little":           {9 * time.Millisecond, 200 * time.Millisecond, libnet.BroadcastResult{Sent: members}},
		"more than a second": {1500 * time.Millisecond, 1700 * time.Millisecond, libnet.BroadcastResult{Sent: members}},
		"for ever":           {time.Hour, 2200 * time.Millisecond, libnet.BroadcastResult{Closed: members}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := libnet.NewServer(libnettest.NewListener(), libnet.ProtocolFunc(func(io.ReadWriter) libnet.Codec {
					return &testkit.FuncCodec{OnSend: func(any) error { time.Sleep(test.takes); return nil }}
				}), 8)
				srv.Logger = testkit.Quiet
				for range members {
					near, _ := testkit.ConnectPipe(t)
					s, err := srv.NewSession(near)
					if err != nil {
						t.Fatal(err)
					}
					s.Codec()
				}
				began := time.Now()
				result := srv.Manager().Broadcast("x")
				if took := time.Since(began); took > test.within || result != test.want {
					t.Errorf("%+v after %v, want %+v within %v", result, took, test.want, test.within)
				}
				srv.Stop()
				time.Sleep(2 * time.Hour) // the codecs return
			})
		})
	}
}
