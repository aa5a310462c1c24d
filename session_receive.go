package libnet

import (
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"time"

	"github.com/libnet-go/libnet/internal/firstbytes"
)

// Receive waits for the next message and returns it in a slice that is the caller's to keep and to change; small ones
// that arrived together share an allocation, of 1 KiB at most. Only Config's timeouts and Close bound how long it
// waits. Any error has closed the session; it is the session's [Session.Err], among them io.EOF when the peer ended
// between two frames. Messages that arrived before the end are returned first. Where messages are large,
// [Session.Messages] spares most of what one costs: 65,000 bytes of memory that is new each time are four times as dear
// as the same in a buffer. A loop leaves at the first error: from the 1,000th call behind the end on, each takes 10 ms,
// and a line in the log says so. Calls are serialised. On a session of [Server.ServeMessages] it panics, but in
// OnSession.
func (s *Session) Receive() (msg []byte, err error) {
	if !s.beginReceive() {
		return nil, s.closedErr()
	}
	err = errGoroutineEnded
	defer s.endReceive(&err)
	payload, err := s.next()
	if err != nil || !s.framing().parses {
		return payload, err
	}
	return s.in.Copy(payload), nil
}

// ReceiveInto is [Session.Receive] into buf[:0], which grows if it must: with a large enough buf it
// allocates nothing.
func (s *Session) ReceiveInto(buf []byte) (msg []byte, err error) {
	receives := s.beginReceive()
	s.poison(buf[:cap(buf)])
	if !receives {
		return buf[:0], s.closedErr()
	}
	err = errGoroutineEnded
	defer s.endReceive(&err)
	payload, err := s.next()
	return append(buf[:0], payload...), err
}

// Messages iterates over the messages as they come, and waits for each as Receive does:
//
//	for msg := range s.Messages() {
//		…
//	}
//	// s.Err() says why the session has ended
//
// msg is lent: it is valid until the next one, and may be changed and appended to. So nothing is allocated for a
// message of up to 128 KiB. The loop ends when the session has ended and what arrived before has been received;
// [Session.Err] then has the reason, which is io.EOF where the peer ended in good order. One that is left goes on with
// the next message in another loop, or in Receive, which may also be called within. On a session of
// [Server.ServeMessages] it panics, but in OnSession.
func (s *Session) Messages() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var buf []byte
		for {
			msg, err := s.ReceiveInto(buf)
			if err != nil || !yield(msg[:len(msg):len(msg)]) {
				return
			}
			if buf = msg; cap(buf) > keptMessage {
				s.poison(buf)
				buf = nil
			}
		}
	}
}

// keptMessage is the most that is kept for the next message where messages are lent.
const keptMessage = 128 << 10

// beginReceive makes the caller the receiver; false if the session has ended without a codec, which somebody may still
// be making.
func (s *Session) beginReceive() bool {
	if s.serving.Started() {
		panic("libnet: Receive on a session of ServeMessages")
	}
	if s.yieldAsked.Load() && s.isArriving() {
		panic("libnet: Receive on a session that another process still has")
	}
	if !s.initCodec() {
		s.receivedLate()
		return false
	}
	s.recvMu.Lock()
	return true
}

// endReceive is deferred: the codec may have panicked. An error ends the session, with no lock held.
func (s *Session) endReceive(err *error) {
	r := recover()
	if *err != nil {
		s.endBurst()
	}
	s.recvMu.Unlock()
	switch {
	case r != nil:
		*err = s.panicked("codec", r)
	case *err == errGoroutineEnded:
		*err = ErrSessionClosed
	}
	if *err != nil {
		*err = s.fail(*err)
	}
}

// next returns the next message: a part of the input buffer, or the slice a plain codec returned. Its
// frames, and those below, lie on the stack of every session that waits: see docs/architecture.md before adding to
// them.
func (s *Session) next() ([]byte, error) {
	s.handled()
	if !s.canReceive() || s.mustYield() {
		return nil, s.closedErr()
	}
	if !s.framing().parses {
		return s.nextPlain()
	}
	for {
		payload, ok, err := s.parse()
		if ok || err != nil {
			return payload, err
		}
		if err := s.fill(s.inFrame()); err != nil {
			return nil, err
		}
	}
}

