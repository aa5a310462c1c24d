package libnet

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"time"
)

// splitAt is the payload size from which a synchronous Send writes the header and the caller's bytes
// with one writev instead of copying them together first: below it the copy is cheaper (measured, see
// bench/README.md).
const splitAt = 16 << 10

// Send queues msg for the peer, in the order of the calls, and returns without waiting for it: nil
// means that the message will be written or counted in Stats().Discarded. The message is encoded before
// Send returns and may then be changed. Errors: [ErrSessionClosed] or the reason of the session's end;
// [ErrSessionBlocked] or [ErrSlowConsumer] when the queue is full, as Config.OnFull says;
// [ErrFrameTooLarge], and errors that wrap [ErrEncode], for a message that cannot be sent: these leave
// the session open.
//
// On a synchronous session (SendQueue 0) Send writes before it returns, one write a message, and waits
// while others send; nil means that the kernel has the message, and an error of the transport closes
// the session.
func (s *Session) Send(msg any) error {
	s.initCodec()
	if s.owner.sendQueue() == 0 {
		return s.sendNow(msg)
	}
	err := s.offer(msg, s.owner.sendQueue(), s.owner.sendQueueBytes())
	if err == ErrSessionBlocked {
		return s.onFull(msg)
	}
	if err != nil {
		return err
	}
	s.wake()
	return nil
}

