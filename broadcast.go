package libnet

import (
	"context"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/internal/sendqueue"
)

// shareAt is the frame size from which a broadcast's sessions share one copy: below it, copying is
// cheaper than a write of its own (measured, see bench/README.md, "Where copying ends").
const shareAt = 8 << 10

// BroadcastResult says what a broadcast came to: a count of sessions each.
type BroadcastResult struct {
	Sent    int // queued the message
	Blocked int // had no room: they refused the message, or dropped it; or their codec was busy with another for too long
	Closed  int // were closed, or are now: for want of room, or because their codec did not come back within two seconds
}

// Broadcast sends msg to all open sessions, as [Group.Broadcast] does.
func (m *Manager) Broadcast(msg any) BroadcastResult {
	b := broadcast{msg: msg}
	for s := range m.All() {
		b.sendTo(s)
	}
	return b.end()
}

// A broadcast is one message on its way to many sessions.
type broadcast struct {
	msg    any
	frames []encodedFrame
	waited time.Duration // for codecs that were at work on another message for too long
	late   []*Session    // have no codec yet: their turn comes last
	failed []notEncoded
	result BroadcastResult
}

// sendTo sends the message to s, if s has a codec.
func (b *broadcast) sendTo(s *Session) {
	if s.hasCodec.Load() {
		b.count(s, b.offerTo(s))
		return
	}
	b.late = append(b.late, s)
}

// end sends the message to those that had no codec, as far as they have one now, and says what came of it all.
func (b *broadcast) end() BroadcastResult {
	makeCodecs(b.late)
	for _, s := range b.late {
		if s.hasCodec.Load() {
			b.count(s, b.offerTo(s))
		} else {
			b.count(s, errCodecBusy)
		}
	}
	if len(b.failed) > 0 {
		within(codecPatience, func() { logNotEncoded(b.failed) }) // a logger is the user's
	}
	return b.result
}

func (b *broadcast) count(s *Session, err error) {
	if err == nil {
		b.result.Sent++
		return
	}
	b.notSent(s, err)
	switch {
	case s.IsClosed(): // or is now for want of room
		b.result.Closed++
	case err == ErrSessionBlocked || err == errCodecBusy:
		b.result.Blocked++
	default:
		b.failed = append(b.failed, notEncoded{s, err})
	}
}

// notSent is Session.notSent for one who does not wait for the end of a session.
func (b *broadcast) notSent(s *Session, err error) {
	switch {
	case s.IsClosed():
	case err == ErrSessionBlocked && s.owner.OnFull == CloseSession:
		s.endSoon(ErrSlowConsumer)
	case err == ErrSessionBlocked || err == errCodecBusy:
		s.owner.countBlocked()
	}
}

// notEncoded is a message that a session's codec refused.
type notEncoded struct {
	session *Session
	err     error
}

func logNotEncoded(failed []notEncoded) {
	for _, f := range failed {
		f.session.owner.eventLog().notEncoded(f.session, f.err)
	}
}

// offerTo queues the message for s. A synchronous session, whose queue has no room at all by itself,
// takes one; one whose codec stays at work on another message takes none.
func (b *broadcast) offerTo(s *Session) error {
	if s.IsClosed() {
		return s.closedErr()
	}
	limit := s.owner.queueLimit()
	limit.Messages = max(limit.Messages, 1)
	switch {
	case s.conn == nil:
		return s.offer(b.msg, limit)
	case s.appender == nil:
		return b.offerInTurn(s, limit)
	}
	frame, err := b.frameFor(s)
	if err != nil {
		return err
	}
	return s.offerFrame(frame, limit)
}

// offerInTurn is Session.offerInTurn that waits for another's message only as long as an ordinary codec takes.
func (b *broadcast) offerInTurn(s *Session, limit sendqueue.Limit) error {
	if s.q.IsFull(limit) {
		return ErrSessionBlocked
	}
	began := time.Now()
	bound := min(codecPatience, maxSlowCodecs*codecPatience-b.waited)
	if !s.takeTurnWithin(context.Background(), bound) {
		b.waited += time.Since(began)
		return errCodecBusy
	}
	err := s.offerElsewhere(b.msg, limit)
	switch {
	case err == nil || !errorIs(err, ErrPanic):
	case b.waited < maxSlowCodecs*codecPatience:
		s.endAside(err)
		b.waited += time.Since(began)
	default:
		s.endSoon(err)
	}
	return err
}

// codecHangs is how long a broadcast waits for a plain codec with its message, before it ends the session: a message that is
// being encoded can neither be taken back nor counted.
const codecHangs = 2 * time.Second

var errCodecHangs = newError("libnet: the codec does not come back")

