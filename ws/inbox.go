package ws

import (
	"sync"

	"github.com/libnet-go/libnet/internal/lock"
)

const (
	// inboxSize is how many bytes may wait to be read before the receive loop waits, too. One message
	// fits whatever its size.
	inboxSize = 32 << 10

	// keptMessage is the largest buffer whose storage is kept for another message.
	keptMessage = 64 << 10
)

type inbuf struct{ bytes []byte }

var inbufs = sync.Pool{New: func() any { return new(inbuf) }}

func putInbuf(b *inbuf) {
	if b != nil && cap(b.bytes) <= keptMessage {
		b.bytes = b.bytes[:0]
		inbufs.Put(b)
	}
}

// An inbox is where the receive loop leaves frames for Read. It has no storage while it is empty.
type inbox struct {
	filled chan struct{} // one element; sent by the receive loop, received by Read
	room   chan struct{} // one element; sent by Read, received by the receive loop
	over   chan struct{} // closed by end
	closed chan struct{} // closed by close

	mu lock.Mutex[inboxLock]
	// mu guards the following.
	buf  *inbuf
	read int   // how much of buf was read
	err  error // what follows buf
	shut bool
}

func (in *inbox) init() {
	in.filled, in.room = make(chan struct{}, 1), make(chan struct{}, 1)
	in.over, in.closed = make(chan struct{}), make(chan struct{})
}

// take reads into p; 0, nil when there is nothing.
func (in *inbox) take(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.buf == nil {
		return 0, in.err
	}
	n := copy(p, in.buf.bytes[in.read:])
	in.read += n
	if in.read == len(in.buf.bytes) {
		putInbuf(in.buf)
		in.buf, in.read = nil, 0
		signal(in.room)
	}
	return n, nil
}

// waits reports whether something is unread and more may come.
func (in *inbox) waits() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.buf != nil && in.err == nil
}

// put appends b's bytes and takes b over. It does not wait.
func (in *inbox) put(b *inbuf) {
	in.mu.Lock()
	switch {
	case in.shut:
		putInbuf(b)
	case in.buf == nil:
		in.buf = b
	default:
		unread := in.buf.bytes[:copy(in.buf.bytes, in.buf.bytes[in.read:])]
		in.buf.bytes, in.read = append(unread, b.bytes...), 0
		putInbuf(b)
	}
	in.mu.Unlock()
	signal(in.filled)
}

// awaitRoom waits until less than inboxSize is unread; false once the inbox is shut.
func (in *inbox) awaitRoom() bool {
	for {
		in.mu.Lock()
		hasRoom := in.buf == nil || len(in.buf.bytes)-in.read < inboxSize
		shut := in.shut
		in.mu.Unlock()
		if shut || hasRoom {
			return !shut
		}
		select {
		case <-in.room:
		case <-in.closed:
		}
	}
}

// end says, once, what comes behind the last message.
func (in *inbox) end(err error) {
	in.mu.Lock()
	if in.err == nil {
		in.err = err
	}
	in.mu.Unlock()
	close(in.over)
	signal(in.filled)
}

func (in *inbox) hasEnded() bool { return in.ended() != nil }

// ended returns what end or close was told, nil before.
func (in *inbox) ended() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}

// drop discards what is unread, and returns how much that was.
func (in *inbox) drop() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.dropLocked()
}

func (in *inbox) dropLocked() (n int) {
	if in.buf != nil {
		n = len(in.buf.bytes) - in.read
	}
	in.buf, in.read = nil, 0
	return n
}

// close discards what is unread; false if that has happened.
func (in *inbox) close(err error) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.shut {
		return false
	}
	in.shut, in.err = true, err
	in.dropLocked()
	close(in.closed)
	return true
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
