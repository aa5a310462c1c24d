package firstbytes_test

import (
	"strings"
	"testing"

	"github.com/libnet-go/libnet/internal/firstbytes"
)

func TestWhatAPeerSpeaksIsNamed(t *testing.T) {
	for in, want := range map[string]string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": "TLS ClientHello",
		"\x16\x03\x03\x00\x5a\x02":                     "TLS ServerHello",
		"\x16\x03\x01":                                 "TLS handshake",
		"\x15\x03\x01\x00\x02\x02\x0a":                 "TLS alert (level 2, description 10)",
		"\x15\x03\x01\x00":                             "TLS alert:",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n":           "PROXY protocol, version 1",
		"PROXY":                                        "PROXY protocol, version 1",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11":               "PROXY protocol, version 2",
		"\r\n\r\n\x00\r\nQ":                            "PROXY protocol, version 2",
		"GET / HTTP/1.1\r\n":                           "HTTP request",
		"POST":                                         "text",
		"POST /":                                       "HTTP request",
		"PRI * HTTP/2.0\r\n":                           "HTTP request",
		"HTTP/1.1 400 Bad Request\r\n":                 "HTTP response",
		"SSH-2.0-OpenSSH_9.2\r\n":                      "SSH",
		`{"name":"a"}`:                                 "JSON",
		"hello\n":                                      "text",
	} {
		if got := firstbytes.Describe([]byte(in)); !strings.Contains(got, want) {
			t.Errorf("%q is %q; want %q", in, got, want)
		}
	}
}

func TestWhatIsNotKnownIsNotNamed(t *testing.T) {
	for _, in := range []string{"", "\x00\x00\x00\x05hello", "\x16", "\x16\x03", "\x16\x03\x05\x00", "\x17\x03\x03\x00\x10", "ab", "{\x00\x01\x02"} {
		if got := firstbytes.Describe([]byte(in)); got != "" {
			t.Errorf("%q is %q", in, got)
		}
	}
}

func TestHexShowsAHeaderAndNotAMessage(t *testing.T) {
	if got := firstbytes.Hex([]byte("\x16\x03\x01")); got != "16 03 01" {
		t.Errorf("%q", got)
	}
	if got := firstbytes.Hex([]byte("123456789")); got != "31 32 33 34 35 36 37 38 …" {
		t.Errorf("%q", got)
	}
}

// Nothing of what a peer sends is in the text, which goes into logs: the texts are few.
func FuzzDescribe(f *testing.F) {
	for _, seed := range []string{"", "\x16\x03\x01\x02\x00\x01", "\x15\x03\x01\x00\x02\x02\x0a", "PROXY ", "\r\n\r\n\x00\r\nQUIT\n", "GET /secret", "{\"k\"", "SSH-"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := string(b)
		text := firstbytes.Describe(b)
		if string(b) != before {
			t.Error("Describe has changed its argument")
		}
		if len(text) > 160 {
			t.Errorf("a text of %d bytes", len(text))
		}
		if long := firstbytes.Describe(append(b[:len(b):len(b)], 0)); len(b) >= 12 && (long == "") != (text == "") {
			t.Errorf("%q is %q, and with a byte more %q", b, text, long)
		}
		if hex := firstbytes.Hex(b); len(hex) > 3*firstbytes.Shown+len(" …") {
			t.Errorf("%q", hex)
		}
	})
}