// offerElsewhere has the message encoded and queued on another goroutine, which the codec may keep or end.
func (s *Session) offerElsewhere(msg any, limit sendqueue.Limit) (err error) {
	result := make(chan error, 1)
	go func() {
		err := ErrSessionClosed // stays if the codec ends the goroutine
		defer func() { result <- err }()
		err = s.offerWithTurn(msg, limit)
	}()
	bound := time.NewTimer(codecHangs)
	defer bound.Stop()
	select {
	case err := <-result:
		return err
	case <-bound.C:
	}
	s.endSoon(errCodecHangs)
	bound.Reset(codecPatience)
	select {
	case err := <-result:
		return err
	case <-bound.C:
		return errCodecHangs
	}
}

// offerWithTurn does not queue a message behind others that were encoded before and wait for a synchronous session.
func (s *Session) offerWithTurn(msg any, limit sendqueue.Limit) error {
	if s.owner.sendQueue() == 0 && s.q.HasLine() {
		s.giveTurn()
		return ErrSessionBlocked
	}
	return s.offerAndGiveTurn(msg, limit, limit)
}

// offerFrame queues a frame that was encoded for many. From shareAt bytes on it is not copied.
func (s *Session) offerFrame(frame []byte, limit sendqueue.Limit) error {
	by, err := sendqueue.ByNobody, error(nil)
	if len(frame) >= shareAt {
		by, err = s.q.PutShared(frame, limit)
	} else {
		by, err = s.q.PutCopy(sendqueue.Header{}, frame, limit)
	}
	s.flushBy(by)
	return s.refused(err)
}

// encodedFrame is the message in one protocol's encoding.
type encodedFrame struct {
	encoding any // see owner.encoding
	bytes    []byte
	err      error
}

// frameFor returns the message as s encodes it, encoding it if s is the first of its protocol.
func (b *broadcast) frameFor(s *Session) ([]byte, error) {
	for i := range b.frames {
		if f := &b.frames[i]; f.encoding == s.owner.encoding {
			return f.bytes, f.err
		}
	}
	bytes, err := s.appendFrame(b.msg)
	if err == nil && len(bytes) > s.maxFrame() {
		bytes, err = nil, ErrFrameTooLarge
	}
	b.frames = append(b.frames, encodedFrame{s.owner.encoding, bytes, err})
	return bytes, s.endIfPanic(err)
}

// encodingOf identifies what o's sessions make of a message: their protocol, where protocols can be
// compared, and the bound that the user set.
func encodingOf(o *owner) any {
	if !reflect.ValueOf(o.protocol).Comparable() {
		return o
	}
	return encoding{o.protocol, o.MaxMessage}
}

type encoding struct {
	protocol   Protocol
	maxMessage int
}

// A codec that is only allocated is there at once; one that first talks to its peer may never be. A broadcast waits so long for
// one, and no longer than for maxSlowCodecs of them.
const (
	codecPatience = 10 * time.Millisecond
	maxSlowCodecs = 10
)

// codecMaker makes the codecs of sessions that have none, one behind the other, on a goroutine of its own; or on several, where one
// takes its time. One that somebody else is making already it leaves to them.
type codecMaker struct {
	sessions []*Session
	taken    atomic.Int64
	made     atomic.Int64
	done     chan struct{} // closed when all are made
}

// makeCodecs returns when the sessions have their codecs, or when it has waited long enough: the rest are made when they are.
func makeCodecs(sessions []*Session) {
	if len(sessions) == 0 {
		return
	}
	makeMissing(sessions)
	var making []<-chan struct{}
	for _, s := range sessions {
		if made := s.codecBeingMade(); made != nil {
			making = append(making, made)
		}
	}
	awaitEach(making, codecPatience)
}

// makeMissing makes those that nobody makes yet.
func makeMissing(sessions []*Session) {
	m := &codecMaker{sessions: sessions, done: make(chan struct{})}
	for range min(maxSlowCodecs, len(sessions)) {
		go m.work()
		if m.wait() {
			return
		}
	}
}

// awaitEach waits until all are closed, for d at most.
func awaitEach(all []<-chan struct{}, d time.Duration) {
	if len(all) == 0 {
		return
	}
	bound := time.NewTimer(d)
	defer bound.Stop()
	for _, c := range all {
		select {
		case <-c:
		case <-bound.C:
			return
		}
	}
}

func (m *codecMaker) work() {
	for {
		i := m.taken.Add(1) - 1
		if i >= int64(len(m.sessions)) {
			return
		}
		m.make(m.sessions[i])
	}
}

func (m *codecMaker) make(s *Session) {
	defer func() {
		if m.made.Add(1) == int64(len(m.sessions)) {
			close(m.done)
		}
	}()
	if mine, _ := s.beginCodec(); mine {
		s.makeCodec()
	}
}

// wait waits for as long as codecs are made, and reports whether all are.
func (m *codecMaker) wait() bool {
	ticker := time.NewTicker(codecPatience)
	defer ticker.Stop()
	for seen := m.made.Load(); ; {
		select {
		case <-m.done:
			return true
		case <-ticker.C:
		}
		made := m.made.Load()
		if made == seen {
			return false
		}
		seen = made
	}
}
