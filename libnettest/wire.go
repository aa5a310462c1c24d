package libnettest

import (
	"io"
	"math"
	"testing"

	"github.com/libnet-go/libnet/internal/lock"
)

// maxReadsAtEnd is how often one Receive may read past the end; more is a spin.
const maxReadsAtEnd = 1000

// wire is what the checks give a codec in place of a connection: it hands out the bytes of in, cut as
// the check wants them, and keeps what is written.
type wire struct {
	tb testing.TB

	// Immutable once a codec has it.
	in      []byte
	next    func(from int) int                   // where the read that begins at from ends at the latest; nil: anywhere
	withEnd bool                                 // the last bytes come together with the end, as io.Reader allows
	end     error                                // what follows in; nil is io.EOF
	onWrite func(k, size int) (n int, err error) // what the k-th Write does; nil: its work
	empty   bool                                 // every other read brings nothing, as io.Reader allows
	meddle  func(Op)                             // runs before each Read and Write, which wait for it; nil: nothing
	discard bool                                 // what is written is only counted

	mu lock.Mutex[wireLock] // guards the following
	at int                  // in[:at] was read

	readsAtEnd int
	out        []byte
	count      int // bytes written
	reads      int
	writes     int
	closed     bool
}

func (w *wire) Read(p []byte) (int, error) {
	if w.meddle != nil {
		w.meddle(OpRead)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	if w.empty && w.reads%2 == 1 {
		return 0, nil
	}
	end := w.end
	if end == nil {
		end = io.EOF
	}
	if w.at == len(w.in) {
		if w.readsAtEnd++; w.readsAtEnd > maxReadsAtEnd {
			w.tb.Fatalf("Receive spins: it has read %d times past the end (%v)", maxReadsAtEnd, end)
		}
		return 0, end
	}
	until := len(w.in)
	if w.next != nil {
		until = min(until, max(w.next(w.at), w.at+1))
	}
	n := copy(p, w.in[w.at:until])
	w.at += n
	if w.withEnd && w.at == len(w.in) {
		return n, end
	}
	return n, nil
}

func (w *wire) Write(p []byte) (n int, err error) {
	if w.meddle != nil {
		w.meddle(OpWrite)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	n = len(p)
	if w.onWrite != nil {
		n, err = w.onWrite(w.writes, len(p))
	}
	w.count += n
	if !w.discard {
		w.out = append(w.out, p[:n]...)
	}
	return n, err
}

func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	return nil
}

// written returns what was written so far.
func (w *wire) written() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out
}

// size is how many bytes were written so far.
func (w *wire) size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// position is how many bytes were read.
func (w *wire) position() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// touched says how often the connection was used, by codecs that should know nothing of it.
func (w *wire) touched() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reads + w.writes
}

// beginReceive starts the count of reads that go past the end.
func (w *wire) beginReceive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readsAtEnd = 0
}

// cutAt makes reads end at position and otherwise anywhere.
func cutAt(position int) func(int) int {
	return func(from int) int {
		if from < position {
			return position
		}
		return math.MaxInt
	}
}

// chunksOf makes every read at most size bytes.
func chunksOf(size int) func(int) int {
	return func(from int) int { return from + size }
}
