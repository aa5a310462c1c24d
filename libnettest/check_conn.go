package libnettest

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/usercode"
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
	conns := [2]*firstUse{{Conn: a, began: make(chan struct{})}, {Conn: b, began: make(chan struct{})}}
	codecs := [2]libnet.Codec{k.newCodec(tb, conns[0]), k.newCodec(tb, conns[1])}

	results := make(chan error, 4)
	for i := range codecs {
		start("Receive", results, func() error { return k.receiveRounds(codecs[i], rounds) })
	}
	for i := range codecs {
		select { // so that both sends begin while a Receive waits
		case <-conns[i].began:
		case <-time.After(checkPatience):
		}
		start("Send", results, func() error { return k.sendRounds(codecs[i], rounds) })
	}
	var errs []error
	for range cap(results) {
		if err := awaited(tb, "Send and Receive, at the same time,", 2*checkPatience, results); err != nil {
			errs = append(errs, err)
			a.Close()
			b.Close()
		}
	}
	if len(errs) > 0 {
		tb.Fatal(errs[0]) // the others follow from it
	}
}

// firstUse tells when its conn is first read from or written to.
type firstUse struct {
	net.Conn
	once  sync.Once
	began chan struct{} // closed by the first Read or Write
}

func (c *firstUse) Read(p []byte) (int, error) {
	c.once.Do(func() { close(c.began) })
	return c.Conn.Read(p)
}

func (c *firstUse) Write(p []byte) (int, error) {
	c.once.Do(func() { close(c.began) })
	return c.Conn.Write(p)
}

func (k *kit) sendRounds(codec libnet.Codec, rounds int) error {
	for range rounds {
		for _, s := range k.samples {
			if err := codec.Send(s.msg); err != nil {
				return fmt.Errorf("sending %s: %w", s.name, err)
			}
		}
	}
	return nil
}

func (k *kit) receiveRounds(codec libnet.Codec, rounds int) error {
	for round := range rounds {
		for _, s := range k.samples {
			payload, err := codec.Receive()
			if err != nil {
				return fmt.Errorf("receiving %s in round %d: %w", s.name, round, err)
			}
			is := s.later
			if round == 0 {
				is = s.first
			}
			if err := is(payload); err != nil {
				return fmt.Errorf("%s in round %d, while both ends send and receive: %w", s.name, round, err)
			}
		}
	}
	return nil
}

// start runs f on a goroutine of its own, and says what came of it, also where f panics or ends the goroutine.
func start(what string, result chan<- error, f func() error) {
	go func() {
		err := fmt.Errorf("%s ended its goroutine", what)
		defer func() { result <- err }()
		err = guard(what, f)
	}()
}

// guard turns a panic of f, on a goroutine that must not call FailNow, into an error.
func guard(what string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s panicked: %s", what, usercode.Text(r))
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
	open := k.newCodec(tb, struct{ io.ReadWriter }{&wire{tb: tb}})
	if err := guard("Close", func() error { _ = open.Close(); return nil }); err != nil {
		tb.Fatalf("Close of a codec on what is no io.Closer: %v", err)
	}

	self, before := goroutines()
	k.closeEnds(tb, "Receive", Pipe, func(codec libnet.Codec) error {
		_, err := codec.Receive()
		return err
	})
	full := func() (a, b net.Conn) { return PipeSize(1) }
	k.closeEnds(tb, "Send", full, func(codec libnet.Codec) (err error) {
		for range 1000 { // the first frames may be of a byte, and pass
			if err = codec.Send(k.samples[0].msg); err != nil {
				break
			}
		}
		return err
	})
	checkNoneStarted(tb, self, before)
}

// closeEnds closes a codec, more than once and by several goroutines, while a call of it waits.
func (k *kit) closeEnds(tb testing.TB, what string, pipe func() (a, b net.Conn), call func(libnet.Codec) error) {
	tb.Helper()
	a, b := pipe()
	defer b.Close()
	defer a.Close()
	conn := &firstUse{Conn: a, began: make(chan struct{})}
	codec := k.newCodec(tb, conn)
	ended := make(chan error, 1)
	start(what, ended, func() error {
		if err := call(codec); err == nil {
			return fmt.Errorf("no error from %s after Close", what)
		}
		return nil
	})
	inTime(tb, what+" uses the connection", conn.began)
	const closers = 3
	closed := make(chan error, closers)
	for range closers {
		start("Close", closed, func() error { _ = codec.Close(); return nil }) // all but the first may fail
	}
	for range closers {
		if err := inTime(tb, "Close, by several goroutines while "+what+" waits,", closed); err != nil {
			tb.Fatalf("Close by several goroutines while %s waits: %v: Close may be called more than once", what, err)
		}
	}
	if err := inTime(tb, "Close must end a "+what+" that waits: it", ended); err != nil {
		tb.Fatal(err)
	}
	if err := guard("Send", func() error { return codec.Send(k.samples[0].msg) }); err == nil {
		tb.Fatal("Send after Close reported no error")
	}
	if err := guard("Close", func() error { _ = codec.Close(); return nil }); err != nil {
		tb.Fatalf("a second Close: %v: Close may be called more than once", err)
	}
}

// inTime returns what c says.
func inTime[T any](tb testing.TB, what string, c <-chan T) (v T) {
	tb.Helper()
	return awaited(tb, what, checkPatience, c)
}

func awaited[T any](tb testing.TB, what string, patience time.Duration, c <-chan T) (v T) {
	tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v = <-c:
	case <-timer.C:
		tb.Fatalf("%s did not end within %v", what, patience)
	}
	return v
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