// parse cuts a message from the input; not ok says that its end has not arrived, or that it has to wait for the rate
// limit.
func (s *Session) parse() (payload []byte, ok bool, err error) {
	prefix := s.framing().prefix
	if prefix == nil || s.rare != nil {
		return s.parseAny()
	}
	var n int
	if src := s.in.Unread(); prefix.Masked() {
		payload, n = prefix.CutMasked(src)
	} else {
		payload, n = prefix.Cut(src)
	}
	if n == 0 {
		return s.parseAny()
	}
	s.in.Advance(n)
	if !s.countMessage(n) {
		return nil, false, s.closedErr()
	}
	return payload, true, nil
}

// parseAny is parse for whatever framing, limit and end of what has arrived.
func (s *Session) parseAny() (payload []byte, ok bool, err error) {
	for {
		src := s.in.Unread()
		if len(src) == 0 {
			return nil, false, nil
		}
		over := s.overLimit()
		if over && s.pauses() {
			return nil, false, nil
		}
		payload, n, err := s.parseFrame(src)
		switch {
		case err != nil:
			if n > 0 && n <= len(src) && s.skips() {
				s.in.Advance(n) // of the frame that ends the stream
				s.handOver()
			}
			return nil, false, s.explainFrame(err, src)
		case n == 0 && len(src) > s.maxFrame():
			return nil, false, s.explainFrame(ErrFrameTooLarge, src)
		case n == 0:
			s.in.SetSeen()
			return nil, false, nil
		case n < 0 || n > len(src):
			return nil, false, badCut(n, len(src))
		case over && s.owner.RateLimit.End:
			return nil, false, ErrRateLimit
		}
		s.in.Advance(n)
		if payload == nil && s.skips() {
			if !s.tookNoMessage(n) {
				return nil, false, s.closedErr()
			}
			continue
		}
		if !s.countMessage(n) {
			return nil, false, s.closedErr()
		}
		s.handing(len(payload))
		return payload[:len(payload):len(payload)], true, nil // appending to it must not reach the next frame
	}
}

// parseFrame has the codec look at src, and a codec that can go on where it ended look no more at what it has seen: a
// long line that arrives in many pieces is then searched once.
func (s *Session) parseFrame(src []byte) (payload []byte, n int, err error) {
	if seen := s.in.Seen(); seen > 0 {
		if r, ok := s.parser().(frameResumer); ok {
			return r.ResumeFrame(src, seen)
		}
	}
	return s.parser().ParseFrame(src)
}

// frameResumer is what package codec's codecs have: ParseFrame for a src of which the first seen bytes were no whole
// frame.
type frameResumer interface {
	ResumeFrame(src []byte, seen int) (payload []byte, n int, err error)
}

func badCut(n, of int) error {
	return fmt.Errorf("%w: the codec cut %d bytes from %d", ErrPanic, n, of)
}

// nextPlain asks a codec that knows only io.Reader.
func (s *Session) nextPlain() ([]byte, error) {
	if s.overLimit() && s.pauses() {
		if err := s.pause(); err != nil {
			return nil, err
		}
	}
	*s.plain() = plainInput{}
	payload, err := s.receivePlain()
	switch {
	case err == io.EOF && s.rare.plain.midFrame:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	case s.rare.plain.err != nil && len(payload) == 0:
		// The codec kept the end of the stream to itself and would do so for ever.
		return nil, s.rare.plain.err
	case len(payload) > s.maxFrame():
		return nil, ErrFrameTooLarge
	case s.owner.RateLimit.End && s.overLimit():
		return nil, ErrRateLimit
	}
	if !s.countMessage(s.plainRead()) {
		return nil, s.closedErr()
	}
	s.handing(len(payload))
	return payload, nil
}

