package libnet

import (
	"reflect"
	"slices"
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

// A broadcast is one message on its way to many sessions.
type broadcast struct {
	msg     any    // read with message
	bytes   []byte // of one of bytes, which is put into msg when a codec needs it there
	isBytes bool
	repeats func() bool // whether some are to get it twice; nil where none are

	frames []encodedFrame
	waited time.Duration // for plain codecs; see patience
	late   []*Session    // have no codec yet: their turn comes last
	slow   []slowOffer   // their plain codecs are still at work on the message
	failed []notEncoded
	result BroadcastResult
}

func (b *broadcast) message() any {
	if b.isBytes && b.msg == nil {
		b.msg = b.bytes
	}
	return b.msg
}

// send sends the message to all but one.
func (b *broadcast) send(to []*Session, except *Session) BroadcastResult {
	if !b.extendRun(to, except) {
		for _, s := range to {
			if s != except {
				b.sendTo(s)
			}
		}
	}
	return b.end()
}

// extendRun sends a message of a burst at once to all who have the one before it still before them, and to the others
// one by one: see sendqueue.Lender. False says that it has gone to nobody.
func (b *broadcast) extendRun(to []*Session, except *Session) (sent bool) {
	first := firstFollower(to, except)
	if first == nil || b.repeats != nil && b.repeats() {
		return false
	}
	lender := &first.owner.flusher.lender
	var others []*Session
	_ = b.encodeFor(first, first.variant(), func(frame []byte) (lent sendqueue.Lent) {
		followers := 0
		lent, sent = lender.Extend(frame, func(run sendqueue.Followed) int {
			if !run.By(&first.q) { // but another one, whose followers may have agreed on something else
				return none
			}
			followers, others = countFollowers(run, to, except)
			return followers
		})
		if !sent {
			return lender.Lend(frame)
		}
		b.result.Sent += followers
		return lent
	})
	if !sent {
		return false
	}
	for _, s := range others {
		b.sendTo(s)
	}
	return true
}

// none is no number of followers.
const none = -1

func firstFollower(of []*Session, except *Session) *Session {
	for _, s := range of {
		if s != except && s.q.Follows() {
			return s
		}
	}
	return nil
}

// countFollowers counts those who follow the run, and returns the others.
func countFollowers(run sendqueue.Followed, to []*Session, except *Session) (followers int, others []*Session) {
	for _, s := range to {
		switch {
		case s == except:
		case run.By(&s.q) && !s.IsClosed():
			followers++
		default:
			others = append(others, s)
		}
	}
	return followers, others
}

// sendTo sends the message to s, if s has a codec.
func (b *broadcast) sendTo(s *Session) {
	if s.hasCodec() {
		b.offerTo(s)
		return
	}
	b.late = append(b.late, s)
}

// end sends the message to those that had no codec, as far as they have one now, and says what came of it all.
func (b *broadcast) end() BroadcastResult {
	makeCodecs(b.late)
	for _, s := range b.late {
		if s.hasCodec() {
			b.offerTo(s)
		} else {
			b.count(s, errBusy)
		}
	}
	b.awaitSlow()
	if failed := b.failed; len(failed) > 0 {
		within(codecPatience, func() { logNotEncoded(failed) }) // a logger is the user's
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
	case err == ErrSessionBlocked || err == errBusy:
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
	case err == ErrSessionBlocked || err == errBusy:
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
func (b *broadcast) offerTo(s *Session) {
	limit := s.owner.queueLimit()
	limit.Messages = max(limit.Messages, 1)
	switch {
	case s.IsClosed():
		b.count(s, s.closedErr())
	case s.conn == nil:
		b.count(s, s.offer(b.message(), limit))
	case !s.framing().appends:
		b.offerInTurn(s, limit)
	default:
		frame, err := b.frameFor(s)
		if err == nil {
			err = s.offerFrame(frame, &limit)
		}
		b.count(s, err)
	}
}

// patience is how long the broadcast waits for one plain codec before it goes on to the next member: all of it
// together, at most maxSlowCodecs times as long as for one. What is not encoded by then is waited for at the end.
func (b *broadcast) patience() time.Duration {
	return min(codecPatience, max(0, maxSlowCodecs*codecPatience-b.waited))
}

// offerInTurn is Session.offerInTurn that waits for a codec no longer than b.patience.
func (b *broadcast) offerInTurn(s *Session, limit sendqueue.Limit) {
	if s.q.IsFull(limit) {
		b.count(s, ErrSessionBlocked)
		return
	}
	began := time.Now()
	defer func() { b.waited += time.Since(began) }()
	if !s.takeTurnWithin(sendqueue.Background, b.patience()) {
		b.count(s, errBusy)
		return
	}
	o := s.startOffer(b.message(), limit)
	if !b.finish(o, b.patience()) {
		b.slow = append(b.slow, o)
	}
}

// awaitSlow waits for those whose codecs were at work when their turn ended, codecHangs for all, and then ends their
// sessions.
func (b *broadcast) awaitSlow() {
	hung := b.finishEach(b.slow, codecHangs)
	for _, o := range hung {
		o.session.endSoon(errCodecHangs)
	}
	for _, o := range b.finishEach(hung, codecPatience) {
		b.count(o.session, errCodecHangs)
	}
}

// finishEach returns those of whom nothing is known after d.
func (b *broadcast) finishEach(offers []slowOffer, d time.Duration) (unknown []slowOffer) {
	end := time.Now().Add(d)
	for _, o := range offers {
		if !b.finish(o, time.Until(end)) {
			unknown = append(unknown, o)
		}
	}
	return unknown
}

// codecHangs is how long a broadcast waits for plain codecs with its message, before it ends their sessions: a message
// that is being encoded can neither be taken back nor counted.
const codecHangs = 2 * time.Second

var errCodecHangs = newError("libnet: the codec does not come back")

// A slowOffer is a message that a plain codec encodes on a goroutine of its own, which the codec may keep or end.
type slowOffer struct {
	session *Session
	result  <-chan offerResult
}

type offerResult struct {
	err      error
	panicked bool
}

// startOffer has the message encoded and queued. The caller has the turn.
func (s *Session) startOffer(msg any, limit sendqueue.Limit) slowOffer {
	result := make(chan offerResult, 1)
	go func() {
		r := offerResult{err: ErrSessionClosed} // stays if the codec ends the goroutine
		defer func() { result <- r }()
		err := s.offerWithTurn(msg, limit)
		r = offerResult{err, err != nil && errorIs(err, ErrPanic)}
	}()
	return slowOffer{s, result}
}

// finish counts what came of o, if that is known within d.
func (b *broadcast) finish(o slowOffer, d time.Duration) (known bool) {
	r, known := o.await(d)
	if !known {
		return false
	}
	if r.panicked {
		b.endPanicked(o.session, r.err)
	}
	b.count(o.session, r.err)
	return true
}

// endPanicked waits for the end of a session whose codec panicked, where the broadcast has not waited for too much yet.
func (b *broadcast) endPanicked(s *Session, err error) {
	if b.patience() == 0 {
		s.endSoon(err)
		return
	}
	began := time.Now()
	s.endAside(err)
	b.waited += time.Since(began)
}

func (o slowOffer) await(d time.Duration) (r offerResult, known bool) {
	select {
	case r = <-o.result:
		return r, true
	default:
	}
	if d <= 0 {
		return r, false
	}
	bound := time.NewTimer(d)
	defer bound.Stop()
	select {
	case r = <-o.result:
		return r, true
	case <-bound.C:
		return r, false
	}
}

// offerWithTurn does not queue a message behind others that were encoded before and wait for a synchronous session.
func (s *Session) offerWithTurn(msg any, limit sendqueue.Limit) error {
	if s.owner.sendQueue() == 0 && s.q.HasLine() {
		s.q.GiveTurn()
		return ErrSessionBlocked
	}
	return s.offerPlain(msg, &limit, &limit, sendqueue.GivesTurn)
}

// offerFrame queues a frame that was encoded for many. From shareAt bytes on it is not copied; shorter ones are not,
// either, while a member has no other messages and nothing of the user's sees where they lie.
func (s *Session) offerFrame(frame *sendqueue.Lent, limit *sendqueue.Limit) error {
	by, err := s.putFrame(frame, limit)
	if by == sendqueue.ByNobody && err == nil { // the most usual in a burst
		return nil
	}
	if err == sendqueue.ErrFull && s.makeRoom() {
		by, err = s.putFrame(frame, limit)
	}
	s.flushBy(by)
	return s.refused(err)
}

func (s *Session) putFrame(frame *sendqueue.Lent, limit *sendqueue.Limit) (by sendqueue.By, err error) {
	switch {
	case len(frame.Bytes) >= shareAt:
		return s.q.PutShared(frame.Bytes, *limit)
	case s.sock != nil:
		return s.q.PutLent(frame, limit)
	}
	return s.q.PutCopy(sendqueue.Header{}, frame.Bytes, limit)
}

// makeRoom writes what the kernel takes of a queue that nobody is writing: its flush waits for the receiver, for more,
// or for a worker, and the peer would be refused messages for this side's delay. False says that nothing was to be
// done.
func (s *Session) makeRoom() bool {
	if !s.writesAtOnce() || !s.q.Begin() && !s.q.TakeOver() {
		return false
	}
	s.flushReady(s.q.Take())
	return true
}

// encodedFrame is the message in one protocol's encoding.
type encodedFrame struct {
	owner   *owner // of the session that was the first
	variant sendqueue.Variant
	lent    sendqueue.Lent // of a run where the bytes are few and the encoding is the first; nobody's own in any case
	err     error
}

// isFor reports whether o's sessions of that variant encode the message so. That o is the same is asked first: to
// compare the encodings takes longer than all else that is done for a member here.
func (f *encodedFrame) isFor(o *owner, variant sendqueue.Variant) bool {
	return (f.owner == o || f.owner.encoding == o.encoding) && f.variant == variant
}

func (s *Session) variant() sendqueue.Variant {
	if c, ok := s.codec.(interface{ Variant() sendqueue.Variant }); ok { // one of package ws
		return c.Variant()
	}
	return 0
}

// frameFor returns the message as s encodes it, encoding it if s is the first of its protocol.
func (b *broadcast) frameFor(s *Session) (*sendqueue.Lent, error) {
	variant := s.variant()
	for i := range b.frames {
		if f := &b.frames[i]; f.isFor(s.owner, variant) {
			return &f.lent, f.err
		}
	}
	lend := s.owner.flusher.lender.Lend
	if len(b.frames) > 0 { // it would lie between those of two messages
		lend = func(frame []byte) sendqueue.Lent { return sendqueue.Lent{Bytes: slices.Clone(frame)} }
	}
	err := b.encodeFor(s, variant, lend)
	return &b.frames[len(b.frames)-1].lent, err
}

// encodeFor adds the message as s encodes it to the frames. A short one is what lend makes of it: appendFrame has seen
// to it that a long one is nobody's own.
func (b *broadcast) encodeFor(s *Session, variant sendqueue.Variant, lend func([]byte) sendqueue.Lent) error {
	bytes, err := b.encode(s)
	if err == nil && len(bytes) > s.maxFrame() {
		bytes, err = nil, ErrFrameTooLarge
	}
	lent := sendqueue.Lent{Bytes: bytes}
	if err == nil && len(bytes) < shareAt {
		lent = lend(bytes)
	}
	b.frames = append(b.frames, encodedFrame{s.owner, variant, lent, err})
	return s.endIfPanic(err)
}

func (b *broadcast) encode(s *Session) ([]byte, error) {
	if !b.isBytes || b.msg != nil {
		return s.appendFrame(b.msg)
	}
	boxed := s.box(b.bytes)
	frame, err := s.appendFrame(boxed)
	unbox(boxed)
	return frame, err
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

// A codec that is only allocated is there at once; one that first talks to its peer may never be. A broadcast waits so
// long for one, and no longer than for maxSlowCodecs of them.
const (
	codecPatience = 10 * time.Millisecond
	maxSlowCodecs = 10
)

// codecMaker makes the codecs of sessions that have none, one behind the other, on a goroutine of its own; or on
// several, where one takes its time. One that somebody else is making already it leaves to them.
type codecMaker struct {
	sessions []*Session
	taken    atomic.Int64
	made     atomic.Int64
	done     chan struct{} // closed when all are made
}

// makeCodecs returns when the sessions have their codecs, or when it has waited long enough: the rest are made when
// they are.
func makeCodecs(sessions []*Session) {
	if len(sessions) == 0 {
		return
	}
	makeMissing(makeAtOnce(sessions))
	var prompt, making []<-chan struct{}
	for _, s := range sessions {
		switch made := s.codecBeingMade(); {
		case made == nil:
		case s.makesAtOnce(): // whoever makes it waits for nothing but a processor
			prompt = append(prompt, made)
		default:
			making = append(making, made)
		}
	}
	awaitEach(prompt, codecHangs)
	awaitEach(making, codecPatience)
}

// makeAtOnce makes those for which nobody has to wait, and returns the sessions of the others.
func makeAtOnce(sessions []*Session) (others []*Session) {
	for _, s := range sessions {
		if s.makesAtOnce() {
			s.startCodec()
		} else {
			others = append(others, s)
		}
	}
	return others
}

// makeMissing makes those that nobody makes yet.
func makeMissing(sessions []*Session) {
	if len(sessions) == 0 {
		return
	}
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
