package libnettest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/usercode"
)

// kit is what the checks share, which come one after the other. It is immutable after newKit, but for found.
type kit struct {
	protocol libnet.Protocol
	samples  []sample
	plain    *source   // of messages that the user did not give; nil if the codec takes none that can be made
	kinds    []*source // plain, and that of strings if it takes these, too

	stream   []byte
	ends     []int    // where frames may end: before the first message, and after each
	payloads [][]byte // what Receive made of stream

	found *knownLimit
}

// A sample is a message and what is known of the payload it arrives as.
type sample struct {
	name  string
	msg   any
	first truth // where it is one of the first messages of its codec
	later truth // after that: a codec may say things once, as gob does with types
}

// newKit sends the messages and receives them in the simplest way.
func newKit(tb testing.TB, p libnet.Protocol, messages []any) *kit {
	tb.Helper()
	if len(messages) == 0 {
		tb.Fatal("libnettest: a protocol cannot be tested without messages")
	}
	k := &kit{protocol: p, found: new(knownLimit)}
	given := make([]any, len(messages)) // and kept as they were before a codec saw them
	for i, msg := range messages {
		given[i] = msg
		switch m := msg.(type) {
		case Expect:
			msg = m.Message
		case []byte:
			given[i] = bytes.Clone(m)
		}
		k.samples = append(k.samples, sample{name: fmt.Sprint("message ", i), msg: msg})
	}
	k.exchangeAll(tb)
	for i, s := range k.samples {
		if own, isSlice := given[i].([]byte); isSlice && !bytes.Equal(s.msg.([]byte), own) {
			tb.Fatalf("Send of %s changed it: it must leave a message alone", s.name)
		}
	}
	k.learn(tb, given)
	k.findKinds(tb, given)
	for _, kind := range k.kinds {
		for i, size := range []int{9, 0, 4} {
			if s := kind.make(size, i); k.refuses(tb, s) == nil {
				k.samples = append(k.samples, s)
			}
		}
	}
	k.exchangeAll(tb)
	return k
}

// findKinds looks for a message to make others of: []byte before string, because SplitFrame is for these.
func (k *kit) findKinds(tb testing.TB, given []any) {
	tb.Helper()
	var model *source
	for i, msg := range given {
		own, isBytes := plainBytes(msg)
		if isBytes && (model == nil || len(model.unit) == 1 && len(own) > 1) {
			model = newSource(msg, !bytes.Equal(k.payloads[i], own))
		}
	}
	if model == nil {
		return
	}
	for _, isString := range []bool{false, true} {
		kind := model.as(isString)
		if isString == model.isString || k.takes(tb, kind.make(len(kind.unit), 0)) {
			k.kinds = append(k.kinds, kind)
		}
	}
	k.plain = k.kinds[0]
}

// takes reports whether s can be sent, and arrives.
func (k *kit) takes(tb testing.TB, s sample) bool {
	tb.Helper()
	w := &wire{tb: tb}
	if send(tb, k.newCodec(tb, w), s.msg) != nil {
		return false
	}
	got, err := k.decode(tb, &wire{in: w.written()})
	return len(got) == 1 && err == io.EOF && s.first(got[0]) == nil
}

// exchangeAll makes the stream of the samples, and receives it.
func (k *kit) exchangeAll(tb testing.TB) {
	tb.Helper()
	k.stream, k.ends = k.encode(tb, k.samples)
	payloads, err := k.decode(tb, &wire{in: k.stream})
	if len(payloads) != len(k.samples) || err != io.EOF {
		tb.Fatalf("sent %d messages in %d bytes, received %d and then %v; want all and then EOF", len(k.samples), len(k.stream), len(payloads), err)
	}
	k.payloads = payloads
	for i, payload := range payloads {
		if s := k.samples[i]; s.first != nil && s.first(payload) != nil {
			tb.Fatalf("%s %v", s.name, s.first(payload))
		}
	}
}

// learn finds each sample's truth.
func (k *kit) learn(tb testing.TB, messages []any) {
	tb.Helper()
	unknown := false
	for i := range k.samples {
		s := &k.samples[i]
		t, err := truthOf(messages[i], k.payloads[i])
		if err != nil {
			tb.Fatalf("%s %v", s.name, err)
		}
		s.first, s.later = t, t
		unknown = unknown || t == nil
	}
	if !unknown {
		return
	}
	first, later := k.arrivals(tb)
	for i := range k.samples {
		s := &k.samples[i]
		if s.first != nil {
			continue
		}
		var errs [2]error
		s.first, errs[0] = learn(first[i])
		s.later, errs[1] = learn(later[i])
		if err := errors.Join(errs[:]...); err != nil {
			tb.Fatalf("%s %v", s.name, err)
		}
	}
}

