package ws

import (
	"strconv"
	"strings"
)

const (
	extensionsField  = "Sec-Websocket-Extensions"
	deflateExtension = "permessage-deflate"

	// windowBits is the logarithm of the window with which compress/flate compresses, and up to which it inflates.
	windowBits = 15
)

// acceptDeflate answers the first offer of permessage-deflate that can be kept to, without a context that outlives a
// message on either side; "" if there is none. An offer that RFC 7692, 7.1 does not know is declined. An error says
// that the field is malformed.
func acceptDeflate(fields []string) (answer string, err error) {
	offers, ok := parseExtensions(fields)
	if !ok {
		return "", badRequest("a malformed Sec-WebSocket-Extensions")
	}
	for _, offer := range offers {
		p, ok := offer.deflateParams()
		if !ok || p.serverBits != 0 && p.serverBits != windowBits {
			continue
		}
		answer = deflateExtension + "; server_no_context_takeover; client_no_context_takeover"
		if p.serverBits != 0 {
			answer += "; server_max_window_bits=" + strconv.Itoa(p.serverBits)
		}
		return answer, nil
	}
	return "", nil
}

// agreesToDeflate reports what a server's answer to our offer means. We have offered no smaller window of ours.
func agreesToDeflate(fields []string) (agreed bool, err error) {
	extensions, ok := parseExtensions(fields)
	if ok && len(extensions) == 0 {
		return false, nil
	}
	if ok && len(extensions) == 1 {
		p, known := extensions[0].deflateParams()
		if known && p.serverNoTakeover && p.clientBits == 0 {
			return true, nil
		}
	}
	return false, malformed("an answer with extensions that were not offered").(*fault).error
}

// deflateParams are those of RFC 7692, 7.1. Of the bits 0 says that the parameter is absent.
type deflateParams struct {
	serverNoTakeover, clientNoTakeover bool
	serverBits, clientBits             int
}

// deflateParams is not ok for another extension, and for parameters that must be declined.
func (e extension) deflateParams() (p deflateParams, ok bool) {
	if e.name != deflateExtension {
		return p, false
	}
	for i, param := range e.params {
		name, value, valued := strings.Cut(param, "=")
		for _, before := range e.params[:i] {
			if known, _, _ := strings.Cut(before, "="); known == name {
				return p, false
			}
		}
		ok := !valued
		switch name {
		case "server_no_context_takeover":
			p.serverNoTakeover = true
		case "client_no_context_takeover":
			p.clientNoTakeover = true
		case "server_max_window_bits":
			p.serverBits, ok = parseWindowBits(value)
		case "client_max_window_bits":
			if p.clientBits = windowBits; valued {
				p.clientBits, ok = parseWindowBits(value)
			}
		default:
			ok = false
		}
		if !ok {
			return p, false
		}
	}
	return p, true
}

func parseWindowBits(s string) (bits int, ok bool) {
	bits, err := strconv.Atoi(s)
	return bits, err == nil && bits >= 8 && bits <= 15 && strconv.Itoa(bits) == s
}

// An extension is one that a header field offers, or agrees to. A parameter is its name, or name=value.
type extension struct {
	name   string
	params []string
}

// parseExtensions reads a field of RFC 6455, 9.1, which may come in several lines. It is not ok where the field is
// malformed.
func parseExtensions(fields []string) (list []extension, ok bool) {
	s := scanner{strings.Join(fields, ",")}
	for {
		for s.skip(',') {
		}
		if s.rest == "" {
			return list, true
		}
		e := extension{name: s.token()}
		for s.skip(';') {
			param := s.param()
			if param == "" {
				return nil, false
			}
			e.params = append(e.params, param)
		}
		if e.name == "" || s.rest != "" && s.rest[0] != ',' {
			return nil, false
		}
		list = append(list, e)
	}
}

// A scanner reads a header field. White space between its parts means nothing.
type scanner struct{ rest string }

func (s *scanner) skipSpace() { s.rest = strings.TrimLeft(s.rest, " \t") }

func (s *scanner) skip(c byte) bool {
	s.skipSpace()
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	s.skipSpace()
	return true
}

// token returns "" where there is none.
func (s *scanner) token() string {
	n := 0
	for n < len(s.rest) && isTokenByte(s.rest[n]) {
		n++
	}
	token := s.rest[:n]
	s.rest = s.rest[n:]
	s.skipSpace()
	return token
}

// param returns "" for one that is malformed.
func (s *scanner) param() string {
	name := s.token()
	if name == "" || !s.skip('=') {
		return name
	}
	value := ""
	if s.rest != "" && s.rest[0] == '"' {
		value = s.quoted()
	} else {
		value = s.token()
	}
	if value == "" {
		return ""
	}
	return name + "=" + value
}

// quoted returns what is quoted, which must be a token; else "".
func (s *scanner) quoted() string {
	var value strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			s.skipSpace()
			return value.String()
		case c == '\\' && i+1 < len(s.rest) && isTokenByte(s.rest[i+1]): // the next one stands for itself
		case !isTokenByte(c):
			return ""
		default:
			value.WriteByte(c)
		}
	}
	return ""
}

func isTokenByte(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, rune(c))
}
