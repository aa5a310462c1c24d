//go:build unix

package sockets

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

// A wire is the conn below crypto/tls. During the handshake its Read and Write are those of the conn below it. From
// then on Read does not wait, and Write takes everything: crypto/tls can go on after a read that brought nothing, but
// not after a write that failed. A read may write, too: alerts, and answers to KeyUpdate.
type wire struct {
	// Immutable.
	below net.Conn
	raw   syscall.RawConn

	handshake atomic.Pointer[handshake] // nil when the handshake is over
	around    uint8                     // set by then: what a record has beyond its payload, in bytes; 0 where that is not always the same

	// These belong to who reads.
	in    records
	fd    int32
	dry   bool // the next read finds nothing, and need not ask the kernel
	empty bool // for that the kernel has said so

	mu lock.Mutex[wireLock]
	// mu guards the following, and is held while the kernel is given what is kept, in order. That does not wait.
	kept  *ciphertext // nil when there is none
	plain int         // bytes that were to be written, and have not been reported as written
	mark  int         // they are, when so many bytes of what is kept have been taken
}

// wireLock is the class of the lock in docs/locks.md.
type wireLock struct{}

// nothing is the error of a read that finds nothing. crypto/tls can go on after no error but a net.Error that is
// Temporary.
type nothing struct{}

var errNothing error = nothing{}

func (nothing) Error() string   { return "libnet: nothing has arrived" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

func (w *wire) startReading(fd int, held bool) { w.fd, w.dry, w.empty = int32(fd), held, held }

// readsOn has the next read ask the kernel, unless that has said itself that there is nothing.
func (w *wire) readsOn() bool {
	w.dry = w.empty
	return !w.empty
}

func (w *wire) Read(p []byte) (int, error) {
	if s := w.handshake.Load(); s != nil {
		n, err := s.read(w.below, p)
		w.in.pass(p[:n])
		return n, err
	}
	if w.dry {
		return 0, errNothing
	}
	for {
		n, err := receiveNow(int(w.fd), p)
		switch {
		case n > 0:
			raceReceive(int(w.fd), p[:n])
			w.in.pass(p[:n])
			w.dry = n < len(p)
			return n, nil
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			w.dry, w.empty = true, true
			return 0, errNothing
		case err != nil:
			return 0, os.NewSyscallError("recvfrom", err) // which, unlike a bare number, is never Temporary
		default:
			raceReceive(int(w.fd), nil)
			return 0, io.EOF
		}
	}
}

func (w *wire) Write(p []byte) (int, error) {
	if s := w.handshake.Load(); s != nil {
		return s.wait(w.below.Write, p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kept == nil {
		w.kept = ciphertexts.Get().(*ciphertext)
	}
	w.kept.bytes = append(w.kept.bytes, p...)
	return len(p), nil
}

// standsFor notes that what was kept last, and before, stands for k bytes more.
func (w *wire) standsFor(k int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plain += k
	w.mark = w.kept.len()
}

// send gives the kernel what is kept. taken is how many bytes are to be reported as written; full says that something
// is left.
func (w *wire) send(fd int) (taken int, full bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	full, err = w.sendLocked(fd)
	if w.mark <= 0 {
		taken, w.plain, w.mark = w.plain, 0, 0
		if w.kept != nil {
			w.kept.told = 0
		}
		return taken, full, err
	}
	if taken = w.goneLocked(); taken > 0 {
		w.plain -= taken
		w.kept.told += taken
	}
	return taken, full, err
}

// goneLocked is how many bytes that have not been reported are in records which the kernel has taken whole: its peer
// gets them, whatever becomes of the others. It is 0 where something else was kept with them, such as an answer.
func (w *wire) goneLocked() int {
	if w.around == 0 || w.kept == nil {
		return 0
	}
	records, gone, all := w.kept.bytes[:w.kept.sent+w.mark], 0, 0
	for at := 0; at+recordHeader <= len(records); {
		n := recordHeader + int(records[at+3])<<8 + int(records[at+4])
		at += n
		all += n - int(w.around)
		if at <= w.kept.sent {
			gone = all
		}
	}
	if all != w.plain+w.kept.told {
		return 0
	}
	return gone - w.kept.told
}

// maxKept bounds what is kept of a peer that does not read. No write adds to more than a record, so what goes beyond
// are answers.
const maxKept = 64 << 10

var errUnreadAnswers = errors.New("libnet: the peer has TLS answer and does not read")

// sendAnswers is send for who reads. What follows something that is to be written it leaves to who writes that.
func (w *wire) sendAnswers(fd int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plain == 0 && w.kept != nil {
		_, _ = w.sendLocked(fd) // of a connection that is broken, the next read or write tells
	}
	if w.kept.len() > maxKept {
		return errUnreadAnswers
	}
	return nil
}

func (w *wire) sendLocked(fd int) (full bool, err error) {
	for w.kept != nil {
		raceSend(w.kept.rest())
		n, err := sendNow(fd, w.kept.rest())
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return true, nil
		case err != nil:
			return true, os.NewSyscallError("sendto", err)
		}
		w.kept.sent += n
		w.mark -= n
		if w.kept.len() == 0 {
			w.kept.free()
			w.kept = nil
		}
	}
	return false, nil
}

// Close is the end of crypto/tls's, which may just have written close_notify.
func (w *wire) Close() error {
	_ = w.raw.Control(func(fd uintptr) { _ = w.sendAnswers(int(fd)) })
	return w.below.Close()
}

func (w *wire) LocalAddr() net.Addr  { return w.below.LocalAddr() }
func (w *wire) RemoteAddr() net.Addr { return w.below.RemoteAddr() }

// Deadlines are crypto/tls's own, for its close_notify: nothing waits that could need one.

func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// A ciphertext is records that the kernel has not taken.
type ciphertext struct {
	bytes []byte
	sent  int
	told  int // bytes of the write that they are of and that have been reported as written
}

var ciphertexts = sync.Pool{New: func() any { return new(ciphertext) }}

// len is 0 for none.
func (c *ciphertext) len() int {
	if c == nil {
		return 0
	}
	return len(c.bytes) - c.sent
}

func (c *ciphertext) rest() []byte { return c.bytes[c.sent:] }

func (c *ciphertext) free() {
	if cap(c.bytes) > 2*recordSize {
		return
	}
	c.bytes, c.sent, c.told = c.bytes[:0], 0, 0
	ciphertexts.Put(c)
}
