package ws_test

import (
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/ws"
)

// The server cases of the Autobahn|Testsuite by number, written anew from RFC 6455: what a client sends, what an
// echoing server answers, byte by byte, and which close code it ends with. The cases of performance (9) are those of
// small sizes; those of compression (12, 13) are in a file of their own.
type autobahnCase struct {
	sent string
	want string // the frames that come back before the close frame
	code int    // of the server's close frame
}

const pong = 0x8a

func closing(payload string) string { return frame(0x88, payload) }

// answer is a server's frame.
func answer(first byte, payload string) string {
	switch n := len(payload); {
	case n < 126:
		return string([]byte{first, byte(n)}) + payload
	case n <= 0xffff:
		return string([]byte{first, 126, byte(n >> 8), byte(n)}) + payload
	default:
		return string([]byte{first, 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + payload
	}
}

// long is a masked frame of any size, whose mask changes nothing.
func long(first byte, payload string) string {
	f := answer(first, payload)
	at := len(f) - len(payload)
	return f[:1] + string([]byte{f[1] | 0x80}) + f[2:at] + "\x00\x00\x00\x00" + payload
}

// autobahnCases are those of a server whose messages are of the kind of data.
func autobahnCases(data byte) map[string]autobahnCase {
	bye := closing("\x03\xe8")
	cases := make(map[string]autobahnCase)
	orderly := func(number, sent, want string) { cases[number] = autobahnCase{sent + bye, want, 1000} }
	wrong := func(number, sent, want string) { cases[number] = autobahnCase{sent, want, 1002} }

	// 1: text and binary of all kinds of length.
	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
		msg := strings.Repeat("*", n)
		orderly(fmt.Sprintf("1.1.%d", i+1), long(fin|text, msg), answer(fin|data, msg))
		orderly(fmt.Sprintf("1.2.%d", i+1), long(fin|binaryFrame, msg), answer(fin|data, msg))
	}

	// 2: pings and pongs.
	orderly("2.1", frame(ping, ""), answer(pong, ""))
	orderly("2.2", frame(ping, "Hello, world!"), answer(pong, "Hello, world!"))
	orderly("2.3", frame(ping, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), answer(pong, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"))
	orderly("2.4", frame(ping, strings.Repeat("\xfe", 125)), answer(pong, strings.Repeat("\xfe", 125)))
	wrong("2.5", frame(ping, strings.Repeat("\xfe", 126)), "")
	orderly("2.6", frame(ping, strings.Repeat("\xfe", 125)), answer(pong, strings.Repeat("\xfe", 125))) // in octets: see the test
	orderly("2.7", frame(pong, ""), "")
	orderly("2.8", frame(pong, "unsolicited"), "")
	orderly("2.9", frame(pong, "unsolicited")+frame(ping, "ping"), answer(pong, "ping"))
	ten, tenBack := "", ""
	for i := range 10 {
		ten += frame(ping, fmt.Sprint("payload-", i))
		tenBack += answer(pong, fmt.Sprint("payload-", i))
	}
	orderly("2.10", ten, tenBack)
	orderly("2.11", ten, tenBack)

	// 3: reserved bits.
	hello := frame(fin|text, "Hello")
	helloBack := answer(fin|data, "Hello")
	wrong("3.1", frame(fin|0x10|text, "Hello"), "")
	wrong("3.2", hello+frame(fin|0x20|text, "Hello")+frame(ping, ""), helloBack)
	wrong("3.3", hello+frame(fin|0x30|text, "Hello")+frame(ping, ""), helloBack)
	wrong("3.4", hello+frame(fin|0x40|text, "Hello")+frame(ping, ""), helloBack)
	wrong("3.5", frame(fin|0x50|binaryFrame, "\x00\xff"), "")
	wrong("3.6", frame(0x60|ping, "Hello"), "")
	wrong("3.7", frame(0x70|0x88, ""), "")

	// 4: reserved opcodes.
	for i, op := range []byte{3, 4, 5, 6, 7} {
		wrong(fmt.Sprintf("4.1.%d", i+1), hello+frame(fin|op, "x")+frame(ping, ""), helloBack)
	}
	for i, op := range []byte{11, 12, 13, 14, 15} {
		wrong(fmt.Sprintf("4.2.%d", i+1), hello+frame(fin|op, "x")+frame(ping, ""), helloBack)
	}

	// 5: fragments.
	wrong("5.1", frame(0x09, "fragment1")+frame(fin, "fragment2"), "")
	wrong("5.2", frame(0x0a, "fragment1")+frame(fin, "fragment2"), "")
	two := answer(fin|data, "fragment1fragment2")
	for _, number := range []string{"5.3", "5.4", "5.5"} {
		orderly(number, frame(text, "fragment1")+frame(fin, "fragment2"), two)
	}
	for _, number := range []string{"5.6", "5.7", "5.8"} {
		orderly(number, frame(text, "fragment1")+frame(ping, "ping")+frame(fin, "fragment2"), answer(pong, "ping")+two)
	}
	for i, sent := range []string{
		frame(fin, "no start") + hello, frame(fin, "no start") + hello, frame(fin, "no start") + hello,
		frame(0, "no start") + hello, frame(0, "no start") + hello, frame(0, "no start") + hello,
	} {
		wrong(fmt.Sprintf("5.%d", 9+i), sent, "")
	}
	wrong("5.15", frame(text, "fragment1")+frame(fin, "fragment2")+frame(0, "fragment3")+frame(fin|text, "fragment4"), two)
	wrong("5.16", frame(0, "fragment1")+frame(text, "fragment2")+frame(fin, "fragment3"), "")
	wrong("5.17", frame(fin, "fragment1")+frame(text, "fragment2")+frame(fin, "fragment3"), "")
	wrong("5.18", frame(text, "fragment1")+frame(fin|text, "fragment2"), "")
	wrong("5.18 of bytes", frame(binaryFrame, "fragment1")+frame(fin|binaryFrame, "fragment2"), "")
	five := frame(text, "1") + frame(0, "2") + frame(ping, "a") + frame(0, "3") + frame(0, "4") + frame(ping, "b") + frame(fin, "5")
	orderly("5.19", five, answer(pong, "a")+answer(pong, "b")+answer(fin|data, "12345"))
	orderly("5.20", five, answer(pong, "a")+answer(pong, "b")+answer(fin|data, "12345"))

	// 6: UTF-8.
	good := "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!"
	orderly("6.1.1", frame(fin|text, ""), answer(fin|data, ""))
	orderly("6.1.2", frame(text, "")+frame(0, "")+frame(fin, ""), answer(fin|data, ""))
	orderly("6.1.3", frame(text, "")+frame(0, "middle")+frame(fin, ""), answer(fin|data, "middle"))
	orderly("6.2.1", frame(fin|text, good), answer(fin|data, good))
	orderly("6.2.2", frame(text, good[:12])+frame(fin, good[12:]), answer(fin|data, good))
	bytewise := frame(text, "")
	for _, b := range []byte(good) {
		bytewise += frame(0, string([]byte{b}))
	}
	orderly("6.2.3", bytewise+frame(fin, ""), answer(fin|data, good))
	orderly("6.2.4", frame(fin|text, "\u03ba\u1f79\u03c3\u03bc\u03b5"), answer(fin|data, "\u03ba\u1f79\u03c3\u03bc\u03b5"))
	for i, bad := range []string{
		"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", // 6.3: a surrogate within
		"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", // 6.6: five and six bytes
		"\xf7\xbf\xbf\xbf", "\xf4\x90\x80\x80", // beyond the last code point
		"\x80", "\xbf", "\x80\xbf\x80", // 6.12: continuations alone
		"\xc0", "\xe0\x80", "\xf0\x80\x80", // 6.13, 6.14: cut
		"\xfe", "\xff", // 6.16: impossible
		"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", // 6.17 to 6.19: overlong
		"\xc1\xbf", "\xe0\x9f\xbf", "\xc0\x80",
		"\xed\xa0\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", // 6.20, 6.21: surrogates
	} {
		cases[fmt.Sprintf("6.3 to 6.21, %d", i+1)] = autobahnCase{frame(fin|text, bad), "", 1007}
	}
	for i, fine := range []string{"\x00", "\u0080", "\u0800", "\U00010000", "\u007f", "\u07ff", "\uffff", "\U0010ffff", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\U0001fffe"} {
		orderly(fmt.Sprintf("6.7 to 6.23, %d", i+1), frame(fin|text, fine), answer(fin|data, fine))
	}

	// 7: closing.
	orderly("7.1.1", hello, helloBack)
	orderly("7.1.2", "", "")
	cases["7.1.3"] = autobahnCase{bye + bye, "", 1000}
	cases["7.1.4"] = autobahnCase{bye + hello, "", 1000}
	cases["7.1.5"] = autobahnCase{frame(text, "fragment1") + bye + frame(fin, "fragment2"), "", 1000}
	cases["7.3.1"] = autobahnCase{closing(""), "", 1005}
	wrong("7.3.2", closing("a"), "")
	orderly("7.3.3", "", "")
	cases["7.3.4"] = autobahnCase{closing("\x03\xe8Hello World!"), "", 1000}
	cases["7.3.5"] = autobahnCase{closing("\x03\xe8" + strings.Repeat("*", 123)), "", 1000}
	wrong("7.3.6", closing("\x03\xe8"+strings.Repeat("*", 124)), "")
	cases["7.5.1"] = autobahnCase{closing("\x03\xe8\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80"), "", 1007}
	for i, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		cases[fmt.Sprintf("7.7.%d", i+1)] = autobahnCase{closing(string([]byte{byte(code >> 8), byte(code)})), "", code}
	}
	for i, code := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535} {
		wrong(fmt.Sprintf("7.9.%d", i+1), closing(string([]byte{byte(code >> 8), byte(code)})), "")
	}

	// 9: sizes.
	for i, n := range []int{64 << 10, 256 << 10, 1 << 20} {
		msg := strings.Repeat("BAsd7&jh23", n/10)
		orderly(fmt.Sprintf("9.1.%d", i+1), long(fin|text, msg), answer(fin|data, msg))
	}
	fragmented, msg := "", strings.Repeat("x", 64<<10)
	for at := 0; at < len(msg); at += 1 << 10 {
		first := byte(0)
		if at == 0 {
			first = text
		}
		fragmented += long(first, msg[at:at+1<<10])
	}
	orderly("9.3", fragmented+frame(fin, ""), answer(fin|data, msg))
	return cases
}

func TestTheCasesOfAutobahn(t *testing.T) {
	eachProtocolMode(t, func(t *testing.T) {
		t.Run("bytes", func(t *testing.T) { autobahn(t, start(t, setup{queue: 64}), autobahnCases(binaryFrame)) })
		cases := autobahnCases(text)
		maps.DeleteFunc(cases, func(number string, _ autobahnCase) bool { return number[0] != '5' && number[0] != '6' }) // others send bytes
		t.Run("text", func(t *testing.T) {
			autobahn(t, start(t, setup{queue: 64, options: &ws.HandlerOptions{Text: true}}), cases)
		})
	})
}

func autobahn(t *testing.T, r *rig, cases map[string]autobahnCase) {
	for number, test := range cases {
		for _, chop := range []int{0, 1} { // at once, and octet by octet
			if chop > 0 && len(test.sent) > 300 {
				continue
			}
			t.Run(fmt.Sprintf("%s, %d", number, chop), func(t *testing.T) {
				conn, in := r.raw(t)
				go func() {
					for at := 0; chop > 0 && at < len(test.sent); at++ {
						if _, err := io.WriteString(conn, test.sent[at:at+1]); err != nil {
							return
						}
					}
					if chop == 0 {
						io.WriteString(conn, test.sent)
					}
				}()
				conn.SetReadDeadline(time.Now().Add(soon))
				all, err := io.ReadAll(in)
				if err != nil {
					t.Fatal(err)
				}
				got := string(all)
				rest, ok := strings.CutPrefix(got, test.want)
				if test.code == 1002 && !ok { // what the peer does wrong discards what is queued, which the suite accepts
					rest, ok = got, true
				}
				if !ok || len(rest) < 2 || rest[0] != '\x88' || int(rest[1]) != len(rest)-2 || code(rest[2:]) != test.code {
					t.Errorf("got %s, want %s and a close frame with %d", abridge(all), abridge([]byte(test.want)), test.code)
				}
			})
		}
	}
}
