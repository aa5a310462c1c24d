package proxyproto_test

import (
	"encoding/binary"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// The slow reference: it knows a header only when it is whole, and takes it apart by other means than the package.

// aLine is a whole line of version 1, without what only counting can tell. The addresses are left to netip.
var aLine = regexp.MustCompile(`^PROXY (?:UNKNOWN(?: (?s:.*?))?|(TCP4|TCP6) ([0-9.]+|[0-9A-Fa-f:.]+) ([0-9.]+|[0-9A-Fa-f:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))\r\n`)

// reference returns the header at the beginning of src; n is 0 where there is none, or it is not whole.
func reference(src []byte) (client netip.AddrPort, n int) {
	if strings.HasPrefix(string(src), "P") {
		return referenceV1(string(src))
	}
	return referenceV2(src)
}

func referenceV1(src string) (client netip.AddrPort, n int) {
	found := aLine.FindStringSubmatch(src)
	if found == nil || len(found[0]) > 107 {
		return client, 0
	}
	if found[1] == "" {
		return client, len(found[0])
	}
	for i := 5; i >= 4; i-- { // the client's last
		port, err := strconv.ParseUint(found[i], 10, 16)
		if err != nil {
			return client, 0
		}
		addr, err := netip.ParseAddr(found[i-2])
		if err != nil || addr.Is4() != (found[1] == "TCP4") {
			return client, 0
		}
		client = netip.AddrPortFrom(addr.Unmap(), uint16(port))
	}
	return client, len(found[0])
}

func referenceV2(src []byte) (client netip.AddrPort, n int) {
	if len(src) < 16 || string(src[:12]) != "\r\n\r\n\x00\r\nQUIT\n" {
		return client, 0
	}
	length := int(src[14])<<8 + int(src[15])
	if length > 16384 || len(src) < 16+length {
		return client, 0
	}
	block := src[16 : 16+length]
	switch src[12] {
	case 0x20:
		return client, 16 + length
	case 0x21:
	default:
		return client, 0
	}
	size, known := map[byte]int{0: 0, 1: 12, 2: 36, 3: 216}[src[13]/16]
	if !known || src[13]%16 > 2 || length < size {
		return client, 0
	}
	sums, whole := values(block[size:], 3)
	switch {
	case src[13]/16 != 0 && (!whole || len(sums) > 0 && len(sums[0]) != 4):
		return client, 0
	case whole && len(sums) > 0 && len(sums[0]) == 4:
		if binary.BigEndian.Uint32(sums[0]) != bitwise(src[:16+length], len(src[:16+length])-len(block[size:])+offset(block[size:])) {
			return client, 0
		}
	}
	if src[13]%16 != 0 {
		switch src[13] / 16 {
		case 1:
			addr, _ := netip.AddrFromSlice(block[:4])
			client = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(block[8:]))
		case 2:
			addr, _ := netip.AddrFromSlice(block[:16])
			client = netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(block[32:]))
		}
	}
	return client, 16 + length
}

// values returns those of a type among TLVs, and whether these end where the bytes do.
func values(tlvs []byte, kind byte) (found [][]byte, whole bool) {
	for len(tlvs) > 0 {
		if len(tlvs) < 3 || len(tlvs) < 3+int(tlvs[1])<<8+int(tlvs[2]) {
			return found, false
		}
		end := 3 + int(tlvs[1])<<8 + int(tlvs[2])
		if tlvs[0] == kind {
			found = append(found, tlvs[3:end])
		}
		tlvs = tlvs[end:]
	}
	return found, true
}

// offset is where the value of the first checksum is among TLVs.
func offset(tlvs []byte) int {
	at := 0
	for tlvs[at] != 3 {
		at += 3 + int(tlvs[at+1])<<8 + int(tlvs[at+2])
	}
	return at + 3
}

// bitwise is the CRC32c of a header whose bytes at..at+4 count as zero, a bit at a time (RFC 4960, appendix B).
func bitwise(header []byte, at int) uint32 {
	crc := ^uint32(0)
	for i, b := range header {
		if i >= at && i < at+4 {
			b = 0
		}
		crc ^= uint32(b)
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78&-(crc&1)
		}
	}
	return ^crc
}
