//go:build unix

package libnet_test

import (
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

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
