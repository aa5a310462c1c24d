package monitor

import (
	"crypto/tls"
	"net"
	"strconv"
	"strings"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/usercode"
)

// maxShown is the longest text in bytes that is shown of an address, an error or a name; the address of a Unix socket
// has 108, the name of a session 128.
const maxShown = 256

// peer is what is asked of a session's connection, and of the error with which it ended; the methods of both may be the
// program's.
type peer struct {
	remote string
	ended  string
	info   libnet.ConnInfo
}

// peersOf asks the connections of entries, those that are shown and no others, as far as they answer in time.
func (m *monitor) peersOf(entries []*entry) []peer {
	return askEach(&m.outside, "connections", len(entries), func(i int) (p peer) {
		e := entries[i]
		if m.RemoteAddrs {
			p.remote = remoteText(e.addr())
		}
		if m.ErrorTexts && e.err != nil {
			p.ended = shown(e.err.Error())
		}
		if e.session != nil {
			p.info = e.session.ConnInfo()
		}
		return p
	})
}

func (e *entry) addr() net.Addr {
	if e.session != nil {
		return e.session.RemoteAddr()
	}
	return e.remote
}

func remoteText(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	return shown(addr.String())
}

// shown makes text fit to be shown, whoever made it: one line, with characters that cannot be seen, or change how
// others are, as the log writes them.
func shown(text string) string {
	if cut := usercode.Cut(text, maxShown); cut != text {
		text = cut + "…"
	}
	quoted := strconv.Quote(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// nameOfVersion and nameOfSuite are crypto/tls's names; empty without TLS.
func nameOfVersion(version uint16) string {
	if version == 0 {
		return ""
	}
	return tls.VersionName(version)
}

func nameOfSuite(suite uint16) string {
	if suite == 0 {
		return ""
	}
	return tls.CipherSuiteName(suite)
}
