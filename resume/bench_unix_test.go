//go:build unix

package resume_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/resume"
)

// What a resumable session costs a server beside a plain one: 64 clients send 64 messages of 64 bytes at a time, which
// are echoed. The clients are the same code, which writes bytes by hand: those of resumable sessions acknowledge once a
// burst. cpu-ns/op is the server's processor time.
func BenchmarkPipelined(b *testing.B) {
	for _, mode := range []struct {
		name  string
		serve func(*libnet.Server, libnet.MessageHandler, libnet.Handler)
	}{
		{"ServeMessages", func(srv *libnet.Server, m libnet.MessageHandler, _ libnet.Handler) { _ = srv.ServeMessages(m) }},
		{"Serve", func(srv *libnet.Server, _ libnet.MessageHandler, h libnet.Handler) { _ = srv.Serve(h) }},
	} {
		b.Run(mode.name+"/plain", func(b *testing.B) {
			srv := libnet.NewServer(testkit.Listen(b, "tcp"), codec.New(codec.Uint32BE, codec.Bytes), 128)
			srv.Logger = testkit.Quiet
			go mode.serve(srv, libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.SendBytes(msg) }),
				libnet.HandlerFunc(func(s *libnet.Session) {
					var buf []byte
					for {
						msg, err := s.ReceiveInto(buf)
						if err != nil {
							return
						}
						_ = s.SendBytes(msg)
						buf = msg
					}
				}))
			b.Cleanup(srv.Stop)
			pipelined(b, srv.Listener().Addr(), false)
		})
		b.Run(mode.name+"/resume", func(b *testing.B) {
			h := &resume.Server{MessageHandler: func(s *resume.Session, msg []byte) { _ = s.SendBytes(msg) }}
			srv := libnet.NewServer(testkit.Listen(b, "tcp"), protocol, 128)
			srv.Logger = testkit.Quiet
			go mode.serve(srv, h, h)
			b.Cleanup(srv.Stop)
			pipelined(b, srv.Listener().Addr(), true)
		})
	}
}

// pipelined has 64 clients of another process exchange b.N messages with a server. Where it resumes they speak resume's
// protocol.
func pipelined(b *testing.B, addr net.Addr, resumes bool) {
	clients := exec.Command(os.Args[0], "-test.run=^TestClientsOfABenchmark$", "-test.v")
	clients.Env = append(os.Environ(), fmt.Sprintf("%s=%s %v %d", benchmarkClients, addr, resumes, b.N))
	begin, err := clients.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	said, err := clients.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	clients.Stderr = os.Stderr
	if err := clients.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	for lines.Scan() && lines.Text() != "connected" {
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	_ = begin.Close()
	for lines.Scan() {
	}
	if err := clients.Wait(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
}

// benchmarkClients has an address, whether to resume, and how many messages to exchange.
const benchmarkClients = "LIBNET_RESUME_BENCHMARK"

func TestClientsOfABenchmark(t *testing.T) {
	const clients, window, size = 64, 64, 64
	var (
		addr    string
		resumes bool
		n       int
	)
	if _, err := fmt.Sscan(os.Getenv(benchmarkClients), &addr, &resumes, &n); err != nil {
		t.Skip("no benchmark has begun it")
	}
	conns := make([]net.Conn, clients)
	for i := range conns {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
		if conns[i] = conn; resumes {
			shakeHands(t, conn)
		}
	}
	fmt.Println("connected")
	_, _ = io.Copy(io.Discard, os.Stdin)
	var running sync.WaitGroup
	for _, conn := range conns {
		running.Go(func() {
			testkit.CheckErr(t, "exchanging", bursts(conn, max(1, n/(clients*window)), window, size, resumes), nil)
		})
	}
	running.Wait()
}

func shakeHands(b testing.TB, conn net.Conn) {
	if _, err := conn.Write(helloFrame()); err != nil {
		b.Fatal(err)
	}
	if _, err := readFrame(conn, nil); err != nil {
		b.Fatal(err)
	}
}

// helloFrame begins a session with the default bounds.
func helloFrame() []byte {
	hello := []byte{0x12, 1, 0, 0, 0}
	hello = binary.AppendUvarint(binary.AppendUvarint(hello, 1024), 1<<20)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(hello))), hello...)
}

// bursts exchanges n bursts.
func bursts(conn net.Conn, n, window, size int, resumes bool) error {
	b := newBurster(conn, window, size, resumes)
	for range n {
		if err := b.burst(); err != nil {
			return err
		}
	}
	return nil
}

// A burster is a client that sends the same messages again and again.
type burster struct {
	conn    net.Conn
	resumes bool
	window  int
	out     []byte
	size    int // of the messages in out; an acknowledgement follows
	in      []byte
	left    int // bytes of a part of a frame, at the beginning of in
	taken   uint64
}

func newBurster(conn net.Conn, window, size int, resumes bool) *burster {
	one := binary.BigEndian.AppendUint32(nil, uint32(size))
	if resumes {
		one = append(binary.BigEndian.AppendUint32(nil, uint32(size+1)), 0)
	}
	out := bytes.Repeat(append(one, bytes.Repeat([]byte{'x'}, size)...), window)
	return &burster{conn: conn, resumes: resumes, window: window, out: out, size: len(out), in: make([]byte, 64<<10)}
}

// burst sends the messages, and reads as many, and what acknowledgements come with them.
func (b *burster) burst() error {
	if _, err := b.conn.Write(b.out); err != nil {
		return err
	}
	for replies := 0; replies < b.window; {
		n, err := b.conn.Read(b.in[b.left:])
		if err != nil {
			return err
		}
		rest := b.in[:b.left+n]
		for len(rest) >= 4 && len(rest) >= 4+int(binary.BigEndian.Uint32(rest)) {
			if !b.resumes || rest[4] < 0x10 {
				replies++
			}
			rest = rest[4+binary.BigEndian.Uint32(rest):]
		}
		b.left = copy(b.in, rest)
	}
	if b.resumes {
		b.acknowledge(b.taken + uint64(b.window))
	}
	return nil
}

// acknowledge has the next burst say how many replies were taken.
func (b *burster) acknowledge(taken uint64) {
	b.taken = taken
	b.out = binary.AppendUvarint(append(b.out[:b.size], 0, 0, 0, 0, 0x10), b.taken)
	b.out[b.size+3] = byte(len(b.out) - b.size - 4)
}

// cpu is the processor time of the process.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
