package proxyproto_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/libnet-go/libnet/internal/proxyproto"
)

// v2 is a header of version 2.
func v2(command, kind byte, block ...[]byte) string {
	all := bytes.Join(block, nil)
	head := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20|command, kind)
	return string(append(binary.BigEndian.AppendUint16(head, uint16(len(all))), all...))
}

func tlv(kind byte, value string) []byte {
	return append([]byte{kind, byte(len(value) >> 8), byte(len(value))}, value...)
}

// summed puts the checksum into a header whose last four bytes are to be that.
func summed(header string) string {
	h := []byte(header)
	binary.BigEndian.PutUint32(h[len(h)-4:], bitwise(h, len(h)-4))
	return string(h)
}

var (
	ipv4 = []byte{192, 0, 2, 1, 203, 0, 113, 9, 0xdc, 0x04, 0x01, 0xbb}
	ipv6 = append(append(append([]byte{0x20, 0x01, 0x0d, 0xb8}, make([]byte, 11)...), 1), make([]byte, 20)...)
	unix = make([]byte, 216)
	none = netip.AddrPort{}
)

// accepted are headers, and the client that each tells of.
var accepted = []struct {
	name, header string
	client       netip.AddrPort
}{
	{"a line of TCP4", "PROXY TCP4 192.0.2.1 203.0.113.9 56324 443\r\n", netip.MustParseAddrPort("192.0.2.1:56324")},
	{"the longest line of TCP4", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", netip.MustParseAddrPort("255.255.255.255:65535")},
	{"the shortest line of TCP4", "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", netip.MustParseAddrPort("0.0.0.0:0")},
	{"a line of TCP6", "PROXY TCP6 2001:DB8::1 ::1 1 65535\r\n", netip.MustParseAddrPort("[2001:db8::1]:1")},
	{"the longest line of TCP6", "PROXY TCP6 " + strings.Repeat("ffff:", 7) + "ffff " + strings.Repeat("ffff:", 7) + "ffff 65535 65535\r\n",
		netip.MustParseAddrPort("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")},
	{"an IPv4 address within TCP6", "PROXY TCP6 ::ffff:192.0.2.1 ::1 9 9\r\n", netip.MustParseAddrPort("192.0.2.1:9")},
	{"an unknown line", "PROXY UNKNOWN\r\n", none},
	{"an unknown line with addresses", "PROXY UNKNOWN " + strings.Repeat("ffff:", 7) + "ffff " + strings.Repeat("ffff:", 7) + "ffff 65535 65535\r\n", none},
	{"an unknown line with anything", "PROXY UNKNOWN \r\x00\n\r\r\n", none},
	{"IPv4", v2(1, 0x11, ipv4), netip.MustParseAddrPort("192.0.2.1:56324")},
	{"IPv6", v2(1, 0x21, ipv6), netip.MustParseAddrPort("[2001:db8::1]:0")},
	{"IPv4 and datagrams", v2(1, 0x12, ipv4), netip.MustParseAddrPort("192.0.2.1:56324")},
	{"a Unix socket", v2(1, 0x31, unix), none},
	{"an unspecified transport", v2(1, 0x10, ipv4), none},
	{"an unspecified family", v2(1, 0x00), none},
	{"an unspecified family and bytes that are no TLVs", v2(1, 0x00, []byte{1, 255}), none},
	{"LOCAL", v2(0, 0x00), none},
	{"LOCAL with addresses", v2(0, 0x11, ipv4), none},
	{"LOCAL with a family that is none", v2(0, 0xff, []byte("anything")), none},
	{"TLVs", v2(1, 0x11, ipv4, tlv(0x02, "example.org"), tlv(0x04, ""), tlv(0xef, strings.Repeat("x", 300))), netip.MustParseAddrPort("192.0.2.1:56324")},
	{"the longest", v2(1, 0x11, ipv4, tlv(0x04, strings.Repeat("x", 16<<10-12-3))), netip.MustParseAddrPort("192.0.2.1:56324")},
	{"a checksum", summed(v2(1, 0x11, ipv4, tlv(0x04, "x"), tlv(0x03, "0000"))), netip.MustParseAddrPort("192.0.2.1:56324")},
	{"an unspecified family with a checksum", summed(v2(1, 0x00, tlv(0x03, "0000"))), none},
}

// refused are beginnings of connections that are none of a header. Of each the last byte is the one that tells.
var refused = []struct{ name, begin, says string }{
	{"HTTP", "G", "does not begin with one"},
	{"TLS", "\x16", "does not begin with one"},
	{"another request", "PO", "does not begin with one"},
	{"a line without a space", "PROXYT", "does not begin with one"},
	{"a protocol that is none", "PROXY TCP5", "line"},
	{"a protocol in lower case", "PROXY t", "line"},
	{"a protocol that is longer", "PROXY TCP40", "line"},
	{"a protocol that is shorter", "PROXY TCP ", "line"},
	{"no protocol", "PROXY  ", "line"},
	{"an unknown one that is shorter", "PROXY UNKNOW ", "line"},
	{"an unknown one that is longer", "PROXY UNKNOWNX", "line"},
	{"a line feed alone", "PROXY TCP4 192.0.2.1\n", "line"},
	{"a carriage return alone", "PROXY TCP4 192.0.2.1\r1", "line"},
	{"an unknown line that ends in a line feed", "PROXY UNKNOWN\n", "line"},
	{"an endless line", "PROXY TCP4 " + strings.Repeat("1", 96), "107"},
	{"an endless unknown line", "PROXY UNKNOWN " + strings.Repeat("1", 93), "107"},
	{"too few fields", "PROXY TCP4 192.0.2.1 203.0.113.9 56324\r\n", "line"},
	{"too many fields", "PROXY TCP4 192.0.2.1 203.0.113.9 56324 443 1\r\n", "line"},
	{"two spaces", "PROXY TCP4 192.0.2.1  203.0.113.9 56324 443\r\n", "line"},
	{"a space at the end", "PROXY TCP4 192.0.2.1 203.0.113.9 56324 443 \r\n", "line"},
	{"an address of the other family", "PROXY TCP4 2001:db8::1 203.0.113.9 56324 443\r\n", "line"},
	{"a destination of the other family", "PROXY TCP6 2001:db8::1 203.0.113.9 56324 443\r\n", "line"},
	{"a zone", "PROXY TCP6 fe80::1%eth0 ::1 56324 443\r\n", "line"},
	{"zeros in front of an address", "PROXY TCP4 192.0.02.1 203.0.113.9 56324 443\r\n", "line"},
	{"zeros in front of a port", "PROXY TCP4 192.0.2.1 203.0.113.9 056 443\r\n", "line"},
	{"a port that is too large", "PROXY TCP4 192.0.2.1 203.0.113.9 56324 65536\r\n", "line"},
	{"a negative port", "PROXY TCP4 192.0.2.1 203.0.113.9 -1 443\r\n", "line"},
	{"another version", v2(0, 0)[:12] + "\x11", "version 1"},
	{"a command that is none", v2(2, 0)[:13], "command 2"},
	{"a family that is none", v2(1, 0x41)[:14], "0x41"},
	{"a transport that is none", v2(1, 0x13)[:14], "0x13"},
	{"fewer bytes than addresses of IPv4", v2(1, 0x11, ipv4[:11])[:16], "too few"},
	{"fewer bytes than addresses of IPv6", v2(1, 0x21, ipv4)[:16], "too few"},
	{"fewer bytes than addresses of Unix sockets", v2(1, 0x31, ipv6)[:16], "too few"},
	{"a length beyond the bound", v2(1, 0x11, make([]byte, 65535))[:16], "65535"},
	{"a length beyond the bound, of LOCAL", v2(0, 0x00, make([]byte, 16<<10+1))[:16], "16385"},
	{"a TLV that is cut short", v2(1, 0x11, ipv4, []byte{4, 0}), "cut short"},
	{"a TLV that is longer than the header", v2(1, 0x11, ipv4, []byte{4, 0, 2, 0}), "longer than the header"},
	{"a wrong checksum", v2(1, 0x11, ipv4, tlv(0x03, "0000")), "checksum"},
	{"a short checksum", v2(1, 0x11, ipv4, tlv(0x03, "000")), "checksum"},
	{"a wrong checksum of an unspecified family", v2(1, 0x00, tlv(0x03, "0000")), "checksum"},
}

func TestAHeaderTellsOfItsClientAndEndsWhereItEnds(t *testing.T) {
	for _, test := range accepted {
		client, n, _, err := proxyproto.Parse([]byte(test.header + "PROXY "))
		if client != test.client || n != len(test.header) || err != nil {
			t.Errorf("%s: %v, %d bytes of %d, %v; want %v", test.name, client, n, len(test.header), err, test.client)
		}
		if client, n := reference([]byte(test.header + "PROXY ")); client != test.client || n != len(test.header) {
			t.Errorf("%s: the reference has %v, %d bytes of %d; want %v", test.name, client, n, len(test.header), test.client)
		}
	}
}

func TestAHeaderIsKnownWithItsLastByteAndNotBefore(t *testing.T) {
	for _, test := range accepted {
		for n := range len(test.header) {
			_, got, more, err := proxyproto.Parse([]byte(test.header[:n]))
			if got != 0 || err != nil || more < 1 || more > len(test.header)-n {
				t.Errorf("%s: of %d bytes of %d, %d are a header and %d are missing, %v", test.name, n, len(test.header), got, more, err)
			}
		}
	}
}

func TestWhatCanBecomeNoHeaderIsRefusedAtTheByteThatTells(t *testing.T) {
	for _, test := range refused {
		begin := []byte(test.begin)
		_, n, _, err := proxyproto.Parse(begin)
		var known proxyproto.Error
		if !errors.As(err, &known) || !strings.Contains(known.Error(), test.says) {
			t.Errorf("%s: %d bytes are a header, %v", test.name, n, err)
		}
		if _, n, more, err := proxyproto.Parse(begin[:len(begin)-1]); n != 0 || err != nil || more < 1 {
			t.Errorf("%s: before its last byte %d bytes are a header, and %d are missing, %v", test.name, n, more, err)
		}
		if _, n := reference(begin); n != 0 {
			t.Errorf("%s: to the reference %d bytes are a header", test.name, n)
		}
	}
}

func TestAReaderIsAskedForNoByteBehindTheHeader(t *testing.T) {
	for _, test := range accepted {
		for _, split := range []func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r },
			iotest.OneByteReader, iotest.HalfReader,
		} {
			rest := strings.NewReader(test.header + "behind")
			client, err := proxyproto.Read(split(rest))
			if behind, _ := io.ReadAll(rest); client != test.client || err != nil || string(behind) != "behind" {
				t.Errorf("%s: %v, %v, and behind it %q", test.name, client, err, behind)
			}
		}
	}
}

