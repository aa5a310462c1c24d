package libnettest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
)

// checkPatience bounds what takes microseconds with a codec that works.
const checkPatience = 10 * time.Second

// checkConcurrent sends the messages again and again between two codecs, in both directions at once.
func checkConcurrent(tb testing.TB, k *kit) {
	const volume = 256 << 10 // bytes in each direction
	rounds := max(3, min(100, volume/len(k.stream)))
	a, b := PipeSize(1 << 10)
	defer a.Close()
	defer b.Close()
	a.SetDeadline(time.Now().Add(checkPatience))
	b.SetDeadline(time.Now().Add(checkPatience))
	conns := [2]*firstRead{{Conn: a, began: make(chan struct{})}, {Conn: b, began: make(chan struct{})}}
	codecs := [2]libnet.Codec{k.newCodec(tb, conns[0]), k.newCodec(tb, conns[1])}

	results := make(chan error, 4)
	for i := range codecs {
		go func() { results <- guard("Receive", func() error { return k.receiveRounds(codecs[i], rounds) }) }()
	}
	for i := range codecs {
		select { // so that both sends begin while a Receive waits
		case <-conns[i].began:
		case <-time.After(checkPatience):
		}
		go func() { results <- guard("Send", func() error { return k.sendRounds(codecs[i], rounds) }) }()
	}
	var errs []error
	for range cap(results) {
		if err := <-results; err != nil {
			errs = append(errs, err)
			a.Close()
			b.Close()
		}
	}
	if len(errs) > 0 {
		tb.Fatal(errs[0]) // the others follow from it
	}
}

// firstRead tells when its conn is first read from.
type firstRead struct {
	net.Conn
	once  sync.Once
	began chan struct{} // closed by the first Read
}

func (c *firstRead) Read(p []byte) (int, error) {
	c.once.Do(func() { close(c.began) })
	return c.Conn.Read(p)
}

func (k *kit) sendRounds(codec libnet.Codec, rounds int) error {
	for range rounds {
		for i, msg := range k.messages {
			if err := codec.Send(msg); err != nil {
				return fmt.Errorf("sending message %d: %w", i, err)
			}
		}
	}
	return nil
}

func (k *kit) receiveRounds(codec libnet.Codec, rounds int) error {
	for round := range rounds {
		for i, want := range k.payloads {
			payload, err := codec.Receive()
			if err != nil {
				return fmt.Errorf("receiving message %d in round %d: %w", i, round, err)
			}
			if !k.varies && round == 0 && !bytes.Equal(payload, want) {
				return fmt.Errorf("message %d arrived as %.64q, alone as %.64q", i, payload, want)
			}
		}
	}
	return nil
}

// guard turns a panic of f, on a goroutine that must not call FailNow, into an error.
func guard(what string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s panicked: %v", what, r)
		}
	}()
	return f()
}

func checkClose(tb testing.TB, k *kit) {
	w := &wire{tb: tb}
	if err := k.newCodec(tb, w).Close(); err != nil {
		tb.Fatalf("Close: %v", err)
	}
	if !w.closed {
		tb.Fatal("Close did not close what the codec was made from")
	}

	self, before := goroutines()
	a, b := Pipe()
	defer b.Close()
	defer a.Close()
	codec := k.newCodec(tb, a)
	ended := make(chan error, 1)
	go func() {
		ended <- guard("Receive", func() error {
			_, err := codec.Receive()
			if err == nil {
				return errors.New("no error from Receive after Close")
			}
			return nil
		})
	}()
	if err := guard("Close", codec.Close); err != nil {
		tb.Fatalf("Close while Receive waits: %v", err)
	}
	select {
	case err := <-ended:
		if err != nil {
			tb.Fatal(err)
		}
	case <-time.After(checkPatience):
		tb.Fatal("Close did not end a Receive that waits")
	}
	if err := guard("Send", func() error { return codec.Send(k.messages[0]) }); err == nil {
		tb.Fatal("Send after Close reported no error")
	}
	_ = guard("Close", codec.Close) // a second one may fail
	checkNoneStarted(tb, self, before)
}

// checkNoneStarted fails when this goroutine, or one that it started, has left one behind. Others are
// none of its business: tests may run in parallel.
func checkNoneStarted(tb testing.TB, self goroutine, before []goroutine) {
	tb.Helper()
	known := make(map[string]bool)
	for _, g := range before {
		known[g.id] = true
	}
	left := poll(func() []string {
		var stacks []string
		family := map[string]bool{self.id: true}
		_, others := goroutines()
		for _, g := range others {
			if family[g.parent] && !known[g.id] {
				family[g.id] = true
				stacks = append(stacks, g.stack)
			}
		}
		return stacks
	})
	if len(left) > 0 {
		tb.Error(leakReport("the codec left", left))
	}
}
