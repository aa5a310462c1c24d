package libnet

import (
	"io"
	"maps"
	"net"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/histogram"
	"github.com/libnet-go/libnet/internal/usercode"
)

// SessionStats is a snapshot of a session's counters. What the receiver counts is as of its last read
// from the connection; in event mode, a session that its own handler closes lacks the messages which
// that handler has had since.
type SessionStats struct {
	MessagesIn, MessagesOut uint64 // messages received; messages written
	BytesIn, BytesOut       uint64 // the same in bytes on the wire (under TLS); 0 for a bare codec
	Discarded               uint64 // messages that Send had accepted and that will not be written

	// Dropped counts bytes that had arrived and that nobody received: they lay unread at the end, or Shutdown read them
	// away. What is read at the very moment of a Close may be missing or be counted twice.
	Dropped uint64

	Queued, QueuedBytes int       // messages and bytes accepted and not yet written
	Opened              time.Time // when it was accepted, or dialled
	LastReceived        time.Time // Opened while nothing has been received
}

// ServerStats is a snapshot of a server's counters. Those of sessions add up over the open and the
// closed ones.
type ServerStats struct {
	Open, Peak int    // sessions open now, and at most
	Accepted   uint64 // sessions that were made

	// Rejected counts connections refused by MaxSessions or MaxSessionsPerIP, or whose own methods or options fail; and
	// sessions refused by OnSession, or behind a proxy by MaxSessionsPerIP, which were accepted before.
	Rejected uint64

	AcceptErrors            uint64            // errors of the listener that were waited out
	Blocked                 uint64            // messages refused because a queue was full
	Discarded               uint64            // as SessionStats has it
	Dropped                 uint64            // as SessionStats has it
	Panics                  uint64            // of the program's handlers, codecs and callbacks
	MessagesIn, MessagesOut uint64            // as SessionStats has them
	BytesIn, BytesOut       uint64            // as SessionStats has them
	Closed                  map[string]uint64 // closed sessions by reason; CloseReason has the names

	// With Server.Histograms only, and else without a bound. MessageSize has each message received, in bytes without
	// its frame. HandlerTime has, in seconds, how long ServeMessage took, and under Serve the time from Receive's
	// return to its next call, or to the return of the handler. One that panics is in it no more than one that has not
	// returned. QueueWait has each message written, that is all of MessagesOut but what was written in another process
	// before a handover: how long, in seconds, from when Send had put it into the queue until the system's write, or
	// the connection's Write, had taken its last byte.
	MessageSize, HandlerTime, QueueWait Histogram
}

// A Histogram says how many values there were of which size. It counts from the server's beginning; nothing in it goes
// down.
type Histogram struct {
	Bounds []float64 // upper bounds of the buckets, each twice the one before it
	Counts []uint64  // values in each bucket: above the bound before, and not above its own; the last, one more, above all bounds
	Sum    float64   // of all values
}

// Stats returns a snapshot. It is final once [Session.Done] is closed.
func (s *Session) Stats() SessionStats {
	stats := SessionStats{
		Opened:       s.opened,
		LastReceived: s.opened.Add(time.Duration(max(s.received.Load(), openedNow) - openedNow)),
	}
	c := s.q.Counters()
	stats.MessagesIn, stats.BytesIn = c.MessagesReceived, c.BytesReceived
	stats.MessagesOut, stats.BytesOut = c.MessagesOut, c.BytesOut
	stats.Queued, stats.QueuedBytes = c.Messages, c.Bytes
	stats.Discarded = c.Discarded
	stats.Dropped = s.droppedBytes()
	return stats
}

