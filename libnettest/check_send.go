package libnettest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/libnet-go/libnet"
)

// unusable is of a type that no codec can know.
type unusable struct{ C chan func() }

// unusables are messages that nothing should be able to send.
func unusables() []any { return []any{unusable{}, &unusable{}, func() {}, nil} }

// checkWriteError breaks the k-th write for every k, in every way.
func checkWriteError(tb testing.TB, k *kit) {
	for _, fault := range []struct {
		how  string
		does func(size int) (n int, err error)
	}{
		{"fails", func(int) (int, error) { return 0, errBroken }},
		{"fails after a byte", func(size int) (int, error) { return min(1, size), errBroken }},
		{"fails after all bytes", func(size int) (int, error) { return size, errBroken }},
		{"is short, without error", func(size int) (int, error) { return max(size-1, 0), nil }},
	} {
		for call := 1; k.breakWrite(tb, call, fault.how, fault.does); call++ {
		}
	}
}

// breakWrite reports whether the messages made that many writes.
func (k *kit) breakWrite(tb testing.TB, call int, how string, fault func(size int) (int, error)) bool {
	tb.Helper()
	var fails bool // the fault has been met
	var want error
	w := &wire{tb: tb, onWrite: func(write, size int) (n int, err error) {
		if write != call {
			return size, nil
		}
		fails = true
		n, want = fault(size)
		return n, want
	}}
	codec := k.newCodec(tb, w)
	for i, msg := range k.messages {
		err := send(tb, codec, msg)
		if !fails {
			if err != nil {
				tb.Fatalf("Send of message %d: %v", i, err)
			}
			continue
		}
		where := fmt.Sprintf("write %d %s, in message %d", call, how, i)
		switch {
		case err == nil && want == nil && k.holds(tb, w.written(), i+1): // it wrote the rest
		case err == nil:
			tb.Fatalf("%s: Send reported no error", where)
		case want != nil && !errors.Is(err, want):
			tb.Fatalf("%s: Send reported %v, which does not wrap the writer's error", where, err)
		case errors.Is(err, libnet.ErrEncode) || errors.Is(err, libnet.ErrFrameTooLarge):
			tb.Fatalf("%s: Send reported %v, which says that nothing was written", where, err)
		}
		return true
	}
	return false
}

// holds says whether stream is n messages and no more.
func (k *kit) holds(tb testing.TB, stream []byte, n int) bool {
	tb.Helper()
	got, err := k.decode(tb, &wire{in: stream})
	return len(got) == n && err == io.EOF
}

func checkWrongType(tb testing.TB, k *kit) {
	for _, msg := range unusables() {
		k.sendOrRefuse(tb, fmt.Sprintf("a message of type %T", msg), msg, nil)
	}
}

// longSizes are just more than lengths of one, two and three bytes can say.
var longSizes = []int{1<<8 + 5, 1<<16 + 5, 1<<24 + 5}

func checkLong(tb testing.TB, k *kit) {
	for _, size := range longSizes {
		if msg, payload := k.long(size); msg != nil {
			k.sendOrRefuse(tb, fmt.Sprintf("a message of %d bytes", size), msg, payload)
		}
	}
}

// long makes a message of size bytes by repeating one that arrives as its own bytes; nil if there is
// none.
func (k *kit) long(size int) (msg any, payload []byte) {
	if k.plain == nil {
		return nil, nil
	}
	unit, _ := plainBytes(k.plain)
	if len(unit) == 0 {
		unit = []byte("x")
	}
	payload = bytes.Repeat(unit, size/len(unit)+1)[:size]
	if _, isString := k.plain.(string); isString {
		return string(payload), payload
	}
	return payload, payload
}

// sendOrRefuse wants msg to arrive, as payload if that is known, or Send to report an error, to write
// nothing, and to go on with the next message.
func (k *kit) sendOrRefuse(tb testing.TB, what string, msg any, payload []byte) {
	tb.Helper()
	w := &wire{tb: tb}
	codec := k.newCodec(tb, w)
	start := len(w.written())
	if err := send(tb, codec, msg); err != nil {
		if n := len(w.written()) - start; n != 0 {
			tb.Fatalf("%s: Send reported %v and wrote %d bytes all the same", what, err, n)
		}
		if err := send(tb, codec, k.messages[0]); err != nil {
			tb.Fatalf("%s was refused, and so is the next message: %v", what, err)
		}
		if !k.holds(tb, w.written(), 1) {
			tb.Fatalf("%s was refused, but then the next message does not arrive", what)
		}
		return
	}
	got, err := k.decode(tb, &wire{in: w.written()})
	if len(got) != 1 || err != io.EOF || payload != nil && !bytes.Equal(got[0], payload) {
		tb.Fatalf("%s: Send reported no error and wrote %d bytes, from which Receive made %d messages and then %v",
			what, len(w.written()), len(got), err)
	}
}
