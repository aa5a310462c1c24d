package libnettest

import (
	"bytes"
	"fmt"
	"sync"
)

// A source makes messages like one of the user's, of any length.
type source struct {
	unit     []byte // what is repeated; not empty
	isString bool
	isJSON   bool // they arrive as JSON

	mu    sync.Mutex
	bytes []byte // unit again and again; never written to
	text  string // the same
}

func newSource(msg any, isJSON bool) *source {
	unit, _ := plainBytes(msg)
	_, isString := msg.(string)
	if len(unit) == 0 {
		unit = []byte("x")
	}
	return &source{unit: bytes.Clone(unit), isString: isString, isJSON: isJSON}
}

// make returns a message of size bytes that begins somewhere in the unit.
func (s *source) make(size, from int) sample {
	from %= len(s.unit)
	var msg any
	payload, text := s.atLeast(from + size)
	payload = payload[from : from+size : from+size]
	if msg = payload; s.isString {
		msg = text[from : from+size]
	}
	t := exactly(payload)
	if s.isJSON {
		t = asJSONOf(msg)
	}
	return sample{name: fmt.Sprintf("a message of %d bytes", size), msg: msg, first: t, later: t}
}

// of makes a message of payload.
func (s *source) of(payload []byte) sample {
	m := sample{name: fmt.Sprintf("a message of %d bytes", len(payload)), msg: payload, first: exactly(payload)}
	if s.isString {
		m.msg = string(payload)
	}
	m.later = m.first
	return m
}

func (s *source) atLeast(size int) ([]byte, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bytes) < size {
		const spare = 64 << 10
		s.bytes = bytes.Repeat(s.unit, (size+spare)/len(s.unit)+1)
		if s.isString {
			s.text = string(s.bytes)
		}
	}
	return s.bytes, s.text
}

// own is a message in memory of its own, with some to spare behind it: storage is what the user handed over, and
// what lies behind the message.
func (s *source) own(size int) (m sample, storage []byte) {
	m = s.make(size, 0)
	payload, isSlice := m.msg.([]byte)
	if !isSlice {
		return m, nil
	}
	storage = append(bytes.Clone(payload), bytes.Repeat([]byte{0xA5}, 16)...)
	m.msg = storage[:size]
	m.first = exactly(bytes.Clone(payload))
	if s.isJSON {
		m.first = asJSONOf(bytes.Clone(payload))
	}
	m.later = m.first
	return m, storage
}
