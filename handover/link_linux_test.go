package handover

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/moving"
	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/testkit"
)

func linked(t *testing.T) (l *link, far *net.UnixConn) {
	t.Helper()
	near, file, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		t.Fatal(err)
	}
	return newLink(near), conn.(*net.UnixConn)
}

// The other process serves once that word is written: who overlooks it has both serve.
func TestTheWordThatDecidesIsSeenWhateverContextsEnd(t *testing.T) {
	var current atomic.Pointer[link]
	stopped := make(chan struct{})
	done := make(chan struct{})
	go func() { // contexts of which one after the other ends
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			default:
			}
			if l := current.Load(); l != nil {
				_ = l.conn.SetDeadline(time.Unix(1, 0))
			}
		}
	}()
	for range 1000 {
		l, far := linked(t)
		_ = l.conn.SetDeadline(time.Unix(1, 0))
		current.Store(l)
		if _, err := far.Write([]byte{byte(kindTaken), 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		err := (&giving{link: l}).awaitTaken()
		_, _ = far.Close(), l.conn.Close()
		if err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	<-stopped
}

// A duplicate that stays open keeps a session's peer from hearing of its end, for as long as the process runs.
func TestWhoGivesUpKeepsNoDescriptorThatWasToGo(t *testing.T) {
	l, far := linked(t)
	defer far.Close()
	defer l.conn.Close()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	raw, err := out.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.attach(raw.Control); err != nil {
		t.Fatal(err)
	}
	l.quit(errors.New("descriptors are short"))
	l.close()
	_ = out.Close()
	_ = in.SetReadDeadline(time.Now().Add(testkit.Patience))
	if _, err := in.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("it is open still: %v", err)
	}
}

// An arrival is a session that only has a number.
type arrival struct {
	moving.Arrival
	id uint64
}

func (a arrival) ID() uint64 { return a.id }
func (arrival) Discard()     {}

func TestASessionWhoseOutputDoesNotComeOnceIsNotTaken(t *testing.T) {
	output := func(id uint64) []byte { return appendOutput(nil, id, new(sendqueue.Contents)) }
	for name, c := range map[string]struct {
		outputs [][]byte
		gone    []uint64
		ok      bool
	}{
		"each":          {[][]byte{output(1), output(2)}, nil, true},
		"one has ended": {[][]byte{output(2)}, []uint64{1}, true},
		"one is absent": {[][]byte{output(2)}, nil, false},
		"one twice":     {[][]byte{output(1), output(1)}, nil, false},
		"another's":     {[][]byte{output(1), output(3)}, nil, false},
	} {
		near, far := linked(t)
		giver := newLink(far)
		for _, out := range c.outputs {
			_ = giver.send(kindOutput, out)
		}
		_ = giver.send(kindGone, appendIDs(nil, c.gone))
		_ = giver.send(kindGo, []byte{0})
		if err := giver.flush(); err != nil {
			t.Fatal(err)
		}
		taker := &taking{link: near, arrived: map[uint64]*arrived{}}
		for id := uint64(1); id <= 2; id++ {
			a := &arrived{Arrival: arrival{id: id}, whole: true}
			taker.arrived[id], taker.order = a, append(taker.order, a)
		}
		err := taker.receiveOutputs()
		if errors.Is(err, ErrMalformed) == c.ok || (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		_, _ = near.conn.Close(), far.Close()
	}
}
