package proxyproto

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
)

// What version 2 is made of (2.2).
const (
	fixedV2 = len(signatureV2) + 4 // with version and command, family and transport, and the length of what follows

	version2 = 0x2

	commandLocal = 0x0
	commandProxy = 0x1

	familyUnspecified = 0x0
	familyIPv4        = 0x1
	familyIPv6        = 0x2
	familyUnix        = 0x3

	transportUnspecified = 0x0
	transportDatagram    = 0x2 // the last one
)

// maxLength bounds what may follow the fixed part of version 2: the addresses, and what a proxy has to say beyond them.
// The field could say 65,535; a header is meant to fit into one segment of 536 bytes (2), but a client's certificate
// may be in it, and haproxy's buffers, by default, have 16 KiB.
const maxLength = 16 << 10

// addressLength is how many bytes the addresses of a family are.
var addressLength = [...]int{familyUnspecified: 0, familyIPv4: 2*4 + 2*2, familyIPv6: 2*16 + 2*2, familyUnix: 2 * 108}

// parseV2 is Parse for the binary header of version 2 (2.2).
func parseV2(src []byte) (client netip.AddrPort, n, more int, err error) {
	if err := checkFixed(src); err != nil {
		return client, 0, 0, err
	}
	switch {
	case len(src) < shortest: // the other version's
		return client, 0, shortest - len(src), nil
	case len(src) < fixedV2:
		return client, 0, fixedV2 - len(src), nil
	}
	n = fixedV2 + int(binary.BigEndian.Uint16(src[fixedV2-2:]))
	if len(src) < n {
		return client, 0, n - len(src), nil
	}
	if client, err = parseBlock(src[:n]); err != nil {
		return client, 0, 0, err
	}
	return client, n, 0, nil
}

// checkFixed looks at the fixed part, as far as it has come.
func checkFixed(src []byte) error {
	rest := src[min(len(signatureV2), len(src)):]
	if len(rest) > 0 {
		if version := rest[0] >> 4; version != version2 {
			return Error(fmt.Sprintf("version %d, which is unknown", version))
		}
		if command := rest[0] & 0xf; command > commandProxy {
			return Error(fmt.Sprintf("command %d, which is unknown", command))
		}
	}
	if len(rest) > 1 && rest[0]&0xf != commandLocal { // which has the family ignored
		if family, transport := rest[1]>>4, rest[1]&0xf; family > familyUnix || transport > transportDatagram {
			return Error(fmt.Sprintf("family and transport %#02x, which are unknown", rest[1]))
		}
	}
	if len(rest) > 3 {
		length := int(binary.BigEndian.Uint16(rest[2:]))
		if length > maxLength {
			return Error(fmt.Sprintf("it says that it has %d bytes, more than %d", length, maxLength))
		}
		if rest[0]&0xf != commandLocal && length < addressLength[rest[1]>>4] {
			return Error(fmt.Sprintf("it has %d bytes, too few for its addresses", length))
		}
	}
	return nil
}

// parseBlock parses a whole header, whose fixed part is known to be right. What it has beyond the addresses is skipped,
// but for a checksum.
func parseBlock(header []byte) (client netip.AddrPort, err error) {
	if header[len(signatureV2)]&0xf == commandLocal {
		return client, nil // the block is to be discarded
	}
	kind := header[len(signatureV2)+1]
	family, transport := kind>>4, kind&0xf
	sum, err := findChecksum(header, fixedV2+addressLength[family])
	switch {
	case err != nil && family != familyUnspecified: // else nobody knows how long the addresses are
		return client, err
	case err == nil && sum > 0 && checksum(header, sum) != binary.BigEndian.Uint32(header[sum:]):
		return client, Error("a checksum that is not its own")
	case transport == transportUnspecified:
		return client, nil
	}
	return source(header[fixedV2:], family), nil
}

// source is the client's address in the block of a header.
func source(block []byte, family byte) (client netip.AddrPort) {
	switch family {
	case familyIPv4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(block)), binary.BigEndian.Uint16(block[2*4:]))
	case familyIPv6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(block)).Unmap(), binary.BigEndian.Uint16(block[2*16:]))
	}
	return client
}

// A TLV is a type, a length and a value (2.2.1 and below).
const (
	tlvHeader   = 1 + 2
	tlvChecksum = 0x03
	sumLength   = 4
)

// findChecksum goes through the TLVs, which begin at from. It returns where the first checksum is, 0 where there is
// none.
func findChecksum(header []byte, from int) (at int, err error) {
	for from < len(header) {
		if len(header)-from < tlvHeader {
			return 0, Error("what lies behind its addresses is cut short")
		}
		length := int(binary.BigEndian.Uint16(header[from+1:]))
		value := from + tlvHeader
		switch {
		case length > len(header)-value:
			return 0, Error("what lies behind its addresses is longer than the header")
		case header[from] != tlvChecksum || at > 0:
		case length != sumLength:
			return 0, Error("a checksum of another length than 4")
		default:
			at = value
		}
		from = value + length
	}
	return at, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is that of a header in which the checksum's own bytes, from at on, are zero (2.2.3).
func checksum(header []byte, at int) uint32 {
	var zeros [sumLength]byte
	sum := crc32.Update(0, castagnoli, header[:at])
	sum = crc32.Update(sum, castagnoli, zeros[:])
	return crc32.Update(sum, castagnoli, header[at+sumLength:])
}
