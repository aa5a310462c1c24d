package libnet

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/lengthprefix"
	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/usercode"
)

type codecState uint8

const (
	codecNone codecState = iota
	codecMaking
	codecMade // or failed, or given up: whether there is one, hasCodec says
)

// initCodec has the protocol make the codec, in the goroutine that first needs it, and reports whether
// there is one; without, the session is closed. Others wait for it, but not on a closed session: its
// callbacks may run while the codec is being made.
func (s *Session) initCodec() bool { return s.hasCodec() || s.makeOrAwaitCodec() }

func (s *Session) makeOrAwaitCodec() bool {
	mine, made := s.beginCodec()
	switch {
	case mine:
		s.makeCodec()
	case made != nil:
		<-made
	}
	return s.hasCodec()
}

// startCodec is initCodec for those who must not wait: it returns a channel that is closed when it is known whether
// there is a codec; nil when it is known already.
func (s *Session) startCodec() <-chan struct{} {
	mine, made := s.beginCodec()
	switch {
	case mine && s.makesAtOnce():
		s.makeCodec()
	case mine:
		_, made = s.beginCodec()
		go s.makeCodec()
	}
	return made
}

// A promptProtocol can say that its NewCodec neither waits nor calls code of a user's, as package codec's: then a
// goroutine for it would only be another one that a busy machine has to come to. It answers for of alone, and not for a
// protocol that embeds it.
type promptProtocol interface {
	MakesAtOnce(of Protocol, _ inside.Call) bool
}

func (s *Session) makesAtOnce() bool {
	p, ok := s.owner.protocol.(promptProtocol)
	return ok && s.proxied() == nil && p.MakesAtOnce(s.owner.protocol, inside.Call{})
}

// beginCodec has the caller make the codec, if nobody does, or returns what is closed when that has been done.
func (s *Session) beginCodec() (mine bool, made <-chan struct{}) {
	s.mustBeMade()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state.Load() != sessionOpen || s.making == codecMade:
		return false, nil
	case s.making == codecNone:
		s.making = codecMaking
		return true, nil
	}
	e := s.extrasLocked()
	if e.made == nil {
		e.made = make(chan struct{})
	}
	return false, e.made
}

// codecBeingMade returns what is closed when the codec is made that somebody is making; nil where nobody is.
func (s *Session) codecBeingMade() <-chan struct{} {
	s.mu.Lock()
	idle := s.making == codecNone
	s.mu.Unlock()
	if idle {
		return nil
	}
	_, made := s.beginCodec()
	return made
}

// codecKnownLocked tells those who wait for the codec.
func (s *Session) codecKnownLocked() {
	if e := s.extras; e != nil && e.made != nil {
		close(e.made)
		e.made = nil
	}
}

// makeCodec has the protocol make it.
func (s *Session) makeCodec() { s.makeCodecBy(s.newCodec) }

// makeCodecBy holds recvMu, since NewCodec may read.
func (s *Session) makeCodecBy(newCodec func() (Codec, error)) {
	s.recvMu.Lock()
	ended := true // its goroutine, by NewCodec
	var err error
	defer func() {
		s.recvMu.Unlock()
		if ended {
			err = ErrSessionClosed
		}
		end := s.endAside
		if failed, ok := err.(*handshakeFailed); ok {
			err, end = failed.error, s.deliverInBackground
		}
		if err != nil {
			s.beginClosing(err) // before others learn that there is none
		}
		s.codecIsMade()
		if err != nil {
			end(err)
		}
	}()
	codec, err := newCodec()
	ended = false
	if err == nil {
		s.setCodec(codec)
		s.handOver()          // what NewCodec has read
		s.frameStart.Store(0) // that was no frame
	}
}

// A framing is how a session's codec makes frames and cuts them. Immutable, once the session has its codec, but for
// what is the receiver's.
type framing struct {
	framingKind
	receiving atomic.Bool // a plain codec was called to receive, and does not wait; the receiver's
}

