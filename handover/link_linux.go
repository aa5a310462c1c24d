package handover

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/usercode"
)

// A kind says what a message is. docs/handover.md has the exchange.
type kind byte

const (
	kindHello  kind = 'H' // giver: version, last number, listener's descriptor
	kindReady  kind = 'R' // taker: its server is made
	kindIntro  kind = 'I' // giver: a session, which it serves still, and its descriptor
	kindRecord kind = 'S' // giver: a session that has stopped
	kindEnd    kind = 'E' // giver: how many there were, and the last number
	kindHeld   kind = 'A' // taker: it has them all, but for those that it refuses
	kindOutput kind = 'O' // giver: what of a session is to be written
	kindGone   kind = 'X' // giver: sessions that have ended meanwhile
	kindGo     kind = 'G' // giver: nothing follows
	kindTaken  kind = 'T' // taker: they are its own
	kindQuit   kind = 'Q' // either: it gives up, and says why
)

const (
	// maxMessage bounds a message: a session with what it has not read and the user's state, or with what it has not
	// written.
	maxMessage = 64 << 20

	// Descriptors go in messages of the socket's, so many at a time; the kernel takes 253 (SCM_MAX_FD).
	fdsAtOnce = 64

	// flushAt is how many bytes are written at a time.
	flushAt = 64 << 10
)

// A link carries messages and descriptors. It is its goroutine's.
type link struct {
	conn *net.UnixConn

	in  []byte // what was read and not yet received
	at  int
	fds []int // the same of descriptors
	oob []byte

	out    []byte
	outFDs []int // duplicates, which are closed when they are written
}

func newLink(conn *net.UnixConn) *link {
	return &link{conn: conn, oob: make([]byte, syscall.CmsgSpace(fdsAtOnce*4))}
}

// close gives back what was read and nobody took.
func (l *link) close() {
	closeAll(l.fds)
	closeAll(l.outFDs)
	l.fds, l.outFDs = nil, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = syscall.Close(fd)
	}
}

// send puts a message behind those that are to be written.
func (l *link) send(k kind, payload []byte) error {
	if len(payload) > maxMessage {
		return fmt.Errorf("%w: %d bytes", ErrMalformed, len(payload))
	}
	l.out = append(l.out, byte(k))
	l.out = binary.BigEndian.AppendUint32(l.out, uint32(len(payload)))
	l.out = append(l.out, payload...)
	if len(l.out) >= flushAt || len(l.outFDs) == fdsAtOnce {
		return l.flush()
	}
	return nil
}

// attach has the next message carry a duplicate of a descriptor.
func (l *link) attach(control func(func(fd uintptr)) error) error {
	dup, errno := -1, syscall.EBADF
	err := control(func(fd uintptr) {
		n, _, e := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
		dup, errno = int(n), e
	})
	if err == nil && errno != 0 {
		err = errno
	}
	if err != nil {
		return err
	}
	l.outFDs = append(l.outFDs, dup)
	return nil
}

