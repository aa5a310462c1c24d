package libnet

import (
	"time"

	"github.com/libnet-go/libnet/internal/sendqueue"
)

// splitAt is the payload size from which a synchronous Send writes the header and the caller's bytes
// with one writev instead of copying them together first: below it the copy is cheaper (measured, see
// bench/README.md, "Where copying ends").
const splitAt = 32 << 10

// sendNow is Send on a synchronous session: the sender is itself the one who flushes, one behind the other.
func (s *Session) sendNow(ctx sendqueue.Context, msg any) error {
	c, w, err := s.claim(ctx, msg)
	if err != nil || c == nil {
		return err
	}
	if w != nil && s.q.Begin() { // what a broadcast has queued, and a receiver was to write
		go s.sendLoop()
	}
	if ctx.Done() != nil && s.framing().isPlain {
		return s.within(ctx, func() error { return s.writeEncoded(c, w) })
	}
	if err := s.awaitTurn(ctx, w); err != nil {
		return err
	}
	// Here, and not in writeOwn: what a stack has once grown to a session that waits keeps.
	if s.writesAtOnce() && !s.takesPieces(c) {
		if next, err := s.writeReady(c); next != c || err != nil {
			return s.wroteOwn(next, err)
		}
	}
	return s.writeOwnWithin(ctx, c)
}

// writeEncoded waits for its turn and writes for a SendContext of a plain codec, whose message cannot be taken back and
// may outlive its sender: until it is being written, it keeps the codec from encoding another one, so that no more than
// two are left behind.
func (s *Session) writeEncoded(c *sendqueue.Batch, w *sendqueue.Waiter) error {
	err := s.awaitTurn(sendqueue.Background, w)
	if w != nil {
		s.q.GiveTurn()
	}
	if err != nil {
		return err
	}
	return s.writeOwn(c)
}

// awaitTurn waits for w's turn; there is none to wait for where w is nil.
func (s *Session) awaitTurn(ctx sendqueue.Context, w *sendqueue.Waiter) error {
	if w == nil {
		return nil
	}
	if err := s.q.Await(ctx, w); err != nil {
		return s.refused(err)
	}
	return nil
}

// claim encodes msg and makes the caller the one who flushes it, or has it stand in line for that; it returns no c
// where a queue that is held has taken it.
func (s *Session) claim(ctx sendqueue.Context, msg any) (c *sendqueue.Batch, w *sendqueue.Waiter, err error) {
	if s.framing().isPlain {
		if err := s.takeTurn(ctx); err != nil {
			return nil, nil, err
		}
		defer func() {
			if w == nil || ctx.Done() == nil { // else see writeEncoded
				s.q.GiveTurn()
			}
		}()
	}
	if ctx.Done() == nil && payloadSize(msg) >= splitAt { // else the caller may change it while it is written
		c, err = s.split(msg)
	}
	if c == nil && err == nil {
		c, err = s.encode(msg)
	}
	if err != nil {
		return nil, nil, err
	}
	w, queued, err := s.q.Claim(c, s.framing().isPlain)
	switch {
	case err != nil:
		return nil, nil, s.refused(err)
	case queued:
		return nil, nil, nil
	}
	return c, w, nil
}

// writeOwn writes c, the caller's message in flight. What was queued meanwhile is left to a send loop.
func (s *Session) writeOwn(c *sendqueue.Batch) (err error) {
	returned := false
	defer func() {
		if !returned { // the user's conn or codec has ended the goroutine
			_ = s.outputFailed(ErrSessionClosed)
		}
	}()
	err = s.writeOwnWhole(c)
	returned = true
	return err
}

func (s *Session) writeOwnWhole(c *sendqueue.Batch) (err error) {
	if s.conn == nil {
		return s.giveOwn(c)
	}
	next := c
	for next == c && err == nil {
		next, err = s.writeWaiting(c)
	}
	return s.wroteOwn(next, err)
}

func (s *Session) wroteOwn(next *sendqueue.Batch, err error) error {
	switch {
	case err != nil:
		return s.ownOutputFailed(err)
	case next != nil:
		go s.sendLoop()
	}
	return nil
}

// giveOwn is writeOwn on a bare session, whose codec's error is Send's.
func (s *Session) giveOwn(c *sendqueue.Batch) error {
	err := s.codecSend(c.Message())
	if err != nil && !notWritten(err) {
		return s.ownOutputFailed(err)
	}
	next, closed := s.q.Gave(c, err == nil)
	if closed != nil {
		return s.refused(closed)
	}
	_ = s.wroteOwn(next, nil)
	return err
}

// writeOwnWithin is writeOwn until ctx ends. A write cannot be taken back, so what the kernel does not take at once is
// written on another goroutine where ctx can end.
func (s *Session) writeOwnWithin(ctx sendqueue.Context, c *sendqueue.Batch) error {
	if ctx.Done() == nil {
		return s.writeOwn(c)
	}
	return s.within(ctx, func() error { return s.writeOwn(c) })
}

// within has write done on another goroutine, and waits for it until ctx ends and a moment longer.
func (s *Session) within(ctx sendqueue.Context, write func() error) error {
	result := make(chan error, 1)
	go func() {
		err := error(ErrSessionClosed) // stays if the user's conn or codec ends the goroutine
		defer func() { result <- err }()
		err = write()
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-result:
		return err
	case <-time.After(writeReturns):
		return ctx.Err()
	}
}

// writeReturns is how long a write that the peer may have answered already has to return when ctx ends.
const writeReturns = 5 * time.Millisecond

func payloadSize(msg any) int {
	payload, _ := bytesOf(msg)
	return len(payload)
}

// split is encode for a large payload, which stays where the caller has it: Send does not return before it is written.
// It returns nil for a message that must be encoded.
func (s *Session) split(msg any) (c *sendqueue.Batch, err error) {
	splitter, ok := s.codec.(FrameSplitter)
	if !ok || !s.framing().appends {
		return nil, nil
	}
	c = sendqueue.NewDraft()
	header, payload, err := s.callSplitter(splitter, c.Room(), msg)
	switch {
	case err != nil:
		c.Free()
		return nil, s.endIfPanic(err)
	case payload == nil:
		c.Free()
		return nil, nil
	case len(payload) > s.maxFrame():
		c.Free()
		return nil, ErrFrameTooLarge
	}
	c.SetSplit(header, payload)
	return c, nil
}

func (s *Session) callSplitter(splitter FrameSplitter, dst []byte, msg any) (header, payload []byte, err error) {
	defer s.recovered("codec", &err)
	return splitter.SplitFrame(dst, msg)
}