// A framingKind is what sessions whose codecs frame messages share, so it knows no codec. It is comparable.
type framingKind struct {
	prefix *lengthprefix.Prefix // how frames are cut, and made of bytes, without a call of the codec; nil for codecs with another framing

	// The shared half of a sharingCodec; nil where the codec itself cuts and makes frames.
	parser   FrameParser
	appender FrameAppender

	parses  bool // there is a FrameParser
	appends bool // there is a FrameAppender
	isPlain bool // whoever calls codec.Send takes the turn; not for a FrameAppender and a bare codec
}

// noFraming is that of a session without a codec that libnet would frame messages with.
var noFraming framing

// A sharingCodec has its frames made and cut by a half that it shares with other sessions' codecs, and that knows none
// of them.
type sharingCodec interface {
	SharedHalf(inside.Call) interface {
		FrameAppender
		FrameParser
	}
}

// framing returns the session's; noFraming while it has no codec.
func (s *Session) framing() *framing {
	if f := s.framed.Load(); f != nil {
		return f
	}
	return &noFraming
}

// hasCodec reports whether there is a codec, and how frames are made with it is known.
func (s *Session) hasCodec() bool { return s.framed.Load() != nil }

func (s *Session) setCodec(codec Codec) {
	s.codec = codec
	s.framed.Store(s.owner.framingOf(codec))
}

// framingOf returns the framing of a codec, which the owner's sessions share where nothing of it changes.
func (o *owner) framingOf(codec Codec) *framing {
	kind := o.kindOf(codec)
	if kind.isPlain {
		return &framing{framingKind: kind}
	}
	if last := o.framing.Load(); last != nil && last.framingKind == kind {
		return last
	}
	f := &framing{framingKind: kind}
	o.framing.Store(f)
	return f
}

func (o *owner) kindOf(codec Codec) framingKind {
	if c, ok := codec.(sharingCodec); ok {
		half := c.SharedHalf(inside.Call{})
		return framingKind{prefix: o.prefixOf(half), parser: half, appender: half, parses: true, appends: true}
	}
	_, parses := codec.(FrameParser)
	_, appends := codec.(FrameAppender)
	return framingKind{prefix: o.prefixOf(codec), parses: parses, appends: appends, isPlain: !appends}
}

// parser returns what cuts the session's frames, nil for a plain codec.
func (s *Session) parser() FrameParser {
	switch f := s.framing(); {
	case f.parser != nil:
		return f.parser
	case f.parses:
		return s.codec.(FrameParser)
	}
	return nil
}

// appender returns what makes the session's frames; there is one.
func (s *Session) appender() FrameAppender {
	if shared := s.framing().appender; shared != nil {
		return shared
	}
	return s.codec.(FrameAppender)
}

// prefixOf returns the framing of frames that are a length and as many bytes. It is nil where a frame may be within the
// codec's bound and beyond the session's.
func (o *owner) prefixOf(half any) *lengthprefix.Prefix {
	c, ok := half.(interface{ LengthPrefix() *lengthprefix.Prefix })
	if !ok {
		return nil
	}
	p := c.LengthPrefix()
	if p == nil || p.Max > o.maxFrame(true)-p.Size {
		return nil
	}
	return p
}

func (s *Session) codecIsMade() {
	s.mu.Lock()
	s.making = codecMade
	s.codecKnownLocked()
	closed := s.state.Load() == sessionClosed
	s.mu.Unlock()
	if closed && s.hasCodec() {
		_ = s.closeCodec()
	}
}

func (s *Session) newCodec() (codec Codec, err error) {
	defer s.recoveredLocked("protocol", &err)
	if err := s.proxyHeader(); err != nil {
		return nil, s.answerRefusal(err)
	}
	if p, ok := s.handshakes(); ok {
		return s.handshake(p)
	}
	codec = s.owner.protocol.NewCodec(stream{s})
	if usercode.IsMissing(codec) {
		return nil, fmt.Errorf("%w: the protocol made no codec", ErrPanic)
	}
	return codec, err
}

