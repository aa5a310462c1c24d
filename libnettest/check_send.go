package libnettest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"

	"github.com/libnet-go/libnet"
)

// unusable is of a type that no codec can know.
type unusable struct{ C chan func() }

// unusables are messages that nothing should be able to send, and the nil pointers among those that can be sent.
func (k *kit) unusables() (list []sample) {
	add := func(msg any) {
		for _, s := range list {
			if reflect.TypeOf(s.msg) == reflect.TypeOf(msg) {
				return
			}
		}
		any := func([]byte) error { return nil }
		list = append(list, sample{name: fmt.Sprintf("a message of type %T (%[1]v)", msg), msg: msg, first: any, later: any})
	}
	add(unusable{})
	add(&unusable{})
	add((func())(nil))
	add(nil)
	add((*unusable)(nil))
	for _, s := range k.samples {
		if t := reflect.TypeOf(s.msg); t != nil && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice) {
			add(reflect.Zero(t).Interface())
		}
	}
	return list
}

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
	for i, s := range k.samples {
		err := send(tb, codec, s.msg)
		if !fails {
			if err != nil {
				tb.Fatalf("Send of %s: %v", s.name, err)
			}
			continue
		}
		where := fmt.Sprintf("write %d %s, in %s", call, how, s.name)
		switch {
		case err == nil && want == nil && k.holds(tb, w.written(), i+1): // it wrote the rest
		case err == nil:
			tb.Fatalf("%s: Send reported no error", where)
		case want != nil && !is(err, want):
			tb.Fatalf("%s: Send reported %v, which does not wrap the writer's error", where, err)
		case is(err, libnet.ErrEncode) || is(err, libnet.ErrFrameTooLarge):
			tb.Fatalf("%s: Send reported %v, which says that nothing was written", where, err)
		}
		return true
	}
	return false
}

func checkWrongType(tb testing.TB, k *kit) {
	for _, s := range k.unusables() {
		k.sendOrRefuse(tb, s)
	}
}

// sendOrRefuse wants s to arrive, or Send to report an error, to write nothing, and to go on with the next message.
func (k *kit) sendOrRefuse(tb testing.TB, s sample) (frame []byte, refused error) {
	tb.Helper()
	w := &wire{tb: tb}
	codec := k.newCodec(tb, w)
	start := w.size()
	if refused = send(tb, codec, s.msg); refused != nil {
		if n := w.size() - start; n != 0 {
			tb.Fatalf("%s: Send reported %v and wrote %d bytes all the same: a message that is refused leaves nothing behind", s.name, refused, n)
		}
		if err := send(tb, codec, k.samples[0].msg); err != nil {
			tb.Fatalf("%s was refused, and so is the next message: %v", s.name, err)
		}
		if !k.holds(tb, w.written(), 1) {
			tb.Fatalf("%s was refused, but then the next message does not arrive", s.name)
		}
		return nil, refused
	}
	got, err := k.decode(tb, &wire{in: w.written()})
	if len(got) != 1 || err != io.EOF {
		tb.Fatalf("%s: Send reported no error and wrote %d bytes, from which Receive made %d messages and then %v: "+
			"a message arrives whole, or is refused before a byte was written", s.name, w.size(), len(got), err)
	}
	if err := s.first(got[0]); err != nil {
		tb.Fatalf("%s: Send reported no error, but it %v: a message arrives whole, or is refused before a byte was written", s.name, err)
	}
	return w.written()[start:], nil
}

// checkSentMessage looks at what a codec does with the message that it was given: nothing, and it forgets it.
func checkSentMessage(tb testing.TB, k *kit) {
	if k.plain == nil || k.plain.isString {
		tb.Skipf("no message is a []byte")
	}
	for _, size := range []int{0, 3, 100, 5000, 40 << 10} {
		k.keepsMessage(tb, size, "Send", func(codec libnet.Codec, w *wire, msg any) error { return send(tb, codec, msg) })
		k.keepsMessage(tb, size, "AppendFrame", func(codec libnet.Codec, w *wire, msg any) error {
			appender, ok := codec.(libnet.FrameAppender)
			if !ok {
				return libnet.ErrEncode
			}
			var err error
			w.out, err = appendFrame(tb, appender, w.out, msg)
			return err
		})
	}
}

// keepsMessage encodes a message, writes over it, and encodes it again from the same memory.
func (k *kit) keepsMessage(tb testing.TB, size int, what string, encode func(codec libnet.Codec, w *wire, msg any) error) {
	tb.Helper()
	s, storage := k.plain.own(size)
	other := k.plain.of(flipped(storage[:size]))
	if !k.takes(tb, other) {
		other = k.plain.make(size, 1)
	}
	before := bytes.Clone(storage)
	w := &wire{tb: tb}
	codec := k.newCodec(tb, w)
	if encode(codec, w, s.msg) != nil {
		return
	}
	if !bytes.Equal(storage, before) {
		tb.Fatalf("%s of %s changed it, or what lies behind it in the caller's memory: it must leave a message alone", what, s.name)
	}
	copy(storage, other.msg.([]byte))
	if encode(codec, w, s.msg) != nil {
		return
	}
	got, err := k.decode(tb, &wire{in: w.written()})
	if len(got) != 2 || err != io.EOF {
		tb.Fatalf("%s of %s, twice: received %d messages and then %v", what, s.name, len(got), err)
	}
	if err := errors.Join(s.first(got[0]), other.later(got[1])); err != nil {
		tb.Fatalf("%s of %s, which was then written over and sent once more: it %v: a message must not be kept", what, s.name, err)
	}
}

// flipped is other bytes than p's.
func flipped(p []byte) []byte {
	p = bytes.Clone(p)
	for i := range p {
		p[i] ^= 1
	}
	return p
}

// holds says whether stream is n messages and no more.
func (k *kit) holds(tb testing.TB, stream []byte, n int) bool {
	tb.Helper()
	got, err := k.decode(tb, &wire{in: stream})
	return len(got) == n && err == io.EOF
}