// receivePlain has the codec receive, which may write meanwhile.
func (s *Session) receivePlain() ([]byte, error) {
	f := s.framing()
	if !f.isPlain {
		return s.codec.Receive()
	}
	f.receiving.Store(true)
	payload, err := s.codec.Receive()
	f.receiving.Store(false)
	return payload, err
}

// countMessage counts a message of n bytes. Others learn of it when the receiver next reads, but of the first at once,
// and of a frame's end: timeouts hang on these. And whoever sends may know that it is the last. False says that the
// session has ended and its counters are final.
func (s *Session) countMessage(n int) bool {
	s.parsed++
	if !s.handOver() {
		s.parsed--
		return false
	}
	s.noteRate(1, n)
	if s.parsed == 1 || s.conn == nil {
		s.q.NoteReceived(s.parsed, s.read.Load())
	}
	if s.parsed == 1 {
		s.admitted(awaitMessage)
	}
	if s.frameStart.Load() != 0 {
		s.frameStart.Store(0)
	}
	switch {
	case s.conn == nil:
	case s.in.Empty():
		s.q.ReceiverHasLast()
	case !s.burst.lasts(s.owner.flusher):
		s.beginBurst()
	}
	return true
}

// What a frame may hold beyond its message, where libnet cannot tell the two apart. A codec that can parse
// has bounds of its own, and only one that forgets them meets libnet's.
const (
	plainFrameRoom = 64
	frameRoom      = 64 << 10
)

// maxFrame bounds a frame by what the user set.
func (s *Session) maxFrame() int { return s.owner.maxFrame(s.framing().parses) }

func (o *owner) maxFrame(parses bool) int {
	limit := o.maxMessage()
	switch {
	case limit == 0 || o.MaxMessage == 0 && parses:
		return math.MaxInt
	case parses:
		return limit + frameRoom
	}
	return limit + plainFrameRoom
}

// fill reads once, waiting if it must, or waits until the rate limit has the next message come. Before it waits it
// flushes, so that request and response need no other goroutine, and gives the input's storage back.
func (s *Session) fill(inFrame bool) error {
	if s.isPaused() {
		return s.pause()
	}
	s.beforeWait(inFrame)
	if s.yieldAsked.Load() && s.yieldNow() { // asked for since next looked
		return s.closedErr()
	}
	var n int
	var err error
	failed := s.state.Load() == sessionOutputFailed
	switch {
	case failed:
		n, err = s.readArrived()
	case s.sock != nil:
		n, err = s.sock.Read(&s.in, s.usualRead)
	default:
		n, err = s.readPlain()
	}
	if n == 0 && !failed {
		n, err = s.afterInterrupt(err)
	}
	if n > 0 && s.canReceive() {
		s.took(n)
		return nil
	}
	s.noteDropped(max(n, 0))
	err = s.readError(err, inFrame)
	s.dropUnread()
	return err
}

// afterInterrupt is for a read that brought nothing, which may have been interrupted: because the output has failed, or
// for a shutdown that lets the session receive what has arrived. Something may have arrived since.
func (s *Session) afterInterrupt(err error) (int, error) {
	if s.state.Load() == sessionOutputFailed && s.inputWaits() {
		return s.readArrived()
	}
	for s.isInterrupted(err) && !(s.yieldAsked.Load() && s.yieldNow()) {
		var n int
		if n, err = s.readArrived(); n > 0 {
			return n, err
		}
		if err == nil && s.yieldAsked.Load() && s.yieldNow() { // what had arrived was a part of a record of TLS
			break
		}
		if err == nil { // it was to stop for a while, and may go on
			if n, err = s.sock.Read(&s.in, s.usualRead); n > 0 {
				return n, err
			}
		}
	}
	return 0, err
}

// isInterrupted reports whether a read ended because it was asked to, perhaps by somebody who has changed his mind.
func (s *Session) isInterrupted(err error) bool {
	return s.canInterrupt() && s.state.Load() == sessionOpen && errorIs(err, os.ErrDeadlineExceeded)
}