// flush writes what was sent.
func (l *link) flush() error {
	out, fds := l.out, l.outFDs
	l.out, l.outFDs = l.out[:0], l.outFDs[:0]
	defer closeAll(fds)
	var oob []byte
	if len(fds) > 0 {
		oob = syscall.UnixRights(fds...)
	}
	for len(out) > 0 {
		n, _, err := l.conn.WriteMsgUnix(out, oob, nil)
		if errchain.Is(err, syscall.ETOOMANYREFS) { // more descriptors are under way than the process may have: the other end takes them
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		out, oob = out[n:], nil
	}
	return nil
}

// receive returns the next message, which is valid until the one after it. One that gives up is an error.
func (l *link) receive() (k kind, payload []byte, err error) {
	head, err := l.next(5)
	if err != nil {
		return 0, nil, err
	}
	k = kind(head[0])
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxMessage {
		return 0, nil, fmt.Errorf("%w: of %d bytes", ErrMalformed, n)
	}
	if payload, err = l.next(int(n)); err != nil {
		return 0, nil, err
	}
	if k == kindQuit {
		return 0, nil, fmt.Errorf("handover: the other process gives up: %.200q", payload)
	}
	return k, payload, nil
}

// expect is receive of the one kind that may come now.
func (l *link) expect(want kind) ([]byte, error) {
	k, payload, err := l.receive()
	if err == nil && k != want {
		err = fmt.Errorf("%w: %q where %q is due", ErrMalformed, byte(k), byte(want))
	}
	return payload, err
}

// next returns the next n bytes. Memory grows as they come.
func (l *link) next(n int) ([]byte, error) {
	for len(l.in)-l.at < n {
		if err := l.read(); err != nil {
			return nil, err
		}
	}
	p := l.in[l.at : l.at+n]
	l.at += n
	return p, nil
}

func (l *link) read() error {
	if l.at > 0 && l.at == len(l.in) {
		l.in, l.at = l.in[:0], 0
	}
	if cap(l.in)-len(l.in) < flushAt {
		rest := l.in[l.at:]
		l.in = append(make([]byte, 0, max(2*len(rest), flushAt)+flushAt), rest...)
		l.at = 0
	}
	n, oobn, flags, _, err := l.conn.ReadMsgUnix(l.in[len(l.in):cap(l.in)], l.oob)
	if oobn > 0 {
		if err := l.takeRights(l.oob[:oobn]); err != nil {
			return err
		}
	}
	switch {
	case err != nil:
		return err
	case flags&syscall.MSG_CTRUNC != 0:
		return errors.New("handover: descriptors are short: raise the limit of open files")
	case n == 0:
		return io.ErrUnexpectedEOF
	}
	l.in = l.in[:len(l.in)+n]
	return nil
}

// readLast has the socket take no input any more, and reads what it holds: not by way of its deadline, which a context
// that ends may set at any time.
func (l *link) readLast() {
	_ = l.conn.CloseRead()
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		room := make([]byte, 4<<10)
		for {
			n, _, err := syscall.Recvfrom(int(fd), room, syscall.MSG_DONTWAIT)
			if err == syscall.EINTR {
				continue
			}
			if n <= 0 {
				return
			}
			l.in = append(l.in, room[:n]...)
		}
	})
}

func (l *link) takeRights(oob []byte) error {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return err
	}
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return err
		}
		l.fds = append(l.fds, fds...)
	}
	if len(l.fds) > 4*fdsAtOnce {
		return fmt.Errorf("%w: descriptors without a message", ErrMalformed)
	}
	return nil
}

// takeFD returns the descriptor of the message that was received last.
func (l *link) takeFD() (int, error) {
	if len(l.fds) == 0 {
		return -1, fmt.Errorf("%w: a descriptor is missing", ErrMalformed)
	}
	fd := l.fds[0]
	l.fds = l.fds[1:]
	return fd, nil
}

// quit tells the other end why, if there is room for it.
func (l *link) quit(why error) {
	text := usercode.Text(why)
	closeAll(l.outFDs)
	l.out, l.outFDs = l.out[:0], l.outFDs[:0]
	_ = l.conn.SetWriteDeadline(time.Now().Add(quitTime))
	_ = l.send(kindQuit, []byte(text[:min(len(text), 200)]))
	_ = l.flush()
}

// quitTime is how long the word that one gives up may wait for room.
const quitTime = 50 * time.Millisecond

// bounded has what waits in conn return when ctx ends, until stop is called.
func bounded(ctx context.Context, conn *net.UnixConn) (stop func()) {
	_ = conn.SetDeadline(time.Time{})
	end := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return func() { end() }
}

// because adds why a context ended to an error that comes of it.
func because(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && !is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// is reports errors.Is of errors that may be the user's, and no where their methods do not answer.
func is(err, target error) bool {
	yes, _ := usercode.Answer(func() bool { return errchain.Is(err, target) })
	return yes
}
