package sockets

import (
	"bytes"
	"io"
	"net"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

// wired returns a wire whose handshake is over, and its peer.
func wired(t *testing.T) (w *wire, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = peer.Close(), conn.Close() })
	_ = conn.(*net.TCPConn).SetWriteBuffer(8 << 10)
	return &wire{below: conn, raw: Raw(conn)}, peer
}

// with calls f with the descriptor.
func (w *wire) with(t *testing.T, f func(fd int)) {
	t.Helper()
	if err := w.raw.Control(func(fd uintptr) { f(int(fd)) }); err != nil {
		t.Fatal(err)
	}
}

func TestAnswersThatAPeerDoesNotReadAreBounded(t *testing.T) {
	w, peer := wired(t)
	var written bytes.Buffer
	w.with(t, func(fd int) {
		for i := byte(0); ; i++ {
			answer := bytes.Repeat([]byte{i}, 1000)
			if n, err := w.Write(answer); n != len(answer) || err != nil {
				t.Fatalf("wrote %d, %v", n, err)
			}
			written.Write(answer)
			if err := w.sendAnswers(fd); err != nil {
				if err != errUnreadAnswers {
					t.Errorf("%v", err)
				}
				break
			}
			if written.Len() > 64<<20 {
				t.Fatal("no bound")
			}
		}
	})
	if kept := w.kept.len(); kept > maxKept+1000 {
		t.Errorf("%d bytes are kept", kept)
	}
	got := make([]byte, written.Len())
	read := make(chan error, 1)
	go func() { _, err := io.ReadFull(peer, got); read <- err }()
	for full := true; full; time.Sleep(time.Millisecond) {
		w.with(t, func(fd int) { _, full, _ = w.send(fd) })
	}
	if err := <-read; err != nil || !bytes.Equal(got, written.Bytes()) {
		t.Errorf("the peer got something else, %v", err)
	}
	if w.kept != nil {
		t.Error("storage is kept for nothing")
	}
}

// What is to be written is reported when the kernel has all of what stands for it, and not what was written behind.
func TestWhatIsKeptIsReportedOnceTheKernelHasIt(t *testing.T) {
	w, peer := wired(t)
	w.with(t, func(fd int) {
		_, _ = w.Write(make([]byte, 100))
		w.standsFor(70)
		if taken, full, err := w.send(fd); taken != 70 || full || err != nil {
			t.Fatalf("with room: %d, %v, %v", taken, full, err)
		}
		_, _ = w.Write(make([]byte, 8<<20))
		w.standsFor(7 << 20)
		if taken, full, err := w.send(fd); taken != 0 || !full || err != nil {
			t.Fatalf("without room: %d, %v, %v", taken, full, err)
		}
		_, _ = w.Write(make([]byte, 8<<20)) // an answer, which is nobody's to report
	})
	go func() { _, _ = io.CopyN(io.Discard, peer, 100+9<<20) }()
	total, before := 0, 0
	for total == 0 {
		w.with(t, func(fd int) {
			before = w.kept.len()
			total, _, _ = w.send(fd)
		})
		time.Sleep(time.Millisecond)
	}
	if total != 7<<20 || w.kept.len() == 0 || before < 8<<20 && w.kept.len() < 1<<20 {
		t.Errorf("%d bytes reported, %d kept", total, w.kept.len())
	}
}

func TestAReadOfAWireNeverWaitsAndSaysSoInAWayThatCryptoTLSTakes(t *testing.T) {
	w, peer := wired(t)
	w.with(t, func(fd int) {
		w.startReading(fd, false)
		n, err := w.Read(make([]byte, 10))
		_, isNetError := err.(net.Error)
		temporary, ok := err.(interface{ Temporary() bool })
		if n != 0 || !isNetError || !ok || !temporary.Temporary() {
			t.Errorf("of a silent peer: %d, %v", n, err)
		}
	})
	if _, err := peer.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	w.with(t, func(fd int) {
		w.startReading(fd, false)
		if n, err := w.Read(make([]byte, 10)); n != 5 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
	})
	_ = peer.(*net.TCPConn).SetLinger(0)
	_ = peer.Close()
	time.Sleep(10 * time.Millisecond)
	w.with(t, func(fd int) {
		w.startReading(fd, false)
		_, err := w.Read(make([]byte, 10))
		if _, temporary := err.(net.Error); temporary || err == nil {
			t.Errorf("of a reset: %v", err)
		}
	})
}

// A callback of the user's may keep a slot for ever.
func TestAHandshakeWithoutASlotGoesOnAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := NewSlots(1)
		first, second := handshake{slots: slots}, handshake{slots: slots}
		first.takeSlot()
		began := time.Now()
		second.takeSlot()
		if waited := time.Since(began); waited != slotPatience || second.hasSlot {
			t.Errorf("it waited for %v", waited)
		}
		second.giveSlot() // which it has not
		first.giveSlot()
		began = time.Now()
		second.takeSlot()
		if time.Since(began) != 0 || !second.hasSlot {
			t.Error("a slot that was given back is not taken")
		}
	})
}

func TestAHandshakeThatWaitsForItsPeerHasNoSlot(t *testing.T) {
	slots := NewSlots(1)
	s := handshake{slots: slots}
	s.takeSlot()
	_, err := s.wait(func([]byte) (int, error) {
		if len(slots) != 0 {
			t.Error("it has a slot while it waits")
		}
		return 1, nil
	}, nil)
	if err != nil || len(slots) != 1 {
		t.Error("it has none behind that")
	}
	_, _ = s.wait(func([]byte) (int, error) { return 0, io.EOF }, nil)
	if len(slots) != 0 {
		t.Error("it has one behind an error, though there is nothing to compute")
	}
}

func TestRecordsAreCountedHoweverTheyArrive(t *testing.T) {
	var stream []byte
	const n = 50
	for i := range n {
		size := i * i * 6
		stream = append(stream, 23, 3, 3, byte(size>>8), byte(size))
		stream = append(stream, make([]byte, size)...)
	}
	for _, step := range []int{1, 2, 3, 4, 5, 6, 7, 1000, len(stream)} {
		var r records
		for rest := stream; len(rest) > 0; {
			k := min(step, len(rest))
			r.pass(rest[:k])
			rest = rest[k:]
		}
		if r.whole != n || r.n != 0 || r.rest != 0 {
			t.Errorf("%d bytes at a time: %+v", step, r)
		}
	}
}

// Each session over TLS has one, so it fills a size class of the runtime's.
func TestASecuredConnIsOf192Bytes(t *testing.T) {
	if reflect.TypeFor[lock.Mutex[wireLock]]().Size() != reflect.TypeFor[sync.Mutex]().Size() || strconv.IntSize < 64 {
		t.Skip("locks are checked, or words are short")
	}
	if size := reflect.TypeFor[Secured]().Size(); size != 192 {
		t.Errorf("it is of %d", size)
	}
}
