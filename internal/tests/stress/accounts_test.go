package stress

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// An account is what became of one sender's messages, by their numbers. The sender has it until all have returned.
type account struct {
	sender int
	fate   []fate
}

type fate uint8

const (
	refused  fate = iota // Send has returned an error: the peer must not get it
	accepted             // Send has returned nil: it is written or discarded
	unsure               // a SendContext whose context ended, on a synchronous session, or a broadcast: either may be
)

// An end is one of the two of a connection.
type end struct {
	*libnet.Session
	t    testing.TB
	name string
	peer *end
	web  bool // one of the two sees less of the wire than the other

	accepted, unsure, refused atomic.Uint64

	mu sync.Mutex
	// mu guards the following.
	sent     map[int]*account // by sender
	received []note           // in order
	handled  int              // how many of these the handler has returned from
}

type note struct{ sender, number int }

func newEnd(t testing.TB, name string, s *libnet.Session) *end {
	return &end{Session: s, t: t, name: name, sent: make(map[int]*account)}
}

// account is made before its first message is sent.
func (e *end) account(sender int) *account {
	a := &account{sender: sender}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sent[sender] = a
	return a
}

// enter notes what a Send has returned.
func (e *end) enter(a *account, what fate) {
	a.fate = append(a.fate, what)
	switch what {
	case accepted:
		e.accepted.Add(1)
	case unsure:
		e.unsure.Add(1)
	case refused:
		e.refused.Add(1)
	}
}

// moved counts what has become of messages, both ways.
func (e *end) moved() uint64 {
	s := e.Stats()
	return e.accepted.Load() + e.unsure.Load() + e.refused.Load() + s.MessagesIn + s.MessagesOut
}

// took is called by the one receiver.
func (e *end) took(msg []byte) {
	sender, number := testkit.ParseMessage(e.t, msg)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.received = append(e.received, note{sender, number})
}

// handledOne is called when the handler has done all that it does with a message, as noting what it has answered.
func (e *end) handledOne() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handled++
}

// check balances the books of a session that has ended, when all who use it have returned. Broadcasts are beyond what
// senders have noted: broadcast is the most that these may have been.
func (e *end) check(broadcast uint64) {
	s, peer := e.Stats(), e.peer.Stats()
	e.awaitHandled(s.MessagesIn)
	e.peer.awaitHandled(peer.MessagesIn)
	fates := s.MessagesOut + s.Discarded
	if known := e.accepted.Load(); fates < known || fates > known+e.unsure.Load()+broadcast {
		e.t.Errorf("%s: %d messages written and %d discarded; %d accepted, %d unsure, %d broadcast (%v)",
			e.name, s.MessagesOut, s.Discarded, known, e.unsure.Load(), broadcast, e.Err())
	}
	if s.Queued != 0 || s.QueuedBytes != 0 {
		e.t.Errorf("%s: %d messages, %d bytes queued after the end", e.name, s.Queued, s.QueuedBytes)
	}
	bytesOut, most := peer.BytesOut, peer.MessagesOut
	if e.web { // a client of package ws counts nothing of a Write that failed, though its first frames may arrive
		bytesOut, most = s.BytesIn, most+peer.Discarded
	}
	if s.MessagesIn > most || s.BytesIn > bytesOut {
		e.t.Errorf("%s: %d messages, %d bytes received; its peer has written %d, %d",
			e.name, s.MessagesIn, s.BytesIn, peer.MessagesOut, peer.BytesOut)
	}
	if e.Err() == io.EOF && s.Dropped == 0 && (s.MessagesIn != peer.MessagesOut || s.BytesIn != bytesOut) {
		e.t.Errorf("%s: an end in good order after %d messages, %d bytes; its peer has written %d, %d (%v)",
			e.name, s.MessagesIn, s.BytesIn, peer.MessagesOut, peer.BytesOut, e.peer.Err())
	}
	if received := uint64(len(e.received)); received != s.MessagesIn && !e.endedByHandler() {
		e.t.Errorf("%s: %d messages were handed over, %d are counted (%v)", e.name, received, s.MessagesIn, e.Err())
	}
	e.checkOrder()
}

// awaitHandled waits for a handler that has its last message: a session does not wait for it, and has ended before.
func (e *end) awaitHandled(n uint64) {
	for until := time.Now().Add(testkit.Patience); time.Now().Before(until) && !e.hasHandled(n); {
		time.Sleep(time.Millisecond)
	}
}

func (e *end) hasHandled(n uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return uint64(len(e.received)) >= n && e.handled == len(e.received)
}

// endedByHandler reports whether the session's own handler has ended it: then Stats lacks what that has had since the
// last read.
func (e *end) endedByHandler() bool {
	return errors.Is(e.Err(), errByHandler) || errors.Is(e.Err(), libnet.ErrPanic) || errors.Is(e.Err(), libnet.ErrSlowConsumer)
}

// checkOrder looks for messages that were refused, came twice, or came before older ones of their sender.
func (e *end) checkOrder() {
	next := make(map[int]int)
	for _, n := range e.received {
		a := e.peer.sent[n.sender]
		if a == nil && n.sender < firstBroadcaster {
			e.t.Errorf("%s: received message %d of sender %d, who is not its peer's", e.name, n.number, n.sender)
			return
		}
		if n.number < next[n.sender] {
			e.t.Errorf("%s: received message %d of sender %d; want %d or later", e.name, n.number, n.sender, next[n.sender])
		}
		next[n.sender] = n.number + 1
		if a != nil && (n.number >= len(a.fate) || a.fate[n.number] == refused) {
			e.t.Errorf("%s: received message %d of sender %d, which was refused", e.name, n.number, n.sender)
		}
	}
}
