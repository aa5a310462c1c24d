package page

import (
	"errors"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

const (
	firstDemoUser = 1001 // leaves the small numbers to whoever has tokens of their own
	maxNames      = 1000 // a name is at most maxName runes, so this is well under 1 MiB
	maxName       = 40   // runes
)

var (
	errNameMissing = errors.New("a name, please")
	errNameLong    = errors.New("that name is too long: 40 letters at most")
	errNameOdd     = errors.New("that name has characters that cannot be shown")
	errNamesFull   = errors.New("too many people came already")
)

// A person is a user id with the name that somebody gave for it.
type person struct {
	ID   int64  `json:"id,string"` // a JavaScript number holds 53 bits
	Name string `json:"name"`
}

// A directory gives user ids to names, in the order in which they come, for as long as the program runs.
// Its methods may be called by many goroutines.
type directory struct {
	// mu guards the following.
	mu     sync.Mutex
	byName map[string]int64
	people []person
}

func newDirectory() *directory { return &directory{byName: make(map[string]int64)} }

// enter returns the person of that name, a new one if there is none. Its errors are meant for the visitor.
func (d *directory) enter(name string) (person, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return person{}, errNameMissing
	case utf8.RuneCountInString(name) > maxName:
		return person{}, errNameLong
	case strings.ContainsFunc(name, odd):
		return person{}, errNameOdd
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	if id, ok := d.byName[name]; ok {
		return person{id, name}, nil
	}
	if len(d.people) == maxNames {
		return person{}, errNamesFull
	}
	p := person{firstDemoUser + int64(len(d.people)), name}
	d.byName[name] = p.ID
	d.people = append(d.people, p)
	return p, nil
}

// odd reports whether a character has no place in a name. The joiners, which are invisible by themselves, have: Persian
// and several languages of India write with them, and many emoji are made of others with one between them.
func odd(r rune) bool {
	const zeroWidthNonJoiner, zeroWidthJoiner = '\u200c', '\u200d'
	return !unicode.IsPrint(r) && r != zeroWidthNonJoiner && r != zeroWidthJoiner
}

// list returns everybody, in the order in which they came; never nil, which JSON would call null.
func (d *directory) list() []person {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]person{}, d.people...)
}
