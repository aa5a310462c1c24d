package mux

import "encoding/json"

// members are the values of an envelope's members, as they stand in the message; nil for those that are absent or null.
type members struct{ kind, id, reply, data, failure []byte }

// openJSON finds an envelope's members. It looks whether there is a valid JSON object, so that the rest need not.
func openJSON(msg []byte) (m members, ok bool) {
	if !json.Valid(msg) {
		return m, false
	}
	s := jsonScanner{msg, 0}
	if s.space(); s.src[s.at] != '{' {
		return m, false
	}
	s.at++
	for s.next() {
		name := s.value()
		s.next() // the colon
		if into := m.named(name); into != nil {
			*into = notNull(s.value())
		} else {
			s.value()
		}
	}
	return m, true
}

func (m *members) named(name []byte) *[]byte {
	name, ok := jsonString(name)
	if !ok {
		return nil
	}
	switch string(name) {
	case "type":
		return &m.kind
	case "id":
		return &m.id
	case "reply":
		return &m.reply
	case "data":
		return &m.data
	case "error":
		return &m.failure
	}
	return nil
}

func notNull(value []byte) []byte {
	if string(value) == "null" {
		return nil
	}
	return value
}

// A jsonScanner goes through JSON that is known to be valid.
type jsonScanner struct {
	src []byte
	at  int
}

func (s *jsonScanner) space() {
	for s.src[s.at] <= ' ' {
		s.at++
	}
}

// next goes to the next value of an object; false at the object's end.
func (s *jsonScanner) next() bool {
	s.space()
	if c := s.src[s.at]; c == ',' || c == ':' {
		s.at++
		s.space()
	}
	return s.src[s.at] != '}'
}

// value returns the value that begins here, and goes behind it.
func (s *jsonScanner) value() []byte {
	start := s.at
	switch s.src[s.at] {
	case '"':
		s.skipString()
	case '{', '[':
		s.skipNested()
	default:
		for c := s.src[s.at]; c > ' ' && c != ',' && c != '}'; c = s.src[s.at] {
			s.at++
		}
	}
	return s.src[start:s.at]
}

func (s *jsonScanner) skipString() {
	for s.at++; s.src[s.at] != '"'; s.at++ {
		if s.src[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
}

func (s *jsonScanner) skipNested() {
	for depth := 0; ; {
		switch s.src[s.at] {
		case '"':
			s.skipString()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if s.at++; depth == 0 {
			return
		}
	}
}
