package proxyproto

import (
	"bytes"
	"net/netip"
)

// An Error says why bytes are no header.
type Error string

func (e Error) Error() string { return string(e) }

const (
	signatureV1 = "PROXY "
	signatureV2 = "\r\n\r\n\x00\r\nQUIT\n"

	// shortest is the length of the shortest header, "PROXY UNKNOWN\r\n".
	shortest = len("PROXY UNKNOWN\r\n")
)

const errNoHeader = Error("the connection does not begin with one")

// Parse looks for a header at the beginning of src. At n > 0 the first n bytes are one, and client is what it tells:
// the address of the client, which is invalid where the header says that the connection is the proxy's own, or does not
// say whose it is, or names a socket that is no IP. At n == 0 without an error the header is not complete: at least
// more bytes of it are missing. Bytes that can become no header are refused at once.
func Parse(src []byte) (client netip.AddrPort, n, more int, err error) {
	switch {
	case begins(src, signatureV1):
		return parseV1(src)
	case begins(src, signatureV2):
		return parseV2(src)
	}
	return client, 0, 0, errNoHeader
}

// begins reports whether src begins with the signature, as far as it goes.
func begins(src []byte, signature string) bool {
	n := min(len(src), len(signature))
	return string(src[:n]) == signature[:n]
}

// longestV1 is the length of the longest line, with its end (2.1).
const longestV1 = 107

const errV1 = Error("a malformed line of version 1")

// parseV1 is Parse for the line of version 1 (2.1).
func parseV1(src []byte) (client netip.AddrPort, n, more int, err error) {
	line, _, whole := bytes.Cut(src[:min(len(src), longestV1)], []byte("\r\n"))
	switch {
	case whole:
		if client, err = parseLine(line); err != nil {
			return client, 0, 0, err
		}
		return client, len(line) + len("\r\n"), 0, nil
	case len(src) >= longestV1:
		return client, 0, 0, Error("a line of version 1 that does not end within 107 bytes")
	case !mayBecomeLine(src):
		return client, 0, 0, errV1
	}
	return client, 0, missingV1(src), nil
}

// The protocols of a line.
const tcp4, tcp6, unknown = "TCP4", "TCP6", "UNKNOWN"

// fields is how many a line has, of those that tell an address: PROXY, the protocol, two addresses and two ports.
const fields = 6

// mayBecomeLine reports whether src, which has the signature as far as it goes, is the beginning of a line, as far as
// can be told without its end.
func mayBecomeLine(src []byte) bool {
	if len(src) <= len(signatureV1) {
		return true
	}
	protocol, rest, complete := bytes.Cut(src[len(signatureV1):], []byte(" "))
	switch {
	case !complete:
		return begins(protocol, tcp4) && len(protocol) <= len(tcp4) || begins(protocol, tcp6) && len(protocol) <= len(tcp6) ||
			begins(protocol, unknown+"\r") && len(protocol) <= len(unknown+"\r")
	case string(protocol) == unknown:
		return true
	case string(protocol) != tcp4 && string(protocol) != tcp6:
		return false
	}
	// A carriage return is the last byte so far, or there is none; and a line feed comes behind one only.
	at := bytes.IndexByte(rest, '\r')
	return bytes.IndexByte(rest, '\n') < 0 && (at < 0 || at == len(rest)-1)
}

// missingV1 is how many bytes a line lacks at the least. Each separator that is to come has a byte behind it.
func missingV1(src []byte) int {
	if len(src) < shortest {
		return shortest - len(src)
	}
	switch {
	case src[len(src)-1] == '\r':
		return len("\n")
	case begins(src[len(signatureV1):], unknown):
		return len("\r\n")
	}
	separators := fields - 1 - bytes.Count(src, []byte(" "))
	return len("\r\n") + 2*max(separators, 0)
}

// parseLine parses a whole line, without its end.
func parseLine(line []byte) (client netip.AddrPort, err error) {
	protocol, rest, _ := bytes.Cut(line[len(signatureV1):], []byte(" "))
	if string(protocol) == unknown {
		return client, nil // whatever follows (2.1)
	}
	var field [fields - 2][]byte
	for i := range field {
		var more bool
		if field[i], rest, more = bytes.Cut(rest, []byte(" ")); more != (i < len(field)-1) {
			return client, errV1
		}
	}
	source, ok := parseAddr(string(protocol), field[0])
	_, alsoOk := parseAddr(string(protocol), field[1])
	port, portOk := parsePort(field[2])
	_, alsoPortOk := parsePort(field[3])
	if !ok || !alsoOk || !portOk || !alsoPortOk {
		return client, errV1
	}
	return netip.AddrPortFrom(source.Unmap(), port), nil
}

// parseAddr parses an address of the protocol's family. An IPv4 address within IPv6 may end in four decimal numbers, as
// systems write it.
func parseAddr(protocol string, field []byte) (addr netip.Addr, ok bool) {
	addr, err := netip.ParseAddr(string(field))
	if err != nil || addr.Zone() != "" {
		return addr, false
	}
	return addr, protocol == tcp4 && addr.Is4() || protocol == tcp6 && addr.Is6()
}

// parsePort parses a decimal number without leading zeros.
func parsePort(field []byte) (port uint16, ok bool) {
	if len(field) == 0 || len(field) > len("65535") || len(field) > 1 && field[0] == '0' {
		return 0, false
	}
	n := 0
	for _, digit := range field {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = 10*n + int(digit-'0')
	}
	return uint16(n), n <= 65535
}
