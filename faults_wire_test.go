package libnet_test

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
	"github.com/libnet-go/libnet/libnettest"
)

func TestA1AnImpossibleLengthEndsTheSessionBeforeItCostsMemory(t *testing.T) {
	const most = 64 << 10 // what a session, its end and its log line may allocate; the lengths claim up to 4 GiB
	r := faultServe(t, "pipe", nil, faultReceive)
	for _, header := range []string{"\x00\x01\x00\x01", "\x7f\xff\xff\xff", "\x80\x00\x00\x00", "\xff\xff\xff\xff"} {
		conn, s := r.open()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		faultWrite(t, conn, []byte(header))
		r.wantClosed(s, libnet.ErrFrameTooLarge)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > most {
			t.Errorf("header %x cost %d bytes, want at most %d", header, grown, most)
		}
		if got := faultWantEnd(t, conn); len(got) > 0 {
			t.Errorf("header %x was answered with %q", header, got)
		}
	}
	faultEventually(t, "all four to be counted", func() bool { return r.Stats().Closed["frame_too_large"] == 4 })
}

func TestA2AClaimedLengthTakesNoMemoryUntilBytesArrive(t *testing.T) {
	n := faultSize(200, 1000)
	r := faultServe(t, "tcp", func(srv *libnet.Server) { srv.FrameTimeout = 2 * time.Second }, faultReceive)
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i], _ = r.open()
	}
	var before, after runtime.MemStats
	faultReadMemory(&before)
	for _, conn := range conns {
		faultWrite(t, conn, []byte("\x00\x01\x00\x00x")) // 64 KiB, of which one byte comes
	}
	faultEventually(t, "the bytes to be read", func() bool { return r.Stats().BytesIn == uint64(5*n) })
	faultReadMemory(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > int64(n)*8<<10 {
		t.Errorf("%d begun frames hold %d bytes, want at most 8 KiB each", n, grown)
	}
	faultEventually(t, "the frames to time out", func() bool { return r.Stats().Closed["frame_timeout"] == uint64(n) })
}

