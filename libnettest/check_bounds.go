package libnettest

import (
	"bytes"
	"io"
	"math"
	"net"
	"testing"

	"github.com/libnet-go/libnet"
)

// lengths are where the length fields of one and two bytes and the varints end, where a sign would begin, and
// where buffers do. A header that the length includes makes it end some bytes earlier.
func lengths() []int {
	list := []int{0, 1}
	for edge := 1 << 7; edge <= 1<<16; edge *= 2 {
		for size := edge - 10; size <= edge+2; size++ {
			list = append(list, size)
		}
	}
	return list
}

// longLengths are beyond those, and take longer.
func (s *source) longLengths() []int {
	if s.isJSON {
		return []int{1<<17 + 1}
	}
	return []int{1<<17 + 1, 1<<18 + 1, 1<<20 + 1, 1<<21 - 1, 1 << 21, 1 << 24, 1<<24 + 5}
}

// longest is how long a message the checks make: what three bytes can say, and some more.
func (s *source) longest() int {
	if s.isJSON { // which takes a hundred times as long
		return 1<<21 + 5
	}
	return 1<<24 + 5
}

func checkLong(tb testing.TB, k *kit) {
	if k.plain == nil {
		tb.Skipf("no message is a []byte or string")
	}
	list := append(lengths(), k.plain.longLengths()...)
	if limit, refused := k.limit(tb); refused != nil {
		list = append(list, max(limit, 0), limit+1)
	}
	for _, kind := range k.kinds {
		for _, size := range list {
			if kind == k.plain || size < 1<<17 { // once is enough of the longest
				k.encodesAlike(tb, kind.make(size, 0))
			}
		}
	}
}

// encodesAlike wants Send, AppendFrame and SplitFrame, where the codec has them, to make the same of s.
func (k *kit) encodesAlike(tb testing.TB, s sample) {
	tb.Helper()
	frame, refused := k.sendOrRefuse(tb, s)
	codec := k.newCodec(tb, &wire{tb: tb})
	if appender, ok := codec.(libnet.FrameAppender); ok {
		k.appendsAlike(tb, appender, s, frame, refused)
	}
	if splitter, ok := codec.(libnet.FrameSplitter); ok {
		k.splitsAlike(tb, splitter, s, frame, refused)
	}
}

// limit is the length of the longest message that Send takes, and the error that it refuses a longer one with;
// nil if there is none among those that the checks make.
func (k *kit) limit(tb testing.TB) (limit int, refused error) {
	tb.Helper()
	if !k.found.known {
		k.found.limit, k.found.refused = k.findLimit(tb)
		k.found.known = true
	}
	return k.found.limit, k.found.refused
}

// A knownLimit is a limit, which takes a while to find.
type knownLimit struct {
	known   bool
	limit   int
	refused error
}

func (k *kit) findLimit(tb testing.TB) (limit int, refused error) {
	tb.Helper()
	limit = -1
	above := k.plain.longest()
	for size := 0; size < above; size = 2*size + 1 {
		if k.refuses(tb, k.plain.make(size, 0)) == nil {
			limit = size
		} else if limit >= 0 {
			above = size
		}
	}
	if refused = k.refuses(tb, k.plain.make(above, 0)); refused == nil {
		return 0, nil
	}
	for above-limit > 1 {
		middle := limit + (above-limit)/2
		if err := k.refuses(tb, k.plain.make(middle, 0)); err != nil {
			above, refused = middle, err
		} else {
			limit = middle
		}
	}
	return limit, refused
}

// refuses returns Send's error.
func (k *kit) refuses(tb testing.TB, s sample) error {
	tb.Helper()
	return send(tb, k.newCodec(tb, &wire{tb: tb, discard: true}), s.msg)
}

// boundedProtocol makes its codecs on streams as those of sessions are.
type boundedProtocol struct {
	libnet.Protocol
	max int
}

func (p boundedProtocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	w, ok := rw.(*wire)
	if !ok {
		return p.Protocol.NewCodec(rw)
	}
	return p.Protocol.NewCodec(boundedStream{w, p.max})
}

type boundedStream struct {
	*wire
	max int
}

var _ libnet.Stream = boundedStream{}

func (s boundedStream) MaxMessage() int    { return s.max }
func (boundedStream) LocalAddr() net.Addr  { return pipeAddr{} }
func (boundedStream) RemoteAddr() net.Addr { return pipeAddr{} }

// bounded is k on streams with that MaxMessage.
func (k *kit) bounded(max int) *kit {
	b := *k
	b.protocol, b.found = boundedProtocol{k.protocol, max}, new(knownLimit)
	return &b
}

// exchange sends the samples, as far as they are taken, and receives them.
func (k *kit) exchange(tb testing.TB) [][]byte {
	tb.Helper()
	w := &wire{tb: tb}
	codec := k.newCodec(tb, w)
	for _, s := range k.samples {
		if send(tb, codec, s.msg) != nil {
			break
		}
	}
	return k.receiveAll(tb, &wire{in: w.written()})
}

