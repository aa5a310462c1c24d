package monitor

import (
	"strings"
	"unicode/utf8"
)

// maxAddress is the longest address in bytes that is shown; that of a Unix socket has 108.
const maxAddress = 256

// remotesOf are the addresses of entries' peers, as far as Options.RemoteAddrs asks for them and their
// connections say them in time. They are the program's, so one that panics is left out.
func (m *monitor) remotesOf(entries []*entry) []string {
	texts := make([]string, len(entries))
	if !m.RemoteAddrs || len(entries) == 0 {
		return texts
	}
	said := make(chan remote, len(entries)) // with room for all, whether or not anybody still listens
	_, _ = call(&m.outside, "addresses", addressPatience, func() struct{} {
		sayRemotes(entries, 0, said)
		return struct{}{}
	})
	for {
		select {
		case r := <-said:
			texts[r.at] = r.text
		default:
			return texts
		}
	}
}

// remote is the address of one of many entries.
type remote struct {
	at   int
	text string
}

// sayRemotes says those of entries[from:], also when one of them panics or ends this goroutine.
func sayRemotes(entries []*entry, from int, said chan<- remote) {
	for i := from; i < len(entries); i++ {
		sayRemote(entries, i, said)
	}
}

func sayRemote(entries []*entry, i int, said chan<- remote) {
	returned := false
	defer func() {
		if recover() == nil && !returned { // the goroutine ends; what is deferred still runs
			sayRemotes(entries, i+1, said)
		}
	}()
	text := entries[i].remoteText()
	returned = true
	said <- remote{i, text}
}

func (e *entry) remoteText() string {
	addr := e.remote
	if e.session != nil {
		addr = e.session.RemoteAddr()
	}
	if addr == nil {
		return ""
	}
	return shown(addr.String())
}

// shown makes text fit to be shown, whoever made it.
func shown(text string) string {
	if len(text) > maxAddress {
		end := maxAddress
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + "…"
	}
	return strings.ToValidUTF8(text, "�")
}
