package directory

import (
	"encoding/binary"
	"errors"
)

// What a message is about.
const (
	kindRegister   byte = 'R' // entries are logins of the sender
	kindAccepted   byte = 'A' // to a register; login is the one that it replaced and that still has to be told, if any
	kindRefused    byte = 'F' // to a register; login is the greater one
	kindUnregister byte = 'U' // entries are no longer logins of the sender, up to their numbers; session 0 stands for any
	kindLost       byte = 'L' // the one entry is a login of the receiver; login, which is another node's, is greater
	kindLocate     byte = 'Q' // who holds the one entry's token?
	kindLocated    byte = 'S' // login is who does, if anybody
	kindWant       byte = 'W' // register with me whom you hold
	kindDone       byte = 'D' // the answer to that, once all are; digest is the view
)

const (
	flagTell  byte = 1 << iota // register: tell whom the login replaces, who answers in the home's place
	flagWhole                  // located: nobody holds the user, for certain, among the nodes of the view
	flagBatch                  // register: a repetition, all of which is answered at once
)

// A message is what nodes send to each other. All have the same fields, most of them empty.
type message struct {
	kind    byte
	flags   byte
	from    string
	clock   uint64 // the sender's greatest number
	call    uint64 // what an answer repeats; 0: none is wanted
	digest  uint32 // of the sender's view
	about   string // lost: who waits for the answer; accepted: the home in whose place the sender answers
	login   Login
	entries []entry
}

type entry struct {
	token           string
	session, number uint64
}

// Bounds of what is decoded.
const (
	maxNode    = 64
	maxToken   = 512
	maxEntries = 1024
	maxNumber  = 1 << 62 // so that no number of another node leaves no greater one
)

var errMalformed = errors.New("directory: malformed message")

func (m *message) encode() []byte {
	b := make([]byte, 0, 96+48*len(m.entries))
	b = append(b, m.kind, m.flags)
	b = appendString(b, m.from)
	b = binary.AppendUvarint(b, m.clock)
	b = binary.AppendUvarint(b, m.call)
	b = binary.BigEndian.AppendUint32(b, m.digest)
	b = appendString(b, m.about)
	b = appendString(b, m.login.Node)
	b = binary.AppendUvarint(b, m.login.Session)
	b = binary.AppendUvarint(b, m.login.Number)
	b = binary.AppendUvarint(b, uint64(len(m.entries)))
	for _, e := range m.entries {
		b = appendString(b, e.token)
		b = binary.AppendUvarint(b, e.session)
		b = binary.AppendUvarint(b, e.number)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func decode(src []byte) (m message, err error) {
	r := reader{rest: src}
	m.kind, m.flags = r.byte(), r.byte()
	m.from = r.node()
	m.clock = r.uint(maxNumber)
	m.call = r.uint(1<<64 - 1)
	m.digest = r.fixed()
	m.about = r.node()
	m.login.Node = r.node()
	m.login.Session = r.uint(1<<64 - 1)
	m.login.Number = r.uint(maxNumber)
	for count := r.uint(maxEntries); count > 0 && !r.bad; count-- {
		m.entries = append(m.entries, entry{r.string(maxToken), r.uint(1<<64 - 1), r.uint(maxNumber)})
	}
	if r.bad || len(r.rest) > 0 || m.from == "" || !m.wellFormed() {
		return message{}, errMalformed
	}
	return m, nil
}

func (m *message) wellFormed() bool {
	switch m.kind {
	case kindRegister, kindUnregister:
		return len(m.entries) > 0
	case kindLost:
		return len(m.entries) == 1 && !m.login.none()
	case kindLocate:
		return len(m.entries) == 1
	case kindRefused:
		return len(m.entries) == 0 && !m.login.none()
	case kindAccepted, kindLocated, kindWant, kindDone:
		return len(m.entries) == 0
	}
	return false
}

// A reader takes a message apart. Once something is amiss, all that follows is empty.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) fixed() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint(most uint64) uint64 {
	n, size := binary.Uvarint(r.rest)
	if r.bad || size <= 0 || n > most {
		r.bad = true
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) string(most uint64) string { return string(r.take(r.uint(most))) }

// node is the name of a node, or empty. It becomes part of a subject, which nobody checks any more: with another
// character it would be a wildcard, or end the line and begin a command.
func (r *reader) node() string {
	name := r.string(maxNode)
	for _, c := range []byte(name) {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			r.bad = true
			return ""
		}
	}
	return name
}
