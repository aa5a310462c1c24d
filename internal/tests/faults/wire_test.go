package faults

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestA1AnImpossibleLengthEndsTheSessionBeforeItCostsMemory(t *testing.T) {
	const most = 64 << 10 // what a session, its end and its log line may allocate; the lengths claim up to 4 GiB
	r := testkit.Serve(t, "pipe", nil, testkit.ReceiveToEnd)
	for _, header := range []string{"\x00\x01\x00\x01", "\x7f\xff\xff\xff", "\x80\x00\x00\x00", "\xff\xff\xff\xff"} {
		conn, s := r.Open()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		testkit.MustWrite(t, conn, []byte(header))
		r.WantClosed(s, libnet.ErrFrameTooLarge)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > most {
			t.Errorf("header %x cost %d bytes, want at most %d", header, grown, most)
		}
		if got := testkit.ReadToEnd(t, conn); len(got) > 0 {
			t.Errorf("header %x was answered with %q", header, got)
		}
	}
	testkit.Eventually(t, "all four to be counted", func() bool { return r.Stats().Closed["frame_too_large"] == 4 })
}

func TestA2AClaimedLengthTakesNoMemoryUntilBytesArrive(t *testing.T) {
	n := testkit.Size(200, 1000)
	r := testkit.Serve(t, "tcp", func(srv *libnet.Server) { srv.FrameTimeout = 2 * time.Second }, testkit.ReceiveToEnd)
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i], _ = r.Open()
	}
	var before, after runtime.MemStats
	testkit.ReadMemory(&before)
	for _, conn := range conns {
		testkit.MustWrite(t, conn, []byte("\x00\x01\x00\x00x")) // 64 KiB, of which one byte comes
	}
	testkit.Eventually(t, "the bytes to be read", func() bool { return r.Stats().BytesIn == uint64(5*n) })
	testkit.ReadMemory(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > int64(n)*8<<10 {
		t.Errorf("%d begun frames hold %d bytes, want at most 8 KiB each", n, grown)
	}
	testkit.Eventually(t, "the frames to time out", func() bool { return r.Stats().Closed["frame_timeout"] == uint64(n) })
}

func TestA3EmptyFramesAreMessagesAndDoNotStarveOthers(t *testing.T) {
	frames := testkit.Size(100_000, 1_000_000)
	var empty atomic.Int64
	r := testkit.Serve(t, "tcp", nil, func(s *libnet.Session) {
		for {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			if len(msg) == 0 {
				empty.Add(1)
			} else if s.Send(msg) != nil {
				return
			}
		}
	})
	flood, other := r.Dial(), r.Dial()
	go func() {
		zeros := make([]byte, testkit.HeaderSize*frames)
		_, _ = flood.Write(zeros) // it ends early only when the test has failed
	}()
	for empty.Load() < int64(frames) {
		_ = other.SetDeadline(time.Now().Add(soon))
		testkit.Ask(t, other, "still there?")
	}
	if n := empty.Load(); n != int64(frames) {
		t.Errorf("%d empty messages arrived, want %d", n, frames)
	}
}

// delivered runs one session on what feed writes, and returns the messages it received and how it ended.
func delivered(t *testing.T, feed func(conn net.Conn)) (messages []string, end error) {
	t.Helper()
	client, server := libnettest.Pipe()
	srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames64K, 8)
	srv.Logger = slog.New(slog.DiscardHandler)
	defer srv.Stop()
	s, err := srv.NewSession(server)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			var msg []byte
			if msg, end = s.Receive(); end != nil {
				return
			}
			messages = append(messages, string(msg))
		}
	}()
	feed(client)
	<-done
	client.Close()
	return messages, end
}

var stream = func() (stream []byte, messages []string) {
	messages = []string{"", "a", "hello", strings.Repeat("long", 8), "", "end"}
	for _, m := range messages {
		stream = append(stream, testkit.Frame(m)...)
	}
	return stream, messages
}

func TestA4AStreamSplitAnywhereGivesTheSameMessages(t *testing.T) {
	stream, want := stream()
	check := func(t *testing.T, cuts ...int) {
		t.Helper()
		got, end := delivered(t, func(conn net.Conn) {
			at := 0
			for _, cut := range append(cuts, len(stream)) {
				testkit.MustWrite(t, conn, stream[at:cut])
				synctest.Wait() // the session has read this piece and waits for the next
				at = cut
			}
			conn.Close()
		})
		if end != io.EOF || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("cut at %v: got %q, %v", cuts, got, end)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var every []int
		for i := range stream {
			check(t, i)
			every = append(every, i)
			for j := i; j < len(stream); j++ {
				check(t, i, j)
			}
		}
		check(t, every...) // a byte at a time
	})
}

