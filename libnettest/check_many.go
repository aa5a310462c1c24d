package libnettest

import (
	"bytes"
	"io"
	"testing"

	"github.com/libnet-go/libnet"
)

// many is how often a codec is used in a row: a fault of every thousandth frame shows.
const many = 2500

// crowd returns many samples in a row, of no more bytes than a moment takes: the user's, and others of different
// lengths, some of them the same twice.
func (k *kit) crowd(tb testing.TB) (list []sample) {
	tb.Helper()
	const volume, period = 1 << 20, 61
	var made []sample
	for i := range period {
		if len(k.kinds) == 0 {
			break
		}
		if s := k.kinds[i%len(k.kinds)].make(i, i*7); k.refuses(tb, s) == nil {
			made = append(made, s)
		}
	}
	for bytes := 0; len(list) < many && (bytes < volume || len(list) < 2*len(k.samples)); {
		if len(made) == 0 || len(list) < len(k.samples) {
			list = append(list, k.samples[len(list)%len(k.samples)])
			bytes += len(k.stream) / len(k.samples)
			continue
		}
		s := made[len(list)*17%len(made)]
		list = append(list, s, s, made[len(list)%len(made)])
		bytes += 3 * period
	}
	return list
}

// checkMany sends a crowd through one codec and receives it with another, and does the same with each optional
// interface.
func checkMany(tb testing.TB, k *kit) {
	list := k.crowd(tb)
	stream, _ := k.encode(tb, list)
	k.inOrder(tb, "Send and Receive", list, stream, k.receives)
	k.inOrder(tb, "Send and Receive by reads of 7 bytes", list, stream, func(tb testing.TB, in []byte) ([][]byte, error) {
		return k.decode(tb, &wire{in: in, next: chunksOf(7)})
	})
	codec := k.newCodec(tb, &wire{tb: tb})
	if parser, ok := codec.(libnet.FrameParser); ok {
		k.inOrder(tb, "Send and ParseFrame", list, stream, func(tb testing.TB, in []byte) ([][]byte, error) { return parseAll(tb, parser, in) })
	}
	if appender, ok := codec.(libnet.FrameAppender); ok {
		var appended []byte
		for _, s := range list {
			var err error
			if appended, err = appendFrame(tb, appender, appended, s.msg); err != nil {
				tb.Fatalf("AppendFrame of %s: %v; Send sends it: they must agree", s.name, err)
			}
		}
		k.inOrder(tb, "AppendFrame and Receive", list, appended, k.receives)
	}
	if splitter, ok := codec.(libnet.FrameSplitter); ok {
		k.splitsInOrder(tb, splitter, list)
	}
}

func (k *kit) receives(tb testing.TB, in []byte) ([][]byte, error) {
	tb.Helper()
	return k.decode(tb, &wire{in: in})
}

func parseAll(tb testing.TB, parser libnet.FrameParser, in []byte) (payloads [][]byte, err error) {
	tb.Helper()
	for len(in) > 0 {
		payload, n, err := guardedParse(tb, parser, in)
		if n <= 0 || n > len(in) || err != nil {
			return payloads, err
		}
		payloads = append(payloads, bytes.Clone(payload))
		in = in[n:]
	}
	return payloads, io.EOF
}

// guardedParse is parseFrame without a copy of src, which may be long.
func guardedParse(tb testing.TB, parser libnet.FrameParser, src []byte) (payload []byte, n int, err error) {
	tb.Helper()
	defer failOnPanic(tb, "ParseFrame")
	return parser.ParseFrame(src)
}

// splitsInOrder is for the messages that SplitFrame takes.
func (k *kit) splitsInOrder(tb testing.TB, splitter libnet.FrameSplitter, list []sample) {
	tb.Helper()
	var stream []byte
	var taken []sample
	for _, s := range list {
		header, payload, err := split(tb, splitter, s.msg)
		if err != nil {
			tb.Fatalf("SplitFrame of %s: %v; Send sends it: they must agree", s.name, err)
		}
		if payload != nil {
			stream = append(append(stream, header[min(len(prefix), len(header)):]...), payload...)
			taken = append(taken, s)
		}
	}
	if len(taken) > 0 {
		k.inOrder(tb, "SplitFrame and Receive", taken, stream, k.receives)
	}
}

// inOrder wants stream, made from list, to be received as that, message by message.
func (k *kit) inOrder(tb testing.TB, how string, list []sample, stream []byte, receive func(testing.TB, []byte) ([][]byte, error)) {
	tb.Helper()
	got, err := receive(tb, stream)
	for i := range min(len(got), len(list)) {
		s := list[i]
		problem := s.later(got[i])
		if problem != nil && s.first(got[i]) == nil {
			problem = nil
		}
		if problem != nil {
			tb.Fatalf("%s, %d messages in a row: number %d, %s, %v: every message must arrive as it was sent, whole and in order", how, len(list), i+1, s.name, problem)
		}
	}
	if len(got) != len(list) || err != io.EOF {
		tb.Fatalf("%s: of %d messages in a row %d arrived, and then %v: every message must arrive as it was sent, whole and in order", how, len(list), len(got), err)
	}
}
