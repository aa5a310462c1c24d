package libnet

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
func (m *queueModel) dropDownTo(limit queueLimit, inflight, inflightBytes int) (dropped int) {
	for i := 0; i < len(m.pending) && m.messages() > 1; {
		if m.messages()+inflight <= limit.messages && m.bytes()+inflightBytes <= limit.bytes {
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

// TestAQueueHoldsWhatItTookInOrderWhateverIsDroppedAndWritten goes through random sequences of what happens to a queue. A
// seed that failed is in the name of its test.
func TestAQueueHoldsWhatItTookInOrderWhateverIsDroppedAndWritten(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runQueue(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func runQueue(t *testing.T, random *rand.Rand) {
	q, m := new(sendQueue), new(queueModel)
	limit := queueLimit{1 + random.IntN(40), 1 + random.IntN(300_000), false}
	next := byte(0)
	made := func() []byte {
		next++
		sizes := []int{1, 10, 1000, shareAt, 40_000, keptBatch + 1}
		return bytes.Repeat([]byte{next}, 1+random.IntN(sizes[random.IntN(len(sizes))]))
	}
	discarded := 0
	for range 300 {
		drop, inflight, inflightBytes := random.IntN(2) == 0, 0, 0
		limit.drop = drop
		if b := q.inflight; b != nil {
			inflight, inflightBytes = b.messages, b.size-b.written
		}
		switch random.IntN(5) {
		case 0, 1:
			c := newDraft()
			c.setFrame(append(c.room(), made()...))
			part := modelPart{bytes.Clone(c.buf), true}
			_, err := q.put(c, limit)
			if err == nil {
				m.pending = append(m.pending, part)
			}
			if drop {
				discarded += m.dropDownTo(limit, inflight, inflightBytes)
			}
		case 2:
			frame := made()
			_, err := q.putShared(frame, limit)
			if err == nil {
				m.pending = append(m.pending, modelPart{frame, true})
			}
			if drop {
				discarded += m.dropDownTo(limit, inflight, inflightBytes)
			}
		case 3:
			loose := made()
			if _, err := q.write(loose, 0, limit.bytes, false); err == nil {
				m.pending = append(m.pending, modelPart{loose, false})
			}
		case 4:
			flushSome(t, q, m, random)
		}
		if queued := m.messages() + len0(q.inflight); q.messages != queued {
			t.Fatalf("%d messages are queued; want %d", q.messages, queued)
		}
		if q.discarded != uint64(discarded) {
			t.Fatalf("%d messages were discarded; want %d", q.discarded, discarded)
		}
		if held := storage(q); held > q.bytes+2*keptBatch+keptBatch/8*batchCount(q) {
			t.Fatalf("%d bytes of storage for %d in %d batches", held, q.bytes, batchCount(q))
		}
	}
	for q.front != nil || q.inflight != nil {
		flushSome(t, q, m, random)
	}
	if q.bytes != 0 || q.messages != 0 || len(m.inflight) != 0 || len(m.rest()) != 0 {
		t.Fatalf("%d bytes and %d messages are left; the model has %d and %d", q.bytes, q.messages, len(m.inflight), len(m.rest()))
	}
}

func len0(b *batch) int {
	if b == nil {
		return 0
	}
	return b.messages
}

// flushSome begins a flush or goes on with it, and writes a part of what it offers.
func flushSome(t *testing.T, q *sendQueue, m *queueModel, random *rand.Rand) {
	if q.inflight == nil {
		if !q.flushing && !q.begin() { // nobody carries out what put has begun
			return
		}
		m.take(t, q.take())
	}
	b := q.inflight
	offered := b.rest()
	n := random.IntN(len(offered) + 1)
	if !bytes.Equal(offered[:n], m.inflight[:n]) {
		t.Fatalf("%d bytes are to be written that are not the next", n)
	}
	m.inflight = m.inflight[n:]
	whole := b.written+n == b.size
	next, err := q.wrote(b, n)
	if err != nil {
		t.Fatal(err)
	}
	if whole && next != nil {
		m.take(t, next)
	}
}

// take moves what b holds, which a flush has just taken.
func (m *queueModel) take(t *testing.T, b *batch) {
	left := b.size - b.written
	for left > 0 && len(m.pending) > 0 {
		left -= len(m.pending[0].bytes)
		m.inflight = append(m.inflight, m.pending[0].bytes...)
		m.pending = m.pending[1:]
	}
	if left != 0 {
		t.Fatalf("a batch ends %d bytes inside a message", -left)
	}
}

// storage is what the queue keeps from being collected, but for frames that are shared.
func storage(q *sendQueue) (n int) {
	for b := q.front; b != nil; b = b.next {
		n += len(b.buf)
		for _, e := range b.shared {
			n += len(e.bytes)
		}
	}
	return n
}

func batchCount(q *sendQueue) (n int) {
	for b := q.front; b != nil; b = b.next {
		n++
	}
	return n
}
