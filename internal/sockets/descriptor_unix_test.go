//go:build unix

package sockets_test

import (
	"bytes"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/readbuf"
	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/testkit"
)

// described returns the descriptor of a TCP conn, the conn, and its peer.
func described(t testing.TB) (d *sockets.Descriptor, conn, peer net.Conn) {
	t.Helper()
	conn, peer = testkit.ConnectTCP(t)
	if d = sockets.Of(conn); d == nil {
		t.Fatal("a TCP conn without a descriptor")
	}
	return d, conn, peer
}

func TestAReadWithoutWaitingSaysWhatThereIs(t *testing.T) {
	d, _, peer := described(t)
	var in readbuf.Buffer
	defer in.Release()
	if n, err := d.ReadReady(&in, 0); n != 0 || err != nil {
		t.Errorf("of a silent peer it read %d bytes, %v", n, err)
	}
	if in != (readbuf.Buffer{}) {
		t.Error("it holds storage after a read that brought nothing")
	}
	testkit.MustWrite(t, peer, []byte("hello"))
	n, err := d.Read(&in, 0)
	if n != 5 || err != nil {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	in.Commit(n)
	if got := string(in.Unread()); got != "hello" {
		t.Errorf("read %q", got)
	}
	testkit.CloseWrite(t, peer)
	if n, err := d.Read(&in, 0); n != 0 || err != io.EOF {
		t.Errorf("at the end it read %d bytes, %v", n, err)
	}
}

func TestAReadThatWaitsIsEndedByClose(t *testing.T) {
	d, conn, _ := described(t)
	ended := make(chan error, 1)
	go func() {
		var in readbuf.Buffer
		defer in.Release()
		_, err := d.Read(&in, 0)
		ended <- err
	}()
	time.Sleep(time.Millisecond)
	_ = conn.Close()
	testkit.WantErr(t, "the read", testkit.Await(t, testkit.Patience, "the read's end", ended), net.ErrClosed)
}

func TestAWriteTakesWhatTheKernelDoesAndNeverWaits(t *testing.T) {
	d, _, peer := described(t)
	message := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	n, err := d.Write(message)
	if n == 0 || n == len(message) || err != nil {
		t.Fatalf("wrote %d bytes of %d to a peer that does not read, %v", n, len(message), err)
	}
	got := make([]byte, n)
	if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, message[:n]) {
		t.Errorf("the peer got something else, %v", err)
	}
}

// A socket that somebody made blocking would hold the processor, and with the next collection the whole process.
func TestADescriptorThatWasMadeBlockingIsReadAndWrittenWithoutWaiting(t *testing.T) {
	d, _, _ := described(t)
	if err := d.Raw().Control(func(fd uintptr) { _ = syscall.SetNonblock(int(fd), false) }); err != nil {
		t.Fatal(err)
	}
	testkit.Within(t, testkit.Patience, "a read and a write", func() {
		var in readbuf.Buffer
		if n, err := d.ReadReady(&in, 0); n != 0 || err != nil {
			t.Errorf("of a silent peer it read %d bytes, %v", n, err)
		}
		if n, err := d.Write(make([]byte, 64<<20)); n == 64<<20 || err != nil {
			t.Errorf("wrote %d bytes, %v", n, err)
		}
	})
	d.Unblock()
}

func TestADescriptorWhosePeerHasResetIsBroken(t *testing.T) {
	d, _, peer := described(t)
	if sockets.Broken(d.Raw()) {
		t.Error("it is broken at first")
	}
	_ = peer.(*net.TCPConn).SetLinger(0)
	_ = peer.Close()
	testkit.Eventually(t, "the reset", func() bool { return sockets.Broken(d.Raw()) })
}