// arrivals sends the samples some times through each of many codecs, and returns what each has arrived as: as
// its codec's first, and later.
func (k *kit) arrivals(tb testing.TB) (first, later [][][]byte) {
	tb.Helper()
	const codecs, rounds, volume = 30, 4, 4 << 20
	n := len(k.samples)
	first, later = make([][][]byte, n), make([][][]byte, n)
	var round []sample
	for range rounds {
		round = append(round, k.samples...)
	}
	for range min(codecs, max(2, volume/(rounds*len(k.stream)))) {
		stream, _ := k.encode(tb, round)
		payloads, err := k.decode(tb, &wire{in: stream})
		if len(payloads) != len(round) || err != io.EOF {
			tb.Fatalf("sent %d messages, received %d and then %v; want all and then EOF", len(round), len(payloads), err)
		}
		for i, payload := range payloads {
			if i < n {
				first[i] = append(first[i], payload)
			} else {
				later[i%n] = append(later[i%n], payload)
			}
		}
	}
	return first, later
}

// encode sends samples through one codec, because a codec may keep state from one to the next.
func (k *kit) encode(tb testing.TB, samples []sample) (stream []byte, ends []int) {
	tb.Helper()
	w := &wire{tb: tb}
	codec := k.newCodec(tb, w)
	ends = append(ends, len(w.written()))
	for _, s := range samples {
		before := len(w.written())
		if err := send(tb, codec, s.msg); err != nil {
			tb.Fatalf("Send of %s: %v", s.name, err)
		}
		if len(w.written()) == before {
			tb.Fatalf("Send of %s wrote nothing: Send writes one frame", s.name)
		}
		ends = append(ends, len(w.written()))
	}
	return w.written(), ends
}

// decode receives until there is an error.
func (k *kit) decode(tb testing.TB, w *wire) (payloads [][]byte, err error) {
	tb.Helper()
	w.tb = tb
	codec := k.newCodec(tb, w)
	for {
		payload, err := receive(tb, codec, w)
		if err != nil {
			return payloads, err
		}
		payloads = append(payloads, bytes.Clone(payload))
		if len(payloads) > len(w.in) {
			tb.Fatalf("Receive returned %d messages from %d bytes; after the end it must return an error", len(payloads), len(w.in))
		}
	}
}

// arrives fails tb unless frame, made by what, is received as s and as nothing else.
func (k *kit) arrives(tb testing.TB, what string, frame []byte, s sample) {
	tb.Helper()
	got, err := k.decode(tb, &wire{in: frame})
	if len(got) != 1 || err != io.EOF {
		tb.Fatalf("%s of %s made %d bytes, %.64q, which are received as %d messages and then %v, not as the message that Send sends",
			what, s.name, len(frame), frame, len(got), err)
	}
	if err := s.first(got[0]); err != nil {
		tb.Fatalf("%s of %s: it %v: it is not received as the message that Send sends", what, s.name, err)
	}
}

// complete is how many messages the first n bytes of the stream hold.
func (k *kit) complete(n int) int {
	count := 0
	for _, end := range k.ends[1:] {
		if end <= n {
			count++
		}
	}
	return count
}

// between says whether the stream may end after n bytes.
func (k *kit) between(n int) bool {
	if n == 0 {
		return true
	}
	for _, end := range k.ends {
		if end == n {
			return true
		}
	}
	return false
}

// positions are the places in the stream to try: all, or in a long stream those around the frames'
// ends and some between, so that decoding the stream once for each moves about 4 MiB.
func (k *kit) positions() []int {
	const tryAll, volume = 2048, 4 << 20
	size := len(k.stream)
	several := max(8, volume/size)
	near := min(24, 1+several/len(k.ends))
	var list []int
	next := 0
	for _, end := range k.ends {
		for start := next; next <= end; next++ {
			if size <= tryAll || next%(size/several+1) == 0 || next-start <= near || end-next <= near {
				list = append(list, next)
			}
		}
	}
	return list
}

func (k *kit) newCodec(tb testing.TB, rw io.ReadWriter) libnet.Codec {
	tb.Helper()
	defer failOnPanic(tb, "NewCodec")
	codec := k.protocol.NewCodec(rw)
	if codec == nil {
		tb.Fatal("NewCodec returned nil")
	}
	return codec
}

func send(tb testing.TB, codec libnet.Codec, msg any) error {
	tb.Helper()
	defer failOnPanic(tb, "Send")
	return codec.Send(msg)
}

func receive(tb testing.TB, codec libnet.Codec, w *wire) ([]byte, error) {
	tb.Helper()
	defer failOnPanic(tb, "Receive")
	w.beginReceive()
	return codec.Receive()
}

// is reports errors.Is of errors that may be a codec's own, and no where their methods panic.
func is(err, target error) bool {
	defer func() { _ = recover() }()
	return errchain.Is(err, target)
}

func failOnPanic(tb testing.TB, what string) {
	if r := recover(); r != nil {
		tb.Helper()
		tb.Fatalf("%s panicked: %s\n%s", what, usercode.Text(r), debug.Stack())
	}
}
