//go:build unix

package ws_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/ws"
)

// What compression costs a server, and what it saves: CPU time of the whole process, whose clients send what was
// compressed before and do not inflate, and bytes on the wire, both ways, for each message.
func BenchmarkCompression(b *testing.B) {
	for _, size := range []int{200, 1 << 10, 16 << 10} {
		for _, from := range []int{0, 1} {
			name := fmt.Sprintf("%d bytes, compressed=%t", size, from > 0)
			b.Run("echo, "+name, func(b *testing.B) { benchmarkEcho(b, size, from) })
			b.Run("broadcast to 100, "+name, func(b *testing.B) { benchmarkBroadcast(b, size, from) })
		}
	}
}

// benchmarkServer serves in event mode.
func benchmarkServer(b *testing.B, compressFrom int) *rig {
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", ws.Protocol(frames, withCompressFrom(nil, compressFrom)), 1024)
	if err != nil {
		b.Fatal(err)
	}
	srv.Logger, srv.SendQueueBytes = slog.New(slog.DiscardHandler), 64<<20
	b.Cleanup(srv.Stop)
	go srv.ServeMessages(libnet.MessageHandlerFunc(testkit.EchoMessage))
	return &rig{Server: srv, listener: srv.Listener()}
}

func (r *rig) benchmarkClient(b *testing.B, compressFrom int) (net.Conn, *bufio.Reader) {
	if compressFrom == 0 {
		return r.raw(b)
	}
	return r.rawDeflate(b)
}

func benchmarkEcho(b *testing.B, size, compressFrom int) {
	r := benchmarkServer(b, compressFrom)
	conn, in := r.benchmarkClient(b, compressFrom)
	out := []byte(long(fin|binaryFrame, compressible(size)))
	if compressFrom > 0 {
		out = []byte(long(fin|compressedFrame|binaryFrame, deflate(b, compressible(size))))
	}
	write(b, conn, string(out))
	back := make([]byte, len(answer(0, receiveRaw(b, in).payload)))
	b.ReportAllocs()
	b.ResetTimer()
	defer reportCPU(b, len(out)+len(back))()
	for range b.N {
		if _, err := conn.Write(out); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(in, back); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkBroadcast(b *testing.B, size, compressFrom int) {
	const members = 100
	r := benchmarkServer(b, compressFrom)
	ins := make([]*bufio.Reader, members)
	for i := range ins {
		_, ins[i] = r.benchmarkClient(b, compressFrom)
	}
	message := compressible(size)
	var back []byte
	broadcast := func() {
		if result := r.Manager().Broadcast(message); result.Sent != members {
			b.Fatalf("%+v", result)
		}
		for _, in := range ins {
			if back == nil {
				back = make([]byte, len(answer(0, receiveRaw(b, in).payload)))
			} else if _, err := io.ReadFull(in, back); err != nil {
				b.Fatal(err)
			}
		}
	}
	testkit.Eventually(b, "all to be members", func() bool { return r.Stats().Open == members })
	broadcast()
	b.ResetTimer()
	defer reportCPU(b, len(back)*members)()
	for range b.N {
		broadcast()
	}
}

// reportCPU returns a function that reports what the process has computed since, for each of b.N operations, and their
// bytes.
func reportCPU(b *testing.B, wireBytes int) (report func()) {
	start := cpuTime(b)
	return func() {
		b.StopTimer()
		b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
		b.ReportMetric(float64(wireBytes), "wire-B/op")
	}
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
