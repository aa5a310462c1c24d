package libnettest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/libnet-go/libnet"
)

// checkTwoSessions uses two codecs in turn, down to the byte, as two sessions do.
func checkTwoSessions(tb testing.TB, k *kit) {
	wires := [2]*wire{{tb: tb}, {tb: tb}}
	var codecs [2]libnet.Codec
	for i := range codecs {
		codecs[i] = k.newCodec(tb, wires[i])
	}
	for _, s := range k.samples {
		for i := range codecs {
			if err := send(tb, codecs[i], s.msg); err != nil {
				tb.Fatalf("Send of %s by two codecs in turn: %v: each session has a codec of its own", s.name, err)
			}
		}
	}
	for _, w := range wires {
		k.compareApart(tb, "sent by two codecs in turn", k.receiveAll(tb, &wire{in: w.written()}))
	}

	inner := &wire{tb: tb, in: k.stream, next: chunksOf(1)}
	other := k.newCodec(tb, inner)
	var received [][]byte
	outer := &wire{in: k.stream, next: chunksOf(1), meddle: func(Op) {
		if len(received) < len(k.samples) {
			aside(tb, "Receive by two codecs in turn: each session has a codec of its own: it", func() error {
				payload, err := other.Receive()
				received = append(received, payload)
				return err
			})
		}
	}}
	k.compareApart(tb, "received by two codecs in turn", k.receiveAll(tb, outer))
	k.compareApart(tb, "received by two codecs in turn", received)
}

// receiveAll keeps what Receive returned as it is.
func (k *kit) receiveAll(tb testing.TB, w *wire) (payloads [][]byte) {
	tb.Helper()
	w.tb = tb
	codec := k.newCodec(tb, w)
	for len(payloads) <= len(k.samples) {
		payload, err := receive(tb, codec, w)
		if err != nil {
			break
		}
		payloads = append(payloads, payload)
	}
	return payloads
}

func (k *kit) compareApart(tb testing.TB, how string, payloads [][]byte) {
	tb.Helper()
	if err := k.allArrived(payloads); err != nil {
		tb.Fatalf("%s: %v: each session has a codec of its own", how, err)
	}
}

// allArrived says what is wrong with payloads as those of the samples.
func (k *kit) allArrived(payloads [][]byte) error {
	if len(payloads) != len(k.samples) {
		return errors.New("messages are lost, or too many")
	}
	for i, payload := range payloads {
		if err := k.samples[i].first(payload); err != nil {
			return err
		}
	}
	return nil
}

// checkOverlap has all messages sent while a Receive waits for the rest of its frame, and one received while a
// Send writes: what the scheduler does seldom, this does each time.
func checkOverlap(tb testing.TB, k *kit) {
	for position := 1; position < len(k.stream); position = 2*position + 1 {
		k.sendInside(tb, position)
	}
	for call := 1; k.receiveInside(tb, call); call++ {
	}
}

// sendInside sends inside the Read that follows the first bytes of the stream.
func (k *kit) sendInside(tb testing.TB, position int) {
	tb.Helper()
	var codec libnet.Codec
	var w *wire
	sent := false
	w = &wire{tb: tb, in: k.stream, next: cutAt(position)}
	w.meddle = func(op Op) {
		if op != OpRead || sent || codec == nil || w.position() < position {
			return
		}
		sent = true
		aside(tb, "Send while a Receive waits: the two may overlap: it", func() error { return k.sendAll(codec) })
	}
	codec = k.newCodec(tb, w)
	received := k.receiveRest(tb, codec, w)
	if err := k.allArrived(received); err != nil {
		tb.Fatalf("Send while a Receive waits after %d bytes: what is received: %v: Send and Receive may overlap", position, err)
	}
	if !sent {
		return
	}
	if err := k.allArrived(k.receiveAll(tb, &wire{in: w.written()})); err != nil {
		tb.Fatalf("Send while a Receive waits after %d bytes: what is sent: %v: Send and Receive may overlap", position, err)
	}
}

func (k *kit) sendAll(codec libnet.Codec) error {
	for _, s := range k.samples {
		if err := codec.Send(s.msg); err != nil {
			return err
		}
	}
	return nil
}

func (k *kit) receiveRest(tb testing.TB, codec libnet.Codec, w *wire) (payloads [][]byte) {
	tb.Helper()
	for len(payloads) <= len(k.samples) {
		payload, err := receive(tb, codec, w)
		if err != nil {
			break
		}
		payloads = append(payloads, bytes.Clone(payload))
	}
	return payloads
}

// receiveInside receives all inside the call-th Write, and reports whether there was one.
func (k *kit) receiveInside(tb testing.TB, call int) bool {
	tb.Helper()
	var codec libnet.Codec
	var received [][]byte
	reached := false
	writes := 0
	w := &wire{tb: tb, in: k.stream}
	w.meddle = func(op Op) {
		if op != OpWrite || codec == nil {
			return
		}
		if writes++; writes != call {
			return
		}
		reached = true
		aside(tb, "Receive while a Send writes: the two may overlap: it", func() (err error) {
			received, err = k.receiveEach(codec)
			return err
		})
	}
	codec = k.newCodec(tb, w)
	for _, s := range k.samples {
		if err := send(tb, codec, s.msg); err != nil {
			tb.Fatalf("Send of %s: %v", s.name, err)
		}
	}
	if !reached {
		return false
	}
	for what, payloads := range map[string][][]byte{"received": received, "sent": k.receiveAll(tb, &wire{in: w.written()})} {
		if err := k.allArrived(payloads); err != nil {
			tb.Fatalf("Receive while write %d is under way: what is %s: %v: Send and Receive may overlap", call, what, err)
		}
	}
	return true
}

// receiveEach receives as many messages as there are.
func (k *kit) receiveEach(codec libnet.Codec) (payloads [][]byte, err error) {
	for range k.samples {
		payload, err := codec.Receive()
		if err != nil {
			return payloads, err
		}
		payloads = append(payloads, payload)
	}
	return payloads, nil
}

// aside runs f on another goroutine, as a session does, and waits for it.
func aside(tb testing.TB, what string, f func() error) {
	tb.Helper()
	done := make(chan error, 1)
	start("a call", done, f)
	if err := inTime(tb, what, done); err != nil {
		tb.Fatalf("%s failed: %v", what, err)
	}
}
