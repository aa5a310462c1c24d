//go:build unix

package libnet_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
)

// The benchmarks compare a session's own cost a message with a hand-written loop on the same conn; the
// module in bench/ measures servers as wholes.

func BenchmarkEcho(b *testing.B) {
	protocol := codec.New(codec.Uint16BE, codec.Bytes)
	session := func(queue int, echo func(*libnet.Session)) func(*testing.B, net.Listener) {
		return func(b *testing.B, l net.Listener) {
			srv := libnet.NewServer(l, protocol, queue)
			b.Cleanup(srv.Stop)
			go func() { _ = srv.Serve(libnet.HandlerFunc(echo)) }()
		}
	}
	messages := func(b *testing.B, l net.Listener) {
		srv := libnet.NewServer(l, protocol, 1024)
		b.Cleanup(srv.Stop)
		go func() {
			_ = srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.Send(&msg) }))
		}()
	}
	servers := []struct {
		name  string
		serve func(*testing.B, net.Listener)
	}{
		{"net", serveByHand},
		{"sync", session(0, receiveAndSend)},
		{"queued", session(1024, receiveAndSend)},
		{"into", session(1024, receiveIntoAndSend)},
		{"event", messages},
	}
	for _, window := range []int{1, 64} {
		for _, server := range servers {
			b.Run(server.name+"/window="+string(rune('0'+window/10))+string(rune('0'+window%10)), func(b *testing.B) {
				benchmarkEcho(b, window, server.serve)
			})
		}
	}
}

// BenchmarkManyAtATime is for -cpu and -mutexprofile: what all processors share shows where they wait for each other.
// An operation is a window of 16 messages on one of 8 connections a processor.
func BenchmarkManyAtATime(b *testing.B) {
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", codec.New(codec.Uint16BE, codec.Bytes), 1024)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(srv.Stop)
	go func() {
		_ = srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.SendBytes(msg) }))
	}()
	out := bytes.Repeat(append([]byte{0, 64}, make([]byte, 64)...), 16)
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", srv.Listener().Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		in := make([]byte, len(out))
		for pb.Next() {
			if _, err := conn.Write(out); err != nil {
				b.Error(err)
			}
			if _, err := io.ReadFull(conn, in); err != nil {
				b.Error(err)
			}
		}
	})
}

// benchmarkEcho keeps window messages under way on one connection; an operation is a message.
func benchmarkEcho(b *testing.B, window int, serve func(*testing.B, net.Listener)) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	serve(b, l)
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	frame := append([]byte{0, 64}, make([]byte, 64)...)
	var out []byte
	for range window {
		out = append(out, frame...)
	}
	in := make([]byte, len(out))
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += window {
		if _, err := conn.Write(out); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, in); err != nil {
			b.Fatal(err)
		}
	}
}

func receiveAndSend(s *libnet.Session) {
	for {
		msg, err := s.Receive()
		if err != nil || s.Send(msg) != nil {
			return
		}
	}
}

func receiveIntoAndSend(s *libnet.Session) {
	var msg []byte
	for {
		var err error
		if msg, err = s.ReceiveInto(msg); err != nil || s.Send(&msg) != nil {
			return
		}
	}
}

// serveByHand is what one writes without a library: a buffered reader, one write a message.
func serveByHand(b *testing.B, l net.Listener) {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go echoByHand(conn)
		}
	}()
}

func echoByHand(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	frame := make([]byte, 1<<16)
	for {
		if _, err := io.ReadFull(r, frame[:2]); err != nil {
			return
		}
		n := 2 + int(binary.BigEndian.Uint16(frame))
		if _, err := io.ReadFull(r, frame[2:n]); err != nil {
			return
		}
		if _, err := conn.Write(frame[:n]); err != nil {
			return
		}
	}
}