// encode returns msg as a draft, for the queue to take. It runs the codec with no lock held. After an error that comes
// of a panic the caller has the session end. The depth of this call counts, as offer's does.
func (s *Session) encode(msg any) (c *sendqueue.Batch, err error) {
	switch {
	case s.framing().appends:
		return s.encodeFrame(msg)
	case s.conn != nil:
		return s.encodePlain(msg)
	}
	c = sendqueue.NewDraft()
	c.SetMessage(msg)
	return c, nil
}

// encodeFrame has a codec that knows how append msg's frame.
func (s *Session) encodeFrame(msg any) (c *sendqueue.Batch, err error) {
	defer s.recovered("codec", &err)
	c = sendqueue.NewDraft()
	frame, err := s.appender().AppendFrame(c.Room(), msg)
	if err == nil && len(frame) > s.maxFrame() {
		err = ErrFrameTooLarge
	}
	if err != nil {
		c.Free()
		return nil, err
	}
	c.SetFrame(frame)
	return c, nil
}

// encodePlain has a codec that knows only io.Writer write msg's frame. The caller has the turn.
func (s *Session) encodePlain(msg any) (c *sendqueue.Batch, err error) {
	c, _ = s.q.BeginFrame(nil, sendqueue.KeepsTurn)
	ended := false
	defer func() {
		if !ended { // the codec has ended its goroutine
			s.q.DropFrame(sendqueue.KeepsTurn)
		}
	}()
	err = s.codecSend(msg)
	ended = true
	if refused := s.q.EndFrame(); err == nil && refused != nil {
		err = s.refused(refused) // the codec may not have looked at what Write answered
	}
	if err != nil {
		c.Free()
		return nil, err
	}
	return c, nil
}

func (s *Session) codecSend(msg any) (err error) {
	defer s.recoveredLocked("codec", &err)
	return s.codec.Send(msg)
}

// appendFrame encodes msg for a broadcast. What many sessions are to write from must be nobody's own: a codec may use
// its memory again. Nor is it to keep much more than the frame, as where that is the compressed message.
func (s *Session) appendFrame(msg any) (frame []byte, err error) {
	defer s.recovered("codec", &err)
	room := broadcastRoom(msg)
	frame, err = s.appender().AppendFrame(room, msg)
	if err == nil && len(frame) >= shareAt && (cap(room) == 0 || &frame[0] != &room[:1][0] || cap(frame) > 2*len(frame)) {
		frame = bytes.Clone(frame)
	}
	return frame, err
}

// frameOverhead is what most framings, and the alignment of memory, add to a message.
const frameOverhead = 64

// broadcastRoom is memory for msg's frame, if that is shared and its size can be known.
func broadcastRoom(msg any) []byte {
	n := payloadSize(msg)
	if text, ok := msg.(string); ok {
		n = len(text)
	}
	if n += frameOverhead; n < shareAt {
		return nil
	}
	return make([]byte, 0, n)
}

// notWritten reports whether a codec's Send says that it wrote nothing and the stream is whole.
func notWritten(err error) bool {
	return errorIs(err, ErrEncode) || errorIs(err, ErrFrameTooLarge)
}

// endIfPanic ends the session when err came from a panic of its codec.
func (s *Session) endIfPanic(err error) error {
	if errorIs(err, ErrPanic) {
		s.endAside(err)
	}
	return err
}

// errBusy says that a message was not queued though the queue may have room: a codec is being made, or works on another
// message, for too long; or nobody knows yet whether the session is another process's. It is told as ErrSessionBlocked.
var errBusy = newError("libnet: the session is busy")

// takeTurn makes the caller the one who may call a plain codec's Send. It waits for another who does so, as long as
// WriteTimeout, the session, and ctx last: a codec that calls its own session would wait for itself.
func (s *Session) takeTurn(ctx sendqueue.Context) error {
	switch {
	case s.takeTurnWithin(ctx, s.owner.writeBound()):
		return nil
	case s.IsClosed():
		return s.closedErr()
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return errBusy
}

func (s *Session) takeTurnWithin(ctx sendqueue.Context, bound time.Duration) bool {
	w := s.q.TakeTurn()
	if w == nil {
		return true
	}
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-w.Done():
		return true
	case <-s.doneChan():
	case <-ctx.Done():
	case <-timer.C:
	}
	return s.q.LeaveTurn(w)
}