// SendContext is [Session.Send] that waits for room in a full queue, whatever Config.OnFull says. It
// returns ctx's error when ctx ends first; the message is then not queued.
func (s *Session) SendContext(ctx context.Context, msg any) error {
	s.initCodec()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.owner.sendQueue() == 0 {
		return s.sendNow(msg)
	}
	for {
		err := s.offer(msg, s.owner.sendQueue(), s.owner.sendQueueBytes())
		if err == nil {
			s.wake()
			return nil
		}
		if err != ErrSessionBlocked {
			return err
		}
		select {
		case <-s.q.roomChanged():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// offer encodes msg into the queue, unless that is full.
func (s *Session) offer(msg any, maxMessages, maxBytes int) error {
	switch {
	case s.conn == nil:
		return s.offerBare(msg, maxMessages)
	case s.appender == nil:
		s.sendMu.Lock()
		err := s.encodePlain(msg, maxMessages, maxBytes)
		s.sendMu.Unlock()
		return s.closeIfPanic(err)
	}
	return s.closeIfPanic(s.encode(msg, maxMessages, maxBytes))
}

// encode appends msg's frame to the queue.
func (s *Session) encode(msg any, maxMessages, maxBytes int) error {
	q := &s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := s.mayQueueLocked(0, maxMessages, maxBytes); err != nil {
		return err
	}
	b := q.appendToLocked()
	start := len(b.buf)
	frame, err := s.appendFrame(b.buf, msg)
	if err != nil {
		b.buf = b.buf[:start]
		q.dropEmptyLocked()
		return err
	}
	n := len(frame) - start
	if n > s.maxFrame() {
		q.dropEmptyLocked()
		return ErrFrameTooLarge
	}
	if q.fullLocked(n, maxMessages, maxBytes) {
		b.buf = frame[:start]
		return ErrSessionBlocked
	}
	b.buf = frame
	b.commit(n, true)
	q.acceptedLocked(n)
	return nil
}

func (s *Session) appendFrame(dst []byte, msg any) (frame []byte, err error) {
	defer s.recovered("codec", &err)
	frame, err = s.appender.AppendFrame(dst, msg)
	if err == nil && len(frame) < len(dst) {
		err = errShrunk
	}
	return frame, err
}

var errShrunk = newError("libnet: the codec shortened what it should append to")

// encodePlain has a codec that knows only io.Writer write msg's frame into the queue. No flush takes
// the batch in the meantime, so a frame whose encoding fails leaves nothing behind. The caller holds sendMu.
func (s *Session) encodePlain(msg any, maxMessages, maxBytes int) error {
	q := &s.q
	q.mu.Lock()
	if err := s.mayQueueLocked(0, maxMessages, maxBytes); err != nil {
		q.mu.Unlock()
		return err
	}
	b := q.appendToLocked()
	start := len(b.buf)
	q.sending = true
	q.mu.Unlock()

	err := s.codecSend(msg)

	q.mu.Lock()
	defer q.mu.Unlock()
	q.sending = false
	if q.pending != b { // closed meanwhile
		return s.closedErr()
	}
	n := len(b.buf) - start
	switch {
	case err != nil:
	case n > s.maxFrame():
		err = ErrFrameTooLarge
	case q.fullLocked(n, maxMessages, maxBytes):
		err = ErrSessionBlocked
	}
	if err != nil {
		b.buf = b.buf[:start]
		q.dropEmptyLocked()
		return err
	}
	b.commit(n, true)
	q.acceptedLocked(n)
	return nil
}

func (s *Session) codecSend(msg any) (err error) {
	defer s.recovered("codec", &err)
	return s.codec.Send(msg)
}

// offerBare queues the message itself.
func (s *Session) offerBare(msg any, maxMessages int) error {
	q := &s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := s.mayQueueLocked(0, maxMessages, 0); err != nil {
		return err
	}
	b := q.appendToLocked()
	b.msgs = append(b.msgs, msg)
	b.commit(0, true)
	q.acceptedLocked(0)
	return nil
}

// offerFrame queues a frame that a broadcast encoded. From shareAt bytes on it is not copied.
func (s *Session) offerFrame(frame []byte, maxMessages, maxBytes int) error {
	q := &s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := s.mayQueueLocked(len(frame), maxMessages, maxBytes); err != nil {
		return err
	}
	b := q.appendToLocked()
	if len(frame) >= shareAt {
		b.share(frame)
	} else {
		b.buf = append(b.buf, frame...)
		b.commit(len(frame), true)
	}
	q.acceptedLocked(len(frame))
	return nil
}

func (s *Session) mayQueueLocked(n, maxMessages, maxBytes int) error {
	if s.q.state != queueOpen {
		return s.closedErr()
	}
	if s.q.fullLocked(n, maxMessages, maxBytes) {
		return ErrSessionBlocked
	}
	return nil
}

// onFull does what Config.OnFull says with a message that found no room.
func (s *Session) onFull(msg any) error {
	switch s.owner.OnFull {
	case CloseSession:
		s.terminate(ErrSlowConsumer)
		return ErrSlowConsumer
	case DropOldest:
		return s.sendDropping(msg)
	}
	s.owner.countBlocked()
	return ErrSessionBlocked
}

// sendDropping makes room by discarding the oldest messages. What a flush is already writing cannot be
// taken back and does not count against the new message.
func (s *Session) sendDropping(msg any) error {
	maxMessages, maxBytes := s.owner.sendQueue(), s.owner.sendQueueBytes()
	for {
		dropped := s.q.dropOldest()
		if !dropped {
			maxMessages, maxBytes = math.MaxInt, 0
		}
		err := s.offer(msg, maxMessages, maxBytes)
		if err == nil {
			s.wake()
			return nil
		}
		if err != ErrSessionBlocked {
			return err
		}
	}
}

// sendNow is Send on a synchronous session.
func (s *Session) sendNow(msg any) error {
	s.sendMu.Lock()
	err, closing := s.writeNow(msg)
	s.sendMu.Unlock()
	if closing {
		s.terminate(err)
	}
	return err
}

// writeNow reports beside the error whether that ends the session.
func (s *Session) writeNow(msg any) (err error, closing bool) {
	if s.conn == nil {
		if s.IsClosed() {
			return s.closedErr(), false
		}
		err = s.codecSend(msg)
		return err, err != nil && !notWritten(err)
	}
	if err = s.offerNow(msg); err != nil {
		return err, errors.Is(err, ErrPanic)
	}
	err = s.flushAndWait()
	return err, err != nil
}

// offerNow queues msg, however full a broadcast has made the queue. A large payload stays where the
// caller has it: Send does not return before it is written.
func (s *Session) offerNow(msg any) error {
	if s.appender == nil {
		return s.encodePlain(msg, math.MaxInt, 0)
	}
	if splitter, ok := s.codec.(FrameSplitter); ok && payloadSize(msg) >= splitAt {
		return s.offerSplit(splitter, msg)
	}
	return s.encode(msg, math.MaxInt, 0)
}

func payloadSize(msg any) int {
	switch m := msg.(type) {
	case []byte:
		return len(m)
	case *[]byte:
		if m != nil {
			return len(*m)
		}
	}
	return 0
}

func (s *Session) offerSplit(splitter FrameSplitter, msg any) (err error) {
	var room [frameRoom]byte
	header, payload, err := splitter.SplitFrame(room[:0], msg)
	if err != nil {
		return err
	}
	if payload == nil {
		return s.encode(msg, math.MaxInt, 0)
	}
	if len(payload) > s.maxFrame() {
		return ErrFrameTooLarge
	}
	q := &s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := s.mayQueueLocked(0, math.MaxInt, 0); err != nil {
		return err
	}
	b := q.appendToLocked()
	b.buf = append(b.buf, header...)
	b.commit(len(header), false)
	b.share(payload)
	q.acceptedLocked(len(header) + len(payload))
	return nil
}

// flushAndWait writes what is queued, or waits for the flush that is already doing so.
func (s *Session) flushAndWait() error {
	for {
		if s.q.begin() {
			if err := s.flush(true); err != nil {
				return err
			}
			return nil
		}
		idle := s.q.idle()
		if idle == nil {
			if s.q.isClosed() {
				return s.closedErr()
			}
			return nil
		}
		<-idle // that flush ends within WriteTimeout
	}
}

// wake sees to it that what was queued is written: by the receiver if it is about to wait, else by the
// flusher, or by the session's own send loop.
func (s *Session) wake() {
	q := &s.q
	q.mu.Lock()
	if q.flushing || q.pending == nil || q.sending || q.state == queueClosed {
		q.mu.Unlock()
		return
	}
	f := s.owner.flusher
	if f != nil && !q.away && s.receiver.Load() == receiverActive {
		tell := !q.deferred
		q.deferred = true
		q.mu.Unlock()
		if tell {
			f.flushLater(s)
		}
		return
	}
	q.flushing = true
	q.mu.Unlock()
	if f != nil && s.sock != nil {
		f.flush(s)
		return
	}
	go s.sendLoop()
}

// sendLoop writes until the queue is empty. It waits for a slow peer, so it has a goroutine of its own.
// Whoever starts it has begun the flush.
func (s *Session) sendLoop() {
	if err := s.flush(true); err != nil {
		s.terminate(err)
	}
}

// flushBeforeWait is the receiver's flush. It must not wait for a peer that may itself be waiting for us
// to read: what the kernel does not take at once is left to a send loop.
func (s *Session) flushBeforeWait() error {
	q := &s.q
	q.mu.Lock()
	q.away = false
	begun := q.beginLocked()
	q.mu.Unlock()
	if !begun {
		return nil
	}
	if s.sock == nil {
		go s.sendLoop()
		return nil
	}
	return s.flush(false)
}

// flush writes until the queue is empty; the caller has begun it. Without wait, what the kernel does not
// take at once is left to a send loop. After an error the queue is closed and what was not written is
// counted as discarded; the caller ends the session with that error.
func (s *Session) flush(wait bool) error {
	for {
		b := s.q.take()
		if b == nil {
			return nil
		}
		var done bool
		var err error
		if !wait || len(b.shared) == 0 { // else one writev does for all pieces
			done, err = s.writeReady(b)
		}
		if err == nil && !done {
			if !wait {
				go s.sendLoop()
				return nil
			}
			err = s.writeWaiting(b)
		}
		if err != nil {
			s.q.fail(s.owner.sendQueue() == 0)
			return s.writeError(err)
		}
	}
}

// writeError is the reason that a failed write gives the session.
func (s *Session) writeError(err error) error {
	switch {
	case errors.Is(err, net.ErrClosed):
		return s.closedErr()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrWriteTimeout
	}
	return err
}

// writeReady writes as much of b as the kernel takes at once.
func (s *Session) writeReady(b *batch) (done bool, err error) {
	if s.sock == nil {
		return false, nil
	}
	for {
		p := b.next()
		n, err := s.sock.write(p)
		if s.q.wrote(b, n) {
			return true, nil
		}
		if err != nil || n < len(p) {
			return false, err
		}
	}
}

// writeWaiting writes the rest of b, waiting for the peer as long as it makes progress.
func (s *Session) writeWaiting(b *batch) error {
	if s.conn == nil {
		return s.writeBare(b)
	}
	timeout := s.owner.writeTimeout()
	if timeout > 0 {
		defer func() { _ = s.conn.SetWriteDeadline(time.Time{}) }()
	}
	for {
		if timeout > 0 {
			_ = s.conn.SetWriteDeadline(time.Now().Add(timeout))
		}
		n, err := s.writeSome(b)
		if s.q.wrote(b, n) {
			return nil
		}
		// A deadline that passed while bytes moved only ends this write.
		if err != nil && (n == 0 || s.secure() || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
	}
}

// tlsRecord is the largest payload of a TLS record (RFC 8446, 5.1).
const tlsRecord = 16 << 10

// writeSome is one waiting write. crypto/tls cannot go on after a deadline, so progress there is
// measured by the record.
func (s *Session) writeSome(b *batch) (int, error) {
	if s.secure() {
		p := b.next()
		return s.conn.Write(p[:min(len(p), tlsRecord)])
	}
	if len(b.shared) == 0 {
		return s.conn.Write(b.next())
	}
	pieces := b.pieces()
	n, err := pieces.WriteTo(s.conn)
	return int(n), err
}

func (s *Session) secure() bool { return s.conn != transport(s.conn) }

// writeBare sends the messages of a session made from a bare codec. One that cannot be encoded is
// counted as discarded: its Send has returned already.
func (s *Session) writeBare(b *batch) error {
	for len(b.msgs) > b.first {
		s.sendMu.Lock()
		err := s.codecSend(b.msgs[b.first])
		s.sendMu.Unlock()
		if err != nil && !notWritten(err) {
			return err
		}
		s.q.sentMessage(b, err == nil)
	}
	s.q.wrote(b, 0)
	return nil
}

// notWritten reports whether a codec's Send says that it wrote nothing and the stream is whole.
func notWritten(err error) bool {
	return errors.Is(err, ErrEncode) || errors.Is(err, ErrFrameTooLarge)
}