// canInterrupt reports whether a read can go on behind a deadline: the handshake of TLS could not.
func (s *Session) canInterrupt() bool { return s.sock != nil && s.sock.PendingHandshake() == nil }

// arrivedWait is how long a read waits for what a protocol such as TLS makes of what has arrived in the kernel.
const arrivedWait = 50 * time.Millisecond

// longAgo is a deadline for what is not to wait.
var longAgo = time.Unix(1, 0)

// readArrived reads what has arrived on a session whose output has failed: it does not wait for more.
func (s *Session) readArrived() (int, error) {
	if s.sock != nil {
		_ = s.conn.SetReadDeadline(time.Time{})
		return s.sock.ReadReady(&s.in, s.usualRead)
	}
	deadline := longAgo
	if s.inputWaits() {
		deadline = time.Now().Add(arrivedWait)
	}
	_ = s.conn.SetReadDeadline(deadline)
	return s.readPlain()
}

// beforeWait is what a receiver does before it reads.
func (s *Session) beforeWait(inFrame bool) {
	if inFrame {
		s.startFrame()
	}
	s.endBurst()
	if s.q.ReceiverWaits(s.parsed, s.read.Load()) {
		s.flushNow()
	}
}

// startFrame lets FrameTimeout begin, if the frame has only just begun.
func (s *Session) startFrame() {
	if s.frameStart.Load() == 0 && s.owner.frameTimeout() > 0 {
		s.frameStart.Store(s.now())
		s.watch(s.owner.frameTimeout())
		s.headShort = true
	}
	if s.headShort {
		s.noteHead()
	}
}

// noteHead keeps how the frame begins for what is to be said when it times out. A part of a header is looked at again.
func (s *Session) noteHead() {
	src := s.in.Unread()
	s.headShort = len(src) < firstbytes.Shown
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clock != nil {
		s.clock.head.n = copy(s.clock.head.bytes[:], src)
	}
}

// readError is the reason for which a read that brought nothing ends the session.
func (s *Session) readError(err error, inFrame bool) error {
	switch {
	case s.state.Load() != sessionOpen:
		return s.closedErr()
	case err == nil:
		return io.ErrNoProgress
	case err == io.EOF && (inFrame || !s.mayEnd()):
		err = io.ErrUnexpectedEOF
	}
	return s.explainEnd(err)
}

// took enters n bytes that were read behind the unread ones.
func (s *Session) took(n int) {
	s.in.Commit(n)
	s.read.Store(s.read.Load() + uint64(n))
	s.q.ReceiverWorks()
	s.usualRead.Update(n)
	s.received.Store(s.now())
}

// readPlain reads from a conn without a descriptor. It must hand over storage before it waits: little
// at first, and more once what came filled it.
func (s *Session) readPlain() (n int, err error) {
	if s.received.Load() == 0 {
		if err := s.handshakeFirst(); err != nil {
			return 0, err
		}
	}
	// 100 empty reads are what bufio allows a reader, too.
	for range 100 {
		p := s.in.WaitingSpace()
		n, err = s.readConn(p)
		if n < 0 || n > len(p) {
			return 0, badRead(n, len(p))
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, nil
}

// readConn reads when nobody else does: a conn of the user's may have a reader before it, which two at a time would
// spoil.
func (s *Session) readConn(p []byte) (int, error) {
	if s.sock == nil {
		turn := s.extras.reading
		turn <- struct{}{}
		defer func() { <-turn }()
	}
	return s.conn.Read(p)
}

func badRead(n, of int) error {
	return fmt.Errorf("%w: the connection read %d bytes into %d", ErrPanic, n, of)
}

// openedNow is now() at the moment the session was opened, so that 0 can stand for no time.
const openedNow = 1

// now is the time since the session was opened, never 0.
func (s *Session) now() int64 { return int64(time.Since(s.opened)) + openedNow }
