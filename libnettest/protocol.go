package libnettest

import (
	"bytes"
	"encoding/json"
	"io"
	"runtime/debug"
	"testing"

	"github.com/libnet-go/libnet"
)

// TestProtocol checks that a protocol's codecs keep what libnet relies on. It sends and receives the
// messages, which should be of different lengths, the empty and the largest among them if there are
// such, and runs each check as a subtest:
//
//   - every message arrives as it was sent, however the stream is cut into reads, at every byte;
//   - a stream that ends between frames gives io.EOF, one that ends inside a frame io.ErrUnexpectedEOF,
//     one that breaks the reader's error; and so does every Receive after it: no nil error, no spinning;
//   - what Receive returned is the caller's: later frames do not change it, nor it them;
//   - Send reports an error of the writer, and a short write, wherever in the frame it happens;
//   - a message of a wrong type, or too long, is an error before a byte was written, and not a panic;
//   - claimed lengths and noise cost an error, not a panic or memory that no byte has arrived for;
//   - Send and Receive may overlap; Close closes the conn, ends Receive and leaves no goroutine;
//   - AppendFrame, ParseFrame and SplitFrame, of a codec that has them, agree with Send and Receive,
//     and with an error leave dst as it was.
//
// A message that is a []byte or string must arrive as these bytes, or as their JSON. Of other messages
// only the sender's codec knows the bytes: give an [Expect] to have those compared, too. Run it with
// the race detector. The protocol must not need an answer from its peer before it can send.
func TestProtocol(t *testing.T, p libnet.Protocol, messages ...any) {
	t.Helper()
	k := newKit(t, p, messages)
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) { check.run(t, k) })
	}
}

// Expect is a message for [TestProtocol] and [FuzzProtocol] whose payload is known.
type Expect struct {
	Message any    // what is sent
	Payload []byte // what Receive must return
}

var checks = []struct {
	name string
	run  func(tb testing.TB, k *kit)
}{
	{"a stream cut into any reads", checkSplit},
	{"a stream that ends anywhere", checkTruncated},
	{"a stream that breaks anywhere", checkReadError},
	{"a received message is the caller's", checkOwnership},
	{"claimed lengths and noise", checkHostile},
	{"a write that fails anywhere", checkWriteError},
	{"a message of a wrong type", checkWrongType},
	{"a message that is too long", checkLong},
	{"Send and Receive at the same time", checkConcurrent},
	{"Close", checkClose},
	{"AppendFrame", checkAppendFrame},
	{"ParseFrame", checkParseFrame},
	{"SplitFrame", checkSplitFrame},
}

// kit is what the checks share. It is immutable after newKit.
type kit struct {
	protocol libnet.Protocol
	messages []any
	want     [][]byte // by message: the payload that the user expects; nil: unknown

	stream   []byte
	ends     []int    // where frames may end: before the first message, and after each
	payloads [][]byte // what Receive made of stream
	varies   bool     // encoding the same messages again gives other bytes, as that of a map does
	plain    any      // a message that arrives as its own bytes, if there is one
}

// encodings is how often messages are encoded before they are held to give the same bytes each time. The
// few keys of a small map come in the order of before about every eighth time.
const encodings = 20

// newKit sends the messages and receives them in the simplest way.
func newKit(tb testing.TB, p libnet.Protocol, messages []any) *kit {
	tb.Helper()
	if len(messages) == 0 {
		tb.Fatal("libnettest: a protocol cannot be tested without messages")
	}
	k := &kit{protocol: p}
	for _, msg := range messages {
		var want []byte
		if expect, ok := msg.(Expect); ok {
			msg = expect.Message
			want = append([]byte{}, expect.Payload...) // never nil
		}
		k.messages = append(k.messages, msg)
		k.want = append(k.want, want)
	}

	k.stream, k.ends = k.encode(tb)
	for i := 0; i < encodings && !k.varies; i++ {
		again, _ := k.encode(tb)
		k.varies = !bytes.Equal(k.stream, again)
	}

	payloads, err := k.decode(tb, &wire{in: k.stream})
	if len(payloads) != len(messages) || err != io.EOF {
		tb.Fatalf("sent %d messages in %d bytes, received %d and then %v; want all and then EOF", len(messages), len(k.stream), len(payloads), err)
	}
	k.payloads = payloads
	for i, payload := range payloads {
		own, isBytes := plainBytes(k.messages[i])
		switch {
		case k.want[i] != nil && !bytes.Equal(payload, k.want[i]):
			tb.Fatalf("message %d arrived as %.64q, want %.64q", i, payload, k.want[i])
		case k.want[i] == nil && isBytes && !bytes.Equal(payload, own) && !isJSONOf(payload, k.messages[i]):
			tb.Fatalf("message %d arrived as %.64q, sent was %.64q; where that is meant, use libnettest.Expect", i, payload, own)
		case isBytes && bytes.Equal(payload, own) && (k.plain == nil || len(own) > 0):
			k.plain = k.messages[i]
		}
	}
	return k
}

// encode sends all messages through one codec, because a codec may keep state from one to the next.
func (k *kit) encode(tb testing.TB) (stream []byte, ends []int) {
	tb.Helper()
	w := &wire{tb: tb}
	codec := k.newCodec(tb, w)
	ends = append(ends, len(w.written()))
	for i, msg := range k.messages {
		before := len(w.written())
		if err := send(tb, codec, msg); err != nil {
			tb.Fatalf("Send of message %d: %v", i, err)
		}
		if len(w.written()) == before {
			tb.Fatalf("Send of message %d wrote nothing", i)
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

func failOnPanic(tb testing.TB, what string) {
	if r := recover(); r != nil {
		tb.Helper()
		tb.Fatalf("%s panicked: %v\n%s", what, r, debug.Stack())
	}
}

// plainBytes returns the bytes of a message that is nothing else.
func plainBytes(msg any) ([]byte, bool) {
	switch m := msg.(type) {
	case []byte:
		return m, true
	case string:
		return []byte(m), true
	}
	return nil, false
}

// isJSONOf knows that JSON has more than one form of a string.
func isJSONOf(payload []byte, msg any) bool {
	switch msg := msg.(type) {
	case []byte:
		var got []byte
		return json.Unmarshal(payload, &got) == nil && bytes.Equal(got, msg)
	case string:
		var got string
		return json.Unmarshal(payload, &got) == nil && got == msg
	}
	return false
}