func TestALineIsReadInFewReads(t *testing.T) {
	reads := 0
	_, err := proxyproto.Read(readerFunc(strings.NewReader(accepted[0].header), func() { reads++ }))
	if err != nil || reads > 8 {
		t.Errorf("%d reads, %v", reads, err)
	}
}

func readerFunc(r io.Reader, before func()) io.Reader { return &counted{r, before} }

type counted struct {
	io.Reader
	before func()
}

func (c *counted) Read(p []byte) (int, error) {
	c.before()
	return c.Reader.Read(p)
}

type badReader struct {
	n   int
	err error
}

func (r badReader) Read(p []byte) (int, error) { return len(p) + r.n, r.err }

func TestAReaderThatFailsIsSaidToHaveFailed(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		r    io.Reader
		want error
	}{
		"an end before the first byte":       {strings.NewReader(""), io.EOF},
		"an end within":                      {strings.NewReader("PROXY TCP4"), proxyproto.Error("the connection ends within it")},
		"an error":                           {iotest.ErrReader(broken), broken},
		"an error within":                    {io.MultiReader(strings.NewReader("PROXY"), iotest.ErrReader(broken)), broken},
		"nothing, for ever":                  {iotest.ErrReader(nil), io.ErrNoProgress},
		"more bytes than it was asked for":   {badReader{n: 1}, io.ErrNoProgress},
		"a number of bytes that is negative": {badReader{n: -1000}, io.ErrNoProgress},
	} {
		if client, err := proxyproto.Read(test.r); err != test.want || client.IsValid() {
			t.Errorf("%s: %v, %v; want %v", name, client, err, test.want)
		}
	}
}