// A conn of the user's may have a descriptor of datagrams, of which an empty one counts.
func TestAskingWhetherItIsBrokenSendsNoDatagram(t *testing.T) {
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := net.Dial("udp", peer.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if sockets.Broken(sockets.Raw(conn)) {
		t.Error("it is broken")
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, _, err := peer.ReadFrom(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("the first datagram has %d bytes, %v", n, err)
	}
}

// embedded is a conn of the user's, who may mean something else by Read and Write.
type embedded struct{ *net.TCPConn }

func TestAWrapperHasNoDescriptorOfItsOwn(t *testing.T) {
	conn, _ := testkit.ConnectTCP(t)
	if sockets.Of(embedded{conn.(*net.TCPConn)}) != nil {
		t.Error("its Read and Write would not be called")
	}
	pipe, _ := testkit.ConnectNetPipe(t)
	if sockets.Of(pipe) != nil || sockets.Raw(pipe) != nil {
		t.Error("a pipe has a descriptor")
	}
}

// oddConn answers as a conn of the user's may.
type oddConn struct {
	net.Conn
	syscallConn func() (syscall.RawConn, error)
}

func (c oddConn) SyscallConn() (syscall.RawConn, error) { return c.syscallConn() }

type oddRaw struct{ syscall.RawConn }

func (oddRaw) Control(func(uintptr)) error { panic("Control") }

func TestWhatTheKernelKnowsOfAnOddConnIsNothing(t *testing.T) {
	for name, answer := range map[string]func() (syscall.RawConn, error){
		"SyscallConn panics":      func() (syscall.RawConn, error) { panic("SyscallConn") },
		"SyscallConn fails":       func() (syscall.RawConn, error) { return nil, io.EOF },
		"SyscallConn returns nil": func() (syscall.RawConn, error) { return nil, nil },
		"Control panics":          func() (syscall.RawConn, error) { return oddRaw{}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			raw := sockets.Raw(oddConn{syscallConn: answer})
			if sockets.HasInput(raw) || sockets.Unread(raw) != 0 || sockets.PeerEnded(raw) || sockets.SetUserTimeout(raw, time.Second) {
				t.Error("it is told something")
			}
		})
	}
}

func TestInputIsSeenBeforeItIsRead(t *testing.T) {
	d, _, peer := described(t)
	if sockets.HasInput(d.Raw()) || sockets.Unread(d.Raw()) != 0 {
		t.Error("there is input at first")
	}
	testkit.MustWrite(t, peer, []byte("hello"))
	testkit.Eventually(t, "the input", func() bool { return sockets.HasInput(d.Raw()) && sockets.Unread(d.Raw()) > 0 })
}

func TestAReadAndAWriteAllocateNothing(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	d, _, peer := described(t)
	var in readbuf.Buffer
	defer in.Release()
	message, echoed := []byte("hello"), make([]byte, 5)
	if n := testing.AllocsPerRun(1000, func() {
		_, _ = d.Write(message)
		_, _ = io.ReadFull(peer, echoed)
		_, _ = peer.Write(echoed)
		n, _ := d.Read(&in, 0)
		in.Commit(n)
		in.Advance(n)
	}); n > 0 {
		t.Errorf("%v allocations a message", n)
	}
}

func BenchmarkAReadAndAWrite(b *testing.B) {
	b.ReportAllocs()
	near, _, far := described(b)
	other := sockets.Of(far)
	var in readbuf.Buffer
	defer in.Release()
	message := make([]byte, 64)
	for range b.N {
		_, _ = near.Write(message)
		n, _ := other.Read(&in, 0)
		in.Commit(n)
		in.Advance(n)
	}
}

func TestOnlyASocketThatLingersMakesItsCloserWait(t *testing.T) {
	d, conn, _ := described(t)
	if d.CloseWaits() {
		t.Error("a new conn's Close waits")
	}
	if err := conn.(*net.TCPConn).SetLinger(1); err != nil {
		t.Fatal(err)
	}
	if !d.CloseWaits() {
		t.Error("the Close of one that lingers does not wait")
	}
}
