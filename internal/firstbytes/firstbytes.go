// Package firstbytes names the protocol of a peer that speaks another than was expected, by the first bytes that it
// sent. It is for the texts of errors: it may be wrong about a peer whose bytes happen to look like another's, so
// nothing is decided by it.
package firstbytes

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
)

// Shown is how many bytes Hex shows at the most: those of a header, and not a message's.
const Shown = 8

// A Length is how long a frame says that it is, in bytes. Users of libnet cannot name it: so no method of a codec of
// theirs is taken for package codec's FrameLength, which timers call, where nobody would recover from its panic.
type Length uint64

// Hex returns the first bytes of b, such as "16 03 01 …".
func Hex(b []byte) string {
	var text strings.Builder
	for i, c := range b[:min(len(b), Shown)] {
		if i > 0 {
			text.WriteByte(' ')
		}
		text.WriteString(hex.EncodeToString([]byte{c}))
	}
	if len(b) > Shown {
		text.WriteString(" …")
	}
	return text.String()
}

// Describe says what b, the beginning of what a peer has sent, is the beginning of; it returns "" for what it does not
// know. It holds nothing of b but the numbers of a TLS alert.
func Describe(b []byte) string {
	if text := DescribeForeign(b); text != "" || len(b) < 4 {
		return text
	}
	switch {
	case (b[0] == '{' || b[0] == '[') && IsText(b):
		return "text that looks like JSON: the peer's framing is another"
	case IsText(b):
		return "text: the peer's framing is another"
	}
	return ""
}

// DescribeForeign is Describe where text may be what was expected.
func DescribeForeign(b []byte) string {
	for _, known := range protocols {
		if text := known(b); text != "" {
			return text
		}
	}
	return ""
}

var protocols = []func([]byte) string{tlsRecord, proxyHeader, httpMessage, ssh}

// The types of TLS records and handshake messages that come first (RFC 8446, 4 and 5.1).
const (
	recordAlert     = 21
	recordHandshake = 22
	clientHello     = 1
	serverHello     = 2
)

// tlsRecord knows the header of a record: its type, a version from 3.0 to 3.4, and a length.
func tlsRecord(b []byte) string {
	if len(b) < 3 || b[1] != 3 || b[2] > 4 {
		return ""
	}
	switch b[0] {
	case recordAlert:
		return tlsAlert(b)
	case recordHandshake:
		switch {
		case len(b) > 5 && b[5] == clientHello:
			return "a TLS ClientHello: the peer speaks TLS, and this side does not"
		case len(b) > 5 && b[5] == serverHello:
			return "a TLS ServerHello: the peer speaks TLS, and this side does not"
		}
		return "a TLS handshake: the peer speaks TLS, and this side does not"
	}
	return ""
}

func tlsAlert(b []byte) string {
	code := ""
	if len(b) >= 7 {
		code = fmt.Sprintf(" (level %d, description %d)", b[5], b[6])
	}
	return "a TLS alert" + code + ": the peer speaks TLS, and this side does not"
}

// Signatures of the PROXY protocol, versions 1 and 2 (HAProxy's specification, 2.1 and 2.2).
var (
	proxyV1 = []byte("PROXY ")
	proxyV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// enough is how many bytes of a longer signature are taken for it.
const enough = 5

func proxyHeader(b []byte) string {
	for version, signature := range [][]byte{proxyV1, proxyV2} {
		if begins(b, signature) {
			return fmt.Sprintf("a header of the PROXY protocol, version %d: "+
				"a balancer in front of this server sends it, for which Server.ProxyProtocol has to be set", version+1)
		}
	}
	return ""
}

// begins reports whether b begins with signature, or is the beginning of it and not too short to tell.
func begins(b, signature []byte) bool {
	if len(b) < len(signature) {
		return len(b) >= enough && bytes.HasPrefix(signature, b)
	}
	return bytes.HasPrefix(b, signature)
}

var methods = []string{"GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE ", "PRI * HTTP/2"}

func httpMessage(b []byte) string {
	for _, method := range methods {
		if len(b) >= 4 && begins(b, []byte(method)) || len(b) >= len(method) && string(b[:len(method)]) == method {
			return "an HTTP request: the peer is an HTTP or a WebSocket client"
		}
	}
	if begins(b, []byte("HTTP/")) {
		return "an HTTP response: the peer is an HTTP or a WebSocket server"
	}
	return ""
}

func ssh(b []byte) string {
	if bytes.HasPrefix(b, []byte("SSH-")) {
		return "the banner of SSH"
	}
	return ""
}

// IsText reports whether all of b, as far as it is shown, is printable ASCII or white space.
func IsText(b []byte) bool {
	for _, c := range b[:min(len(b), Shown)] {
		if (c < ' ' || c > '~') && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}
