package sendqueue

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// queueModel is what a queue must come to: parts in order, of which the messages may be dropped until they are taken.
type queueModel struct {
	pending  []modelPart
	inflight []byte
}

type modelPart struct {
	bytes   []byte
	message bool
}

func (m *queueModel) messages() (n int) {
	for _, p := range m.pending {
		if p.message {
			n++
		}
	}
	return n
}

func (m *queueModel) bytes() (n int) {
	for _, p := range m.pending {
		n += len(p.bytes)
	}
	return n
}

// dropDownTo drops the oldest messages, but never the newest.
func (m *queueModel) dropDownTo(limit Limit, inflight, inflightBytes int) (dropped int) {
	for i := 0; i < len(m.pending) && m.messages() > 1; {
		if m.messages()+inflight <= limit.Messages && m.bytes()+inflightBytes <= limit.Bytes {
			break
		}
		if !m.pending[i].message {
			i++
			continue
		}
		m.pending = append(m.pending[:i:i], m.pending[i+1:]...)
		dropped++
	}
	return dropped
}

func (m *queueModel) rest() (all []byte) {
	for _, p := range m.pending {
		all = append(all, p.bytes...)
	}
	return all
}

// TestAQueueHoldsWhatItTookInOrderWhateverIsDroppedAndWritten goes through random sequences of what happens to a queue.
// A seed that failed is in the name of its test.
func TestAQueueHoldsWhatItTookInOrderWhateverIsDroppedAndWritten(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runQueue(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func runQueue(t *testing.T, random *rand.Rand) {
	q, m := new(Queue), new(queueModel)
	limit := Limit{1 + random.IntN(40), 1 + random.IntN(300_000), false, nil}
	next := byte(0)
	made := func() []byte {
		next++
		sizes := []int{1, 10, 1000, 8 << 10, 40_000, keptBatch + 1}
		return bytes.Repeat([]byte{next}, 1+random.IntN(sizes[random.IntN(len(sizes))]))
	}
	var lender testLender
	discarded := 0
	for range 300 {
		drop, inflight, inflightBytes := random.IntN(2) == 0, 0, 0
		limit.Drop = drop
		if b := q.inflight; b != nil {
			inflight, inflightBytes = b.messages, b.size-b.written
		}
		switch random.IntN(7) {
		case 0, 1:
			c := NewDraft()
			c.SetFrame(append(c.Room(), made()...))
			part := modelPart{bytes.Clone(c.buf), true}
			_, err := q.Put(c, limit)
			if err == nil {
				m.pending = append(m.pending, part)
			}
			if drop {
				discarded += m.dropDownTo(limit, inflight, inflightBytes)
			}
		case 2:
			frame := made()
			_, err := q.PutShared(frame, limit)
			if err == nil {
				m.pending = append(m.pending, modelPart{frame, true})
			}
			if drop {
				discarded += m.dropDownTo(limit, inflight, inflightBytes)
			}
		case 3:
			loose := made()
			if _, err := q.Write(loose, 0, limit.Bytes, false); err == nil {
				m.pending = append(m.pending, modelPart{loose, false})
			}
		case 4:
			payload := made()
			_, err := q.PutCopy(Header{0x0201, 2}, payload, &limit)
			if err == nil {
				m.pending = append(m.pending, modelPart{append([]byte{1, 2}, payload...), true})
			}
			if drop {
				discarded += m.dropDownTo(limit, inflight, inflightBytes)
			}
		case 5:
			flushSome(t, q, m, random)
		case 6:
			for range random.IntN(4) {
				lent := lender.lend(made())
				_, err := q.PutLent(lent, &limit)
				if err == nil {
					m.pending = append(m.pending, modelPart{bytes.Clone(lent.Bytes), true})
				}
				if drop {
					discarded += m.dropDownTo(limit, inflight, inflightBytes)
				}
			}
		}
		if queued := m.messages() + len0(q.inflight); int(q.messages) != queued {
			t.Fatalf("%d messages are queued; want %d", q.messages, queued)
		}
		if q.Counters().Discarded != uint64(discarded) {
			t.Fatalf("%d messages were discarded; want %d", q.Counters().Discarded, discarded)
		}
		if held := storage(q); held > q.bytes+2*keptBatch+keptBatch/8*batchCount(q) {
			t.Fatalf("%d bytes of storage for %d in %d batches", held, q.bytes, batchCount(q))
		}
	}
	for q.front != nil || q.inflight != nil {
		flushSome(t, q, m, random)
	}
	lender.mustBeUnchanged(t)
	if q.bytes != 0 || q.messages != 0 || len(m.inflight) != 0 || len(m.rest()) != 0 {
		t.Fatalf("%d bytes and %d messages are left; the model has %d and %d", q.bytes, q.messages, len(m.inflight), len(m.rest()))
	}
}

func len0(b *Batch) int {
	if b == nil {
		return 0
	}
	return b.messages
}

// flushSome begins a flush or goes on with it, and writes a part of what it offers.
func flushSome(t *testing.T, q *Queue, m *queueModel, random *rand.Rand) {
	if q.inflight == nil {
		if q.flushing == noFlush && !q.Begin() { // nobody carries out what put has begun
			return
		}
		m.take(t, q.Take())
	}
	b := q.inflight
	offered := b.Rest()
	n := random.IntN(len(offered) + 1)
	if !bytes.Equal(offered[:n], m.inflight[:n]) {
		t.Fatalf("%d bytes are to be written that are not the next", n)
	}
	m.inflight = m.inflight[n:]
	whole := b.written+n == b.size
	next, err := q.Wrote(b, n)
	if err != nil {
		t.Fatal(err)
	}
	if whole && next != nil {
		m.take(t, next)
	}
}

// take moves what b holds, which a flush has just taken.
func (m *queueModel) take(t *testing.T, b *Batch) {
	left := b.size - b.written
	for left > 0 && len(m.pending) > 0 {
		left -= len(m.pending[0].bytes)
		m.inflight = append(m.inflight, m.pending[0].bytes...)
		m.pending = m.pending[1:]
	}
	if left != 0 {
		t.Fatalf("a Batch ends %d bytes inside a message", -left)
	}
}

// storage is what the queue keeps from being collected, but for frames that are shared.
func storage(q *Queue) (n int) {
	for b := q.front; b != nil; b = b.next {
		n += len(b.buf)
		for _, e := range b.shared {
			n += len(e.bytes)
		}
	}
	return n
}

func batchCount(q *Queue) (n int) {
	for b := q.front; b != nil; b = b.next {
		n++
	}
	return n
}

// A codec that returns memory of its own in the place of what it appends must not have other frames put there.
func TestAFrameThatDidNotBeginInItsRoomIsCopied(t *testing.T) {
	for what, room := range map[string][]byte{"no room": nil, "room": make([]byte, 0, 64)} {
		c := &Batch{buf: room}
		lent := append(make([]byte, 0, 4096), "lent"...)
		c.SetFrame(lent)
		c.addFrame(Header{}, []byte("another"))
		lent[0] = 'x'
		if got := string(c.Rest()); got != "lentanother" || string(lent[:11]) == "xentanother" {
			t.Errorf("%s: the batch holds %q, the codec %q", what, got, lent[:11])
		}
	}
	long := append(make([]byte, 0, 2*keptBatch), make([]byte, keptBatch+1)...)
	c := new(Batch)
	c.SetFrame(long)
	if c.hasRoom(1) || cap(c.buf) > len(long) {
		t.Error("others are put behind a long frame, which is not copied")
	}
}

func TestAFrameThatBeganInItsRoomIsNotCopied(t *testing.T) {
	c := &Batch{buf: make([]byte, 0, 64)}
	frame := append(c.Room(), "frame"...)
	c.SetFrame(frame)
	if &c.buf[0] != &frame[0] {
		t.Error("it was copied")
	}
}