// CloseReason returns the short name under which ServerStats.Closed counts a session that ended with err, one of: eof,
// closed, server_closed, reset, frame_too_large, malformed_frame, unexpected_eof, handshake_timeout, proxy_header,
// frame_timeout, write_timeout, idle_timeout, slow_consumer, rate_limit, handed_over, panic, error. The last is for all
// others: the transport's own, and the user's (of OnSession, of [Session.CloseWithError]), also where their methods
// panic. Of nil it is empty.
func CloseReason(err error) string {
	if err == nil {
		return ""
	}
	if isOwn(err) {
		return nameOf(err)
	}
	if name, ok := usercode.Answer(func() string { return nameOf(err) }); ok {
		return name
	}
	return otherReason
}

// otherReason is the name of what is none of closeReasons.
const otherReason = "error"

func nameOf(err error) string {
	for _, r := range closeReasons {
		if errchain.Is(err, r.err) {
			return r.name
		}
	}
	return otherReason
}

var closeReasons = []struct {
	err  error
	name string
}{
	{ErrPanic, "panic"},
	{ErrServerClosed, "server_closed"},
	{ErrSessionClosed, "closed"},
	{ErrFrameTooLarge, "frame_too_large"},
	{ErrMalformedFrame, "malformed_frame"},
	{ErrHandshakeTimeout, "handshake_timeout"},
	{ErrProxyHeader, "proxy_header"},
	{ErrFrameTimeout, "frame_timeout"},
	{ErrWriteTimeout, "write_timeout"},
	{ErrIdleTimeout, "idle_timeout"},
	{ErrSlowConsumer, "slow_consumer"},
	{ErrRateLimit, "rate_limit"},
	{ErrHandedOver, "handed_over"},
	{io.ErrUnexpectedEOF, "unexpected_eof"},
	{io.EOF, "eof"},
	{syscall.ECONNRESET, "reset"},
	{syscall.EPIPE, "reset"},
	{net.ErrClosed, "closed"},
}

// Stats returns a snapshot. It looks at every open session, about 100 ns each, and holds no lock
// meanwhile that a session needs for long.
func (srv *Server) Stats() ServerStats {
	srv.mustBeMade()
	// The order matters: a session that ends meanwhile is counted once or, for now, not at all.
	ended := srv.endedStats()
	live := srv.liveStats()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	stats := ServerStats{
		Open:         srv.open,
		Peak:         srv.peak,
		Accepted:     srv.accepted,
		Rejected:     srv.rejected,
		AcceptErrors: srv.acceptErrors,
		Blocked:      srv.blocked.Load(),
		Panics:       srv.panics.Load(),
		Closed:       maps.Clone(srv.closed),
	}
	// The floor keeps what was once reported from going down.
	live.add(ended)
	f := &srv.floor
	f.Discarded = max(f.Discarded, live.Discarded)
	f.Dropped = max(f.Dropped, live.Dropped)
	f.MessagesIn = max(f.MessagesIn, live.MessagesIn)
	f.MessagesOut = max(f.MessagesOut, live.MessagesOut)
	f.BytesIn = max(f.BytesIn, live.BytesIn)
	f.BytesOut = max(f.BytesOut, live.BytesOut)
	stats.Discarded, stats.Dropped = f.Discarded, f.Dropped
	stats.MessagesIn, stats.MessagesOut = f.MessagesIn, f.MessagesOut
	stats.BytesIn, stats.BytesOut = f.BytesIn, f.BytesOut
	if m := srv.measures.Load(); m != nil {
		stats.MessageSize, stats.HandlerTime = snapshotOf(m.sizes, sizeScale, 1), snapshotOf(m.times, timeScale, 1e9)
		stats.QueueWait = snapshotOf(m.waits, timeScale, 1e9)
	}
	return stats
}

// measures are what a server with Histograms fills.
type measures struct{ sizes, times, waits *histogram.Histogram }

var (
	sizeScale = histogram.Scale{First: 32, N: 20}      // bytes: up to 16 MiB
	timeScale = histogram.Scale{First: 1 << 10, N: 25} // nanoseconds: from a microsecond up to 17 s
)

