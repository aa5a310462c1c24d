//go:build unix

package sockets

import (
	"io"
	"sync"
)

// A hello gives crypto/tls the client's first record in parts. crypto/tls keeps for the life of a connection a buffer
// that held the longest record, with 512 bytes to spare, and one in which the messages of the handshake were put
// together: of a ClientHello of 1.5 KB, as most are since they offer a key of ML-KEM, that is 3.6 KB. Records are not
// what is encrypted or signed before the keys are agreed on, and a message may lie in several (RFC 8446, 5.1): so
// nobody can tell the difference.
//
// It belongs to who does the handshake.
type hello struct {
	begun  bool
	header [recordHeader]byte
	part   int    // bytes of the payload in each record
	rest   []byte // of the payload
	room   *[longestHello]byte
}

const (
	handshakeRecord = 22 // RFC 8446, 5.1
	sslVersion3     = 3  // the first byte of all TLS versions' numbers

	// helloParts is how many parts there are. The second buffer doubles with the first two of them, so it ends as long
	// as the message.
	helloParts = 4

	// longestHello bounds what is kept of a record while it is handed over. A longer one stays as it is.
	longestHello = 4 << 10
)

var helloRooms = sync.Pool{New: func() any { return new([longestHello]byte) }}

// isWhole reports whether nothing is left to hand over.
func (h *hello) isWhole() bool { return len(h.rest) == 0 }

// read reads from below what may be the first record. It waits for the whole of it: a read that ends within the record
// has crypto/tls make room for as much once more.
func (h *hello) read(below io.Reader, p []byte) (n int, err error) {
	if h.begun || len(p) <= recordHeader {
		return below.Read(p)
	}
	h.begun = true
	n, err = io.ReadAtLeast(below, p, recordHeader)
	if err != nil || p[0] != handshakeRecord || p[1] != sslVersion3 {
		return n, err
	}
	size := int(p[3])<<8 | int(p[4])
	whole := recordHeader + size
	switch {
	case n >= whole || size > longestHello:
		return n, nil
	case whole <= len(p):
		k, err := io.ReadAtLeast(below, p[n:], whole-n)
		return n + k, err
	}
	return h.readLong(below, p, n, size)
}

// readLong is read for a record for which p, of which n bytes have come, has no room.
func (h *hello) readLong(below io.Reader, p []byte, n, size int) (int, error) {
	h.room = helloRooms.Get().(*[longestHello]byte)
	payload := h.room[:size]
	came := copy(payload, p[recordHeader:n])
	if _, err := io.ReadFull(below, payload[came:]); err != nil {
		return n, err // the handshake ends, and nobody else gets what it has
	}
	h.rest, h.part = payload, (size+helloParts-1)/helloParts
	copy(h.header[:], p)
	return h.next(p)
}

// next hands over a part.
func (h *hello) next(p []byte) (int, error) {
	k := min(h.part, len(h.rest), len(p)-recordHeader)
	if k <= 0 {
		return 0, io.ErrShortBuffer
	}
	h.header[3], h.header[4] = byte(k>>8), byte(k)
	copy(p, h.header[:])
	copy(p[recordHeader:], h.rest[:k])
	if h.rest = h.rest[k:]; h.isWhole() {
		helloRooms.Put(h.room)
		h.room = nil
	}
	return recordHeader + k, nil
}