// stream is a session's connection as its codec sees it: reads come out of the input buffer, writes
// go into the send queue.
type stream struct{ s *Session }

var _ Stream = stream{}

// Session, and how many bytes are written and wait to be, are for package ws.
func (st stream) Session(inside.Call) *Session { return st.s }

func (st stream) Output(inside.Call) (written uint64, queued int) {
	c := st.s.q.Counters()
	return c.BytesOut, c.Bytes
}

func (st stream) MaxMessage() int      { return st.s.owner.MaxMessage }
func (st stream) LocalAddr() net.Addr  { return st.s.conn.LocalAddr() }
func (st stream) RemoteAddr() net.Addr { return st.s.RemoteAddr() }

// Close ends the session, as a codec's Close ended the connection in the original libnet. The codec is at work, so that
// its session's Send, or the receiver's lock, must not wait for what the end calls of the user's.
func (st stream) Close() error {
	if !st.s.IsClosed() {
		st.s.endAside(ErrSessionClosed)
	}
	return nil
}

// Read is for codecs that know only io.Reader. Like the receiver it belongs to one goroutine at a time.
func (st stream) Read(p []byte) (int, error) {
	s := st.s
	if len(p) == 0 {
		return 0, nil
	}
	plain := s.plain()
	if s.in.Empty() {
		if err := s.fillPlain(plain.midFrame); err != nil {
			plain.err = err
			if err == io.ErrUnexpectedEOF {
				err = io.EOF // only the codec can tell whether its frame is complete
			}
			return 0, err
		}
	}
	n := copy(p, s.in.Unread())
	s.in.Advance(n)
	plain.midFrame = true
	return n, nil
}

// fillPlain is fill for a plain codec, which does not write meanwhile.
func (s *Session) fillPlain(inFrame bool) error {
	f := s.framing()
	was := f.receiving.Load() // not in NewCodec, nor in a Read from elsewhere
	if !was {
		return s.fill(inFrame)
	}
	f.receiving.Store(false)
	err := s.fill(inFrame)
	f.receiving.Store(true)
	return err
}

// plainInput is what a plain codec has read since its Receive was called.
type plainInput struct {
	midFrame bool  // it has a part of a frame
	err      error // of its last read, if that failed
}

// Write appends to the send queue. Within Session.Send the bytes become the frame of its message;
// bytes written at another time (a greeting, an answer that the goroutine of Receive writes) are flushed by themselves.
func (st stream) Write(p []byte) (int, error) {
	s := st.s
	if len(p) == 0 {
		return 0, nil
	}
	outside := s.hasCodec() && s.framing().appends // whose Send writes nothing
	if !outside && s.isInReceive() {               // an answer to what has come whole
		outside, s.rare.plain.midFrame = true, false
		s.frameStart.Store(0)
	}
	by, err := s.q.Write(p, s.maxFrame(), s.maxLoose(), outside)
	s.flushBy(by)
	if err != nil {
		return 0, s.refused(err)
	}
	return len(p), nil
}

// isInReceive reports whether the caller, a codec, was called to receive. It may be called to send at the same time, so
// only the caller's own stack tells: that is looked at where the codec is at work to receive, and does not wait.
func (s *Session) isInReceive() bool {
	if !s.framing().receiving.Load() {
		return false
	}
	var pcs [64]uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		if in, known := receives(pcs[:n]); known || n < len(pcs) {
			return in
		}
	}
}

// receives looks for the innermost call of a plain codec on a part of a stack, and reports whether that is to receive.
func receives(pcs []uintptr) (is, known bool) {
	frames := runtime.CallersFrames(pcs)
	for more := len(pcs) > 0; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		switch _, method, _ := strings.Cut(frame.Function, ".(*Session)."); method {
		case "codecSend":
			return false, true
		case "nextPlain":
			return true, true
		}
	}
	return false, false
}

// maxLoose bounds what a codec writes outside Send: by the bytes of the queue.
func (s *Session) maxLoose() int {
	if limit := s.owner.sendQueueBytes(); limit > 0 {
		return limit
	}
	return math.MaxInt
}