// measuring returns nil without Histograms.
func (srv *Server) measuring() *measures {
	if srv.Histograms && srv.measures.Load() == nil {
		srv.measures.CompareAndSwap(nil, &measures{histogram.New(sizeScale), histogram.New(timeScale), histogram.New(timeScale)})
	}
	return srv.measures.Load()
}

func snapshotOf(h *histogram.Histogram, scale histogram.Scale, units float64) (snapshot Histogram) {
	for _, bound := range scale.Bounds() {
		snapshot.Bounds = append(snapshot.Bounds, float64(bound)/units)
	}
	counts, sum := h.Counts()
	snapshot.Counts, snapshot.Sum = counts, float64(sum)/units
	return snapshot
}

// handing is called by the receiver with a message that it is about to hand over. Most sessions, of which nothing is
// measured, have nothing rare: that costs a comparison.
func (s *Session) handing(size int) {
	if s.rare != nil {
		s.rare.handing(s, size)
	}
}

func (r *rareInput) handing(s *Session, size int) {
	if m := s.owner.measures; m != nil {
		m.sizes.Note(s.id, uint64(size))
		r.handedAt.Store(s.now())
	}
}

// handled is called when the message that was handed over last has been worked on, if there is one.
func (s *Session) handled() {
	if s.rare != nil {
		s.rare.handled(s)
	}
}

func (r *rareInput) handled(s *Session) {
	if m := s.owner.measures; m != nil {
		if began := r.handedAt.Swap(0); began != 0 {
			m.times.Note(s.id, uint64(max(s.now()-began, 0)))
		}
	}
}

func (srv *Server) endedStats() SessionStats {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.ended
}

func (srv *Server) liveStats() (sum SessionStats) {
	for s := range srv.manager.All() {
		sum.add(s.Stats())
	}
	return sum
}

func (sum *SessionStats) add(s SessionStats) {
	sum.MessagesIn += s.MessagesIn
	sum.MessagesOut += s.MessagesOut
	sum.BytesIn += s.BytesIn
	sum.BytesOut += s.BytesOut
	sum.Discarded += s.Discarded
	sum.Dropped += s.Dropped
}

// keptClosed is how many closed sessions a server remembers: what fits on a page, in some 10 KB.
const keptClosed = 64

// A ClosedSession is what a server remembers of a session that has ended.
type ClosedSession struct {
	ID         uint64   // what Session.ID says
	Name       string   // what Session.Name says; it may hold what a peer has chosen
	RemoteAddr net.Addr // nil where the connection had none
	Err        error    // what Session.Err says; CloseReason has its short name
	Closed     time.Time
	Stats      SessionStats // its last
}

// LastClosed returns the sessions that closed last, at most 64 of them, the newest first. They are those
// that [ServerStats] counts as closed, in the same order.
func (srv *Server) LastClosed() []ClosedSession {
	srv.mustBeMade()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.lastClosed.all()
}

// closedRing holds the newest keptClosed. It takes memory only as it fills.
type closedRing struct {
	kept []ClosedSession
	next int // where the next goes once kept is full: to the oldest's place
}

func (r *closedRing) add(c ClosedSession) {
	if len(r.kept) < keptClosed {
		r.kept = append(r.kept, c)
		return
	}
	r.kept[r.next] = c
	r.next = (r.next + 1) % keptClosed
}

func (r *closedRing) all() []ClosedSession {
	all := make([]ClosedSession, 0, len(r.kept))
	for i := range r.kept {
		newest := r.next - 1 - i + 2*len(r.kept)
		all = append(all, r.kept[newest%len(r.kept)])
	}
	return all
}

// addrForRecord is the conn's RemoteAddr, or nil if that method of the user's has no answer.
func (s *Session) addrForRecord() net.Addr {
	if s.sock != nil || s.conn == nil {
		return s.RemoteAddr()
	}
	addr, _ := usercode.Answer(s.RemoteAddr)
	return addr
}