// reportCPU returns a function that reports the CPU time of the whole process since, for each of n
// operations. On a machine that others share it says more than the wall clock.
func reportCPU(b *testing.B, n int) (report func()) {
	start := cpuTime(b)
	return func() {
		b.StopTimer()
		b.ReportMetric(float64(cpuTime(b)-start)/float64(n), "cpu-ns/op")
	}
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// Where copying ends: benchmarks with messages of these sizes tell where the constants splitAt and
// shareAt belong. bench/README.md has the method and what came out.
var copySizes = []int{1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20}

// wholeFrames is the protocol frames with its SplitFrame hidden: Send always copies.
type wholeFrames struct{}

type wholeCodec struct {
	libnet.Codec
	libnet.FrameAppender
	libnet.FrameParser
}

func (wholeFrames) NewCodec(rw io.ReadWriter) libnet.Codec {
	c := testkit.Frames.NewCodec(rw)
	return wholeCodec{c, c.(libnet.FrameAppender), c.(libnet.FrameParser)}
}

// BenchmarkSendLarge is a synchronous Send to a peer on TCP, as it is and with copying always.
func BenchmarkSendLarge(b *testing.B) {
	for _, size := range copySizes {
		for _, way := range []struct {
			name     string
			protocol libnet.Protocol
		}{{"split", testkit.Frames}, {"copied", wholeFrames{}}} {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, way.name), func(b *testing.B) {
				near, far := testkit.ConnectTCP(b)
				srv := testkit.NewServer(b, way.protocol, 0)
				srv.MaxMessage = 2 << 20
				s := testkit.Adopt(b, srv, near)
				body := make([]byte, size)
				go testkit.Drain(far)
				b.ReportAllocs()
				b.ResetTimer()
				defer reportCPU(b, b.N)()
				for range b.N {
					if err := s.Send(&body); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkBroadcastLarge broadcasts one message, or several at once, to 16 members on TCP, and waits until
// all is written. An operation is a message to one member.
func BenchmarkBroadcastLarge(b *testing.B) {
	const members = 16
	for _, size := range copySizes {
		for _, burst := range []int{1, 4, 8, 16} {
			b.Run(fmt.Sprintf("%dKiB/burst=%d", size>>10, burst), func(b *testing.B) {
				var group libnet.Group[int]
				srv := testkit.NewServer(b, testkit.Frames, burst)
				srv.MaxMessage, srv.SendQueueBytes = 2<<20, 16<<20
				sessions := make([]*libnet.Session, members)
				for i := range sessions {
					var far net.Conn
					far, sessions[i] = connectMember(b, srv)
					group.Put(i, sessions[i])
					go testkit.Drain(far)
				}
				body := make([]byte, size)
				b.ReportAllocs()
				b.ResetTimer()
				defer reportCPU(b, b.N)()
				for n := 0; n < b.N; n += members * burst {
					for range burst {
						if r := group.Broadcast(&body); r.Sent != members {
							b.Fatalf("%+v", r)
						}
					}
					for _, s := range sessions {
						for s.Stats().Queued > 0 {
							time.Sleep(20 * time.Microsecond)
						}
					}
				}
			})
		}
	}
}

func connectMember(b *testing.B, srv *libnet.Server) (far net.Conn, s *libnet.Session) {
	near, far := testkit.ConnectTCP(b)
	return far, testkit.Adopt(b, srv, near)
}

// An operation of these benchmarks is a message of 64 bytes, if they do not say otherwise.
const benchSize = 64

// A sink takes at once what is written to it.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkQueue is the queue without a kernel behind it: SendContext waits for room where senders are
// faster than the goroutine that empties it.
func BenchmarkQueue(b *testing.B) {
	for _, senders := range []int{1, 8} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			near, _ := testkit.ConnectPipe(b)
			sendShared(b, testkit.Adopt(b, testkit.NewServer(b, testkit.Frames, 1024), sink{near}), senders)
		})
	}
}

// BenchmarkSend sends to a peer on TCP that reads as fast as it can.
func BenchmarkSend(b *testing.B) {
	for _, mode := range []struct {
		name           string
		queue, senders int
	}{{"sync/senders=1", 0, 1}, {"sync/senders=8", 0, 8}, {"queued/senders=1", 1024, 1}, {"queued/senders=8", 1024, 8}} {
		b.Run(mode.name, func(b *testing.B) {
			near, far := testkit.ConnectTCP(b)
			go testkit.Drain(far)
			sendShared(b, testkit.Adopt(b, testkit.NewServer(b, testkit.Frames, mode.queue), near), mode.senders)
		})
	}
}

// sendShared has so many goroutines send b.N messages together.
func sendShared(b *testing.B, s *libnet.Session, senders int) {
	b.ReportAllocs()
	b.SetBytes(benchSize)
	b.ResetTimer()
	var group sync.WaitGroup
	for sender := range senders {
		group.Go(func() {
			body := make([]byte, benchSize)
			for i := sender; i < b.N; i += senders {
				if err := s.SendContext(context.Background(), &body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if out, want := s.Stats().MessagesOut+uint64(s.Stats().Queued), uint64(b.N); out > want || s.Stats().Discarded > 0 {
		b.Errorf("%d messages are out or queued; want %d at most: %+v", out, want, s.Stats())
	}
}

func BenchmarkReceive(b *testing.B) {
	benchmarkReceive(b, false, func(s *libnet.Session, _ []byte) ([]byte, error) { return s.Receive() })
}

func BenchmarkReceiveInto(b *testing.B) { benchmarkReceive(b, false, (*libnet.Session).ReceiveInto) }

// BenchmarkReceiveMeasured is ReceiveInto with Server.Histograms.
func BenchmarkReceiveMeasured(b *testing.B) {
	benchmarkReceive(b, true, (*libnet.Session).ReceiveInto)
}

// benchmarkReceive receives what a peer on TCP sends in writes of 1000 messages.
func benchmarkReceive(b *testing.B, measured bool, receive func(*libnet.Session, []byte) ([]byte, error)) {
	near, far := testkit.ConnectTCP(b)
	srv := testkit.NewServer(b, testkit.Frames, 0)
	srv.Histograms = measured
	s := testkit.Adopt(b, srv, near)
	go func() {
		var run []byte
		for range 1000 {
			run = append(binary.BigEndian.AppendUint32(run, benchSize), make([]byte, benchSize)...)
		}
		for {
			if _, err := far.Write(run); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 0, benchSize)
	b.ReportAllocs()
	b.SetBytes(benchSize)
	b.ResetTimer()
	for range b.N {
		msg, err := receive(s, buf)
		if err != nil || len(msg) != benchSize {
			b.Fatalf("received %d bytes, %v", len(msg), err)
		}
	}
}

func BenchmarkManagerGetSession(b *testing.B) {
	manager := libnet.NewManager()
	b.Cleanup(manager.Dispose)
	ids := make([]uint64, 10_000)
	for i := range ids {
		ids[i] = manager.NewSession(&testkit.FuncCodec{}, 0).ID()
	}
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if manager.GetSession(ids[i%len(ids)]) == nil {
				b.Error("an open session was not found")
			}
		}
	})
}

// An operation is the life of a session: made, added, closed, removed.
func BenchmarkManagerNewSession(b *testing.B) {
	manager := libnet.NewManager()
	b.Cleanup(manager.Dispose)
	codec := &testkit.FuncCodec{}
	b.ReportAllocs()
	for b.Loop() {
		_ = manager.NewSession(codec, 0).Close()
	}
	if n := manager.Len(); n != 0 {
		b.Errorf("%d closed sessions were kept", n)
	}
}