func TestA3EmptyFramesAreMessagesAndDoNotStarveOthers(t *testing.T) {
	frames := faultSize(100_000, 1_000_000)
	var empty atomic.Int64
	r := faultServe(t, "tcp", nil, func(s *libnet.Session) {
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
	flood, other := r.dial(), r.dial()
	go func() {
		zeros := make([]byte, faultHeader*frames)
		_, _ = flood.Write(zeros) // it ends early only when the test has failed
	}()
	for empty.Load() < int64(frames) {
		_ = other.SetDeadline(time.Now().Add(faultSoon))
		faultAsk(t, other, "still there?")
	}
	if n := empty.Load(); n != int64(frames) {
		t.Errorf("%d empty messages arrived, want %d", n, frames)
	}
}

// faultDelivered runs one session on what feed writes, and returns the messages it received and how it ended.
func faultDelivered(t *testing.T, feed func(conn net.Conn)) (messages []string, end error) {
	t.Helper()
	client, server := libnettest.Pipe()
	srv := libnet.NewServer(libnettest.NewListener(), faultFrames, 8)
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

var faultStream = func() (stream []byte, messages []string) {
	messages = []string{"", "a", "hello", strings.Repeat("long", 8), "", "end"}
	for _, m := range messages {
		stream = append(stream, faultFrame(m)...)
	}
	return stream, messages
}

func TestA4AStreamSplitAnywhereGivesTheSameMessages(t *testing.T) {
	stream, want := faultStream()
	check := func(t *testing.T, cuts ...int) {
		t.Helper()
		got, end := faultDelivered(t, func(conn net.Conn) {
			at := 0
			for _, cut := range append(cuts, len(stream)) {
				faultWrite(t, conn, stream[at:cut])
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
		stream = append(stream, faultFrame(fmt.Sprint("message ", i))...)
	}
	half := len(stream) - 5
	synctest.Test(t, func(t *testing.T) {
		received := 0
		r := faultServe(t, "pipe", nil, func(s *libnet.Session) {
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
		conn, _ := r.open()
		faultWrite(t, conn, stream[:half])
		synctest.Wait()
		if received != 500 {
			t.Errorf("%d messages from 500 frames and a half", received)
		}
		faultWrite(t, conn, stream[half:])
		synctest.Wait()
		if received != 501 {
			t.Errorf("%d messages after the other half", received)
		}
	})
}

func TestA6TheEndOfTheStreamIsCleanOnlyBetweenFrames(t *testing.T) {
	stream, _ := faultStream()
	for n := range len(stream) + 1 {
		reader := bytes.NewReader(stream[:n])
		var wantErr error
		want := 0
		for ; wantErr == nil; want++ {
			_, wantErr = faultReadFrame(reader)
		}
		got, end := faultDelivered(t, func(conn net.Conn) {
			faultWrite(t, conn, stream[:n])
			conn.Close()
		})
		if end != wantErr || len(got) != want-1 {
			t.Errorf("cut off after %d bytes: %d messages and %v, want %d and %v", n, len(got), end, want-1, wantErr)
		}
	}
}

func TestA9OtherProtocolsAreClosedOnTheirFirstHeaderWithoutAnAnswer(t *testing.T) {
	r := faultServe(t, "tcp", nil, func(s *libnet.Session) {
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
		conn, s := r.open()
		faultWrite(t, conn, greeting[:faultHeader])
		faultWait(t, s.Done(), "the end after one header of "+name)
		if got := faultWantEnd(t, conn); len(got) > 0 {
			t.Errorf("%s was answered with %q", name, got)
		}
	}
}

func TestA14AnOverlongMessageIsTheSendersErrorAndWritesNothing(t *testing.T) {
	for _, queue := range []int{0, 4} {
		r := faultServe(t, "pipe", func(srv *libnet.Server) { srv.SendQueue = queue }, faultHold)
		conn, s := r.open()
		if err := s.Send(make([]byte, faultMax+1)); !errors.Is(err, libnet.ErrFrameTooLarge) {
			t.Errorf("queue %d: Send = %v, want ErrFrameTooLarge", queue, err)
		}
		if err := s.Send("after it"); err != nil {
			t.Errorf("queue %d: the next Send = %v", queue, err)
		}
		if got, err := faultReadFrame(conn); string(got) != "after it" {
			t.Errorf("queue %d: the peer got %.20q, %v", queue, got, err)
		}
		if stats := s.Stats(); stats.Discarded != 0 || stats.MessagesOut != 1 {
			t.Errorf("queue %d: %+v", queue, stats)
		}
	}
}

func TestA14AnOverlongMessageCostsNoOtherWhereTheOldestIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := faultServe(t, "pipe", func(srv *libnet.Server) {
			srv.SendQueue, srv.OnFull, srv.WriteTimeout = 2, libnet.DropOldest, -1
		}, faultHold)
		_, s := r.open()
		for range 2 { // one is under way, the other queued
			_ = s.Send(make([]byte, faultMax))
			synctest.Wait()
		}
		if err := s.Send(make([]byte, faultMax+1)); !errors.Is(err, libnet.ErrFrameTooLarge) {
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
		r := faultServe(t, "pipe", nil, func(s *libnet.Session) {
			for {
				msg, err := s.Receive()
				if err != nil {
					return
				}
				<-slow
				got = append(got, string(msg))
			}
		})
		conn, s := r.open()
		faultWrite(t, conn, append(append(faultFrame("1"), faultFrame("2")...), faultFrame("3")...))
		conn.Close()
		synctest.Wait() // the peer is gone, and the handler has taken one message
		close(slow)
		r.wantClosed(s, io.EOF)
		if fmt.Sprint(got) != "[1 2 3]" {
			t.Errorf("received %v, want [1 2 3]", got)
		}
	})
}
