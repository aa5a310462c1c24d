package main

import (
	"fmt"
	"strings"
	"unicode"
)

// On the wire a message is {"type":"say","data":{"text":"hello"}}, with an "id" if it asks for a reply. Over TCP 4
// bytes of length come before it; a browser's session, which package resume keeps up, sends and gets just this.

// What clients send. The server replies with nothing, or with an error. A user is in one room at a time. There is also
// a "who", without data, to which the reply is Members.
type (
	Login struct { // "login"
		Name     string `json:"name"`
		Password string `json:"password"`
	}
	Join struct { // "join"
		Room string `json:"room"`
	}
	Say struct { // "say", in the room that one has joined
		Text string `json:"text"`
	}
	Whisper struct { // "whisper"
		To   string `json:"to"`
		Text string `json:"text"`
	}
)

// What the server sends. There is also a "ping", without data, to be answered with a "pong".
type (
	Members struct { // "members": who is in the room, to one who has joined it
		Room  string   `json:"room"`
		Names []string `json:"names"`
	}
	Joined struct { // "joined", and so is "left": to those who are in the room
		Name string `json:"name"`
	}
	Left struct { // "left"
		Name string `json:"name"`
	}
	Said struct { // "said"
		From string `json:"from"`
		Text string `json:"text"`
	}
	Whispered struct { // "whispered"
		From string `json:"from"`
		Text string `json:"text"`
	}
	Farewell struct { // "farewell": the connection ends, and there is no use in coming back
		Reason string `json:"reason"`
	}
)

func (m *Members) String() string   { return "in " + m.Room + ": " + strings.Join(m.Names, ", ") }
func (j *Joined) String() string    { return j.Name + " has come" }
func (l *Left) String() string      { return l.Name + " has gone" }
func (s *Said) String() string      { return fmt.Sprintf("%s: %s", s.From, s.Text) }
func (w *Whispered) String() string { return fmt.Sprintf("%s whispers: %s", w.From, w.Text) }

// isName is what users and rooms may be called.
func isName(s string) bool {
	odd := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_' }
	return s != "" && len(s) <= 32 && !strings.ContainsFunc(s, odd)
}

// isText is what can be said. A terminal that shows it has nothing to obey.
func isText(s string) bool {
	return s != "" && len(s) <= 2000 && !strings.ContainsFunc(s, unicode.IsControl)
}
