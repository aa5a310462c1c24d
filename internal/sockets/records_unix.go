//go:build unix

package sockets

import (
	"crypto/tls"
	"strings"
)

// records follows the records that crypto/tls is given, to spare it a read that finds nothing: that costs as much as
// decrypting a small message, and an allocation. It counts those that crypto/tls has whole and may not have decrypted.
type records struct {
	whole  int32
	rest   uint16 // bytes of the payload that have not come
	n      uint8  // bytes of the header that have
	header [recordHeader]byte
}

// recordHeader is the length of a TLS record's header, of which the last two bytes are that of its payload (RFC 8446,
// 5.1).
const recordHeader = 5

// manyRecords is for not knowing how many: as many reads follow as it takes to find nothing. No read brings as many
// more.
const manyRecords = 1 << 30

func (r *records) pass(p []byte) {
	for len(p) > 0 {
		var k int
		if r.n < recordHeader {
			k = copy(r.header[r.n:], p)
			r.n += uint8(k)
			r.rest = uint16(r.header[3])<<8 | uint16(r.header[4])
		} else {
			k = min(int(r.rest), len(p))
			r.rest -= uint16(k)
		}
		p = p[k:]
		if r.n == recordHeader && r.rest == 0 {
			r.n = 0
			r.whole++
		}
	}
}

// took notes a read of crypto/tls that brought something, and with it at least one record, unless it was left from the
// one before.
func (r *records) took() { r.whole-- }

func (r *records) none() bool { return r.whole <= 0 }

// aroundPayload is what a record of a connection has beyond its payload: its header, an explicit nonce, the type that
// TLS 1.3 hides, and the tag (RFC 8446, 5.2; RFC 5288, 3; RFC 7905, 2). It is 0 for others, where it depends on the
// length, or is seldom asked for.
func aroundPayload(state tls.ConnectionState) uint8 {
	const nonce, innerType, tag = 8, 1, 16
	if state.Version == tls.VersionTLS13 { // which has one answer for all suites, and is spared the table of their names
		return recordHeader + innerType + tag
	}
	switch suite := tls.CipherSuiteName(state.CipherSuite); {
	case strings.Contains(suite, "_GCM_"):
		return recordHeader + nonce + tag
	case strings.Contains(suite, "_CHACHA20_"):
		return recordHeader + tag
	}
	return 0
}
