package libnet_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

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
	benchmarkReceive(b, func(s *libnet.Session, _ []byte) ([]byte, error) { return s.Receive() })
}

func BenchmarkReceiveInto(b *testing.B) { benchmarkReceive(b, (*libnet.Session).ReceiveInto) }

// benchmarkReceive receives what a peer on TCP sends in writes of 1000 messages.
func benchmarkReceive(b *testing.B, receive func(*libnet.Session, []byte) ([]byte, error)) {
	near, far := testkit.ConnectTCP(b)
	s := testkit.Adopt(b, testkit.NewServer(b, testkit.Frames, 0), near)
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