func TestA5FiveHundredFramesAndAHalfInOneSegment(t *testing.T) {
	var stream []byte
	for i := range 501 {
		stream = append(stream, testkit.Frame(fmt.Sprint("message ", i))...)
	}
	half := len(stream) - 5
	synctest.Test(t, func(t *testing.T) {
		received := 0
		r := testkit.Serve(t, "pipe", nil, func(s *libnet.Session) {
			for {
				msg, err := s.Receive()
				if err != nil {
					return
				}
				if want := fmt.Sprint("message ", received); string(msg) != want {
					t.Errorf("got %q, want %q", msg, want)
				}
				received++
			}
		})
		conn, _ := r.Open()
		testkit.MustWrite(t, conn, stream[:half])
		synctest.Wait()
		if received != 500 {
			t.Errorf("%d messages from 500 frames and a half", received)
		}
		testkit.MustWrite(t, conn, stream[half:])
		synctest.Wait()
		if received != 501 {
			t.Errorf("%d messages after the other half", received)
		}
	})
}

func TestA6TheEndOfTheStreamIsCleanOnlyBetweenFrames(t *testing.T) {
	stream, _ := stream()
	for n := range len(stream) + 1 {
		reader := bytes.NewReader(stream[:n])
		var wantErr error
		want := 0
		for ; wantErr == nil; want++ {
			_, wantErr = testkit.ReadFrame(reader)
		}
		got, end := delivered(t, func(conn net.Conn) {
			testkit.MustWrite(t, conn, stream[:n])
			conn.Close()
		})
		if end != wantErr || len(got) != want-1 {
			t.Errorf("cut off after %d bytes: %d messages and %v, want %d and %v", n, len(got), end, want-1, wantErr)
		}
	}
}

func TestA9OtherProtocolsAreClosedOnTheirFirstHeaderWithoutAnAnswer(t *testing.T) {
	r := testkit.Serve(t, "tcp", nil, func(s *libnet.Session) {
		// What a server with a login does with a stranger: an empty message is a message to libnet.
		if msg, err := s.Receive(); err == nil && len(msg) == 0 {
			s.CloseWithError(libnet.ErrMalformedFrame)
		}
	})
	random := make([]byte, 64)
	for i, source := 0, rand.New(rand.NewPCG(1, 2)); i < len(random); i++ {
		random[i] = byte(source.Uint32()) | 0x80
	}
	for name, greeting := range map[string][]byte{
		"HTTP":   []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"TLS":    []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
		"SSH":    []byte("SSH-2.0-OpenSSH_9.9\r\n"),
		"zeros":  make([]byte, 64),
		"random": random,
	} {
		conn, s := r.Open()
		testkit.MustWrite(t, conn, greeting[:testkit.HeaderSize])
		wait(t, s.Done(), "the end after one header of "+name)
		if got := testkit.ReadToEnd(t, conn); len(got) > 0 {
			t.Errorf("%s was answered with %q", name, got)
		}
	}
}

func TestA14AnOverlongMessageIsTheSendersErrorAndWritesNothing(t *testing.T) {
	for _, queue := range []int{0, 4} {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.SendQueue = queue }, testkit.NeverReceive)
		conn, s := r.Open()
		if err := s.Send(make([]byte, testkit.Max64K+1)); !errors.Is(err, libnet.ErrFrameTooLarge) {
			t.Errorf("queue %d: Send = %v, want ErrFrameTooLarge", queue, err)
		}
		if err := s.Send("after it"); err != nil {
			t.Errorf("queue %d: the next Send = %v", queue, err)
		}
		if got, err := testkit.ReadFrame(conn); string(got) != "after it" {
			t.Errorf("queue %d: the peer got %.20q, %v", queue, got, err)
		}
		if stats := s.Stats(); stats.Discarded != 0 || stats.MessagesOut != 1 {
			t.Errorf("queue %d: %+v", queue, stats)
		}
	}
}

func TestA14AnOverlongMessageCostsNoOtherWhereTheOldestIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) {
			srv.SendQueue, srv.OnFull, srv.WriteTimeout = 2, libnet.DropOldest, -1
		}, testkit.NeverReceive)
		_, s := r.Open()
		for range 2 { // one is under way, the other queued
			_ = s.Send(make([]byte, testkit.Max64K))
			synctest.Wait()
		}
		if err := s.Send(make([]byte, testkit.Max64K+1)); !errors.Is(err, libnet.ErrFrameTooLarge) {
			t.Errorf("Send = %v, want ErrFrameTooLarge", err)
		}
		if stats := s.Stats(); stats.Discarded != 0 || stats.Queued != 2 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestA18MessagesThatArrivedBeforeTheEndAreReceivedBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		slow := make(chan struct{})
		r := testkit.Serve(t, "pipe", nil, func(s *libnet.Session) {
			for {
				msg, err := s.Receive()
				if err != nil {
					return
				}
				<-slow
				got = append(got, string(msg))
			}
		})
		conn, s := r.Open()
		testkit.MustWrite(t, conn, append(append(testkit.Frame("1"), testkit.Frame("2")...), testkit.Frame("3")...))
		conn.Close()
		synctest.Wait() // the peer is gone, and the handler has taken one message
		close(slow)
		r.WantClosed(s, io.EOF)
		if fmt.Sprint(got) != "[1 2 3]" {
			t.Errorf("received %v, want [1 2 3]", got)
		}
	})
}
