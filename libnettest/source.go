package libnettest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/libnet-go/libnet/internal/lock"
)

// A source makes messages like one of the user's, of any length.
type source struct {
	unit     []byte // what is repeated; not empty
	isString bool
	isJSON   bool // they arrive as JSON

	mu    lock.Mutex[sourceLock]
	text  string // unit again and again
	bytes []byte // the same, in the hands of codecs
}

func newSource(msg any, isJSON bool) *source {
	unit, _ := plainBytes(msg)
	_, isString := msg.(string)
	if len(unit) == 0 {
		unit = []byte("x")
	}
	return &source{unit: bytes.Clone(unit), isString: isString, isJSON: isJSON}
}

// as is s for messages of that kind.
func (s *source) as(isString bool) *source {
	return &source{unit: s.unit, isString: isString, isJSON: s.isJSON}
}

// make returns a message of size bytes that begins somewhere in the unit.
func (s *source) make(size, from int) sample {
	from %= len(s.unit)
	text, payload := s.atLeast(from + size)
	text = text[from : from+size]
	if s.isString {
		return s.sample(text, text)
	}
	return s.sample(payload[from:from+size:from+size], text)
}

// sample is msg, which holds text.
func (s *source) sample(msg any, text string) sample {
	m := sample{name: fmt.Sprintf("a message of %d bytes", len(text)), msg: msg, first: exactly(text)}
	if s.isJSON {
		m.first = asJSONOf(text, s.isString)
	}
	m.later = m.first
	return m
}

// own is a message in memory of its own, with some to spare behind it: storage is what the user handed over, and
// what lies behind the message. Strings cannot be changed and have none.
func (s *source) own(size int) (m sample, storage []byte) {
	m = s.make(size, 0)
	payload, isSlice := m.msg.([]byte)
	if !isSlice {
		return m, nil
	}
	storage = append(bytes.Clone(payload), bytes.Repeat([]byte{0xA5}, 16)...)
	m.msg = storage[:size]
	return m, storage
}

// of makes a message of payload.
func (s *source) of(payload []byte) sample {
	if s.isString {
		return s.sample(string(payload), string(payload))
	}
	return s.sample(payload, string(payload))
}

func (s *source) atLeast(size int) (string, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.text) < size {
		const spare = 64 << 10
		s.text = strings.Repeat(string(s.unit), (size+spare)/len(s.unit)+1)
		if !s.isString {
			s.bytes = []byte(s.text)
		}
	}
	return s.text, s.bytes
}