// A length is a claim, and storage is for what has come.
func TestAClaimedLengthCostsNoMemory(t *testing.T) {
	header := v2(1, 0x11, ipv4, tlv(0x04, strings.Repeat("x", 16<<10-12-3)))
	largest := 0
	_, err := proxyproto.Read(&measured{strings.NewReader(header[:1000]), &largest})
	if err != proxyproto.Error("the connection ends within it") || largest > 1024 {
		t.Errorf("a read had room for %d bytes, %v", largest, err)
	}
}

type measured struct {
	io.Reader
	largest *int
}

func (m *measured) Read(p []byte) (int, error) {
	*m.largest = max(*m.largest, len(p))
	return m.Reader.Read(p[:min(len(p), 100)])
}

func FuzzParse(f *testing.F) {
	for _, test := range accepted {
		f.Add([]byte(test.header), []byte("behind"))
	}
	for _, test := range refused {
		f.Add([]byte(test.begin), []byte(" "))
	}
	f.Fuzz(func(t *testing.T, begin, rest []byte) {
		src := append(bytes.Clone(begin), rest...)
		client, n, more, err := proxyproto.Parse(src)
		if wantClient, wantN := reference(src); err == nil && (client != wantClient || n != wantN) || err != nil && wantN > 0 {
			t.Fatalf("%q: %v, %d bytes, %v; the reference has %v, %d bytes", src, client, n, err, wantClient, wantN)
		}
		if err == nil && (n > 0) == (more > 0) {
			t.Fatalf("%q: %d bytes are a header, and %d are missing", src, n, more)
		}
		// Whatever has come before, the same is made of it.
		_, before, more, errBefore := proxyproto.Parse(begin)
		switch {
		case errBefore != nil && err == nil:
			t.Fatalf("%q is refused (%v), and %q is not", begin, errBefore, src)
		case before > 0 && before != n:
			t.Fatalf("%q has a header of %d bytes, and %q one of %d, %v", begin, before, src, n, err)
		case before == 0 && errBefore == nil && n > 0 && len(begin)+more > n:
			t.Fatalf("%q lacks %d bytes, and %q has a header of %d", begin, more, src, n)
		}
		left := bytes.NewReader(src)
		read, err := proxyproto.Read(iotest.HalfReader(left))
		if n > 0 && (read != client || err != nil || left.Len() != len(src)-n) {
			t.Fatalf("%q: read %v, %v, and left %d bytes of %d", src, read, err, left.Len(), len(src)-n)
		}
	})
}