func checkStreamBound(tb testing.TB, k *kit) {
	for _, none := range []int{0, -1, math.MaxInt, math.MinInt} {
		b := k.bounded(none)
		if err := b.allArrived(b.exchange(tb)); err != nil {
			tb.Fatalf("where the stream's MaxMessage is %d, which is no bound: %v", none, err)
		}
	}
	const bound, overhead = 300, 64
	if k.plain == nil {
		return
	}
	b := k.bounded(bound)
	limit, refused := b.limit(tb)
	if refused == nil || limit < bound-overhead || limit > bound+overhead {
		return // it does not look at the stream's bound: the session does
	}
	if own, _ := k.limit(tb); limit == own {
		return
	}
	if limit > bound {
		tb.Fatalf("Send takes %d bytes where the stream's MaxMessage is %d", limit, bound)
	}
	b.encodesAlike(tb, k.plain.make(limit, 0))
	b.encodesAlike(tb, k.plain.make(limit+1, 0))
	for _, size := range []int{limit + 1, 60 << 10, 1 << 20} {
		s := k.plain.make(size, 0)
		if frame, err := k.sendOrRefuse(tb, s); err == nil {
			b.refusesFrame(tb, s, frame, bound)
		}
	}
}

// refusesFrame wants the frame of a message over the stream's bound to be refused, and ParseFrame not to wait
// for the rest of it.
func (k *kit) refusesFrame(tb testing.TB, s sample, frame []byte, bound int) {
	tb.Helper()
	got, err := k.decode(tb, &wire{in: frame})
	if len(got) != 0 || kindOfEnd(err) != errBroken {
		tb.Fatalf("%s is received as %d messages and then %v where the stream's MaxMessage is %d: a frame that is too large is refused, as Send refuses it",
			s.name, len(got), err, bound)
	}
	parser, ok := k.newCodec(tb, &wire{tb: tb}).(libnet.FrameParser)
	if !ok {
		return
	}
	known := min(len(frame), 2*bound+1<<10) // without a length in front it shows when too much has come
	if header, has := headerOf(frame, s); has {
		known = header
	}
	if payload, n, err := parseFrame(tb, parser, frame[:known]); err == nil {
		tb.Fatalf("ParseFrame of the first %d bytes of %s = %.64q, %d and no error where MaxMessage is %d: a frame that is too large must be told from its header alone",
			known, s.name, payload, n, bound)
	}
}

// headerOf is how long the header is in a frame that is one and then the message.
func headerOf(frame []byte, s sample) (size int, has bool) {
	payload, isBytes := plainBytes(s.msg)
	size = len(frame) - len(payload)
	return size, isBytes && size > 0 && bytes.HasSuffix(frame, payload)
}

// checkReceiveBound changes the bytes before a message to claim other lengths, and sends as much as may be
// claimed: what Send does not take for its length must not be received either, nor be waited for.
func checkReceiveBound(tb testing.TB, k *kit) {
	const usual, much = 100, 1<<20 + 4<<10
	if k.plain == nil {
		tb.Skipf("no message is a []byte or string")
	}
	s := k.plain.make(usual, 0)
	limit, refused := k.limit(tb)
	frame, err := k.sendOrRefuse(tb, s)
	header, has := headerOf(frame, s)
	if err != nil || !has || header > 16 || k.ends[0] != 0 {
		return
	}
	if !is(refused, libnet.ErrFrameTooLarge) || limit < usual {
		limit = math.MaxInt
	}
	in := make([]byte, much)
	for i := range header {
		for _, b := range []byte{0x01, 0x02, 0x08, 0x7f, 0xff} {
			copy(in, frame[:header])
			in[i] = b
			k.claims(tb, in, header, limit)
		}
	}
}

// claims wants in, a header and then much more, to be refused at the header if it is refused as too large, and a
// message of it to be no longer than limit.
func (k *kit) claims(tb testing.TB, in []byte, header, limit int) {
	tb.Helper()
	codec := k.newCodec(tb, &wire{tb: tb, in: in})
	parser, ok := codec.(libnet.FrameParser)
	if !ok {
		if payload, err := guarded(tb, "Receive", codec.Receive); err == nil && len(payload) > limit {
			tb.Fatalf("after the header %x Receive returned %d bytes, and Send refuses more than %d: a bound holds in both directions", in[:header], len(payload), limit)
		}
		return
	}
	_, n, alone := parseFrame(tb, parser, in[:header:header])
	payload, err := guarded(tb, "ParseFrame", func() ([]byte, error) { payload, _, err := parser.ParseFrame(in); return payload, err })
	switch {
	case n == 0 && alone == nil && is(err, libnet.ErrFrameTooLarge):
		tb.Fatalf("ParseFrame waits after the header %x, and says %v when the rest has come: a frame that is too large must be told from its header alone", in[:header], err)
	case err == nil && len(payload) > limit:
		tb.Fatalf("after the header %x ParseFrame makes %d bytes, and Send refuses more than %d: a bound holds in both directions", in[:header], len(payload), limit)
	}
}

func guarded[T any](tb testing.TB, what string, f func() (T, error)) (T, error) {
	tb.Helper()
	defer failOnPanic(tb, what)
	return f()
}
