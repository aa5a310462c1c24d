package libnettest

import (
	"testing"
	"unicode/utf8"
)

// contents are what a codec could take for something else: the ends of lines and of strings, a sign, spaces that
// somebody trims, a number's beginning, and all bytes there are.
func (s *source) contents() (list []string) {
	list = []string{
		"\n", "\r\n", "a\n", "a\r", "\na", "a\nb", "\x00", "a\x00b", " ", " a ", "\t", "0", "\x7f", "é", "\u2028", "%s", "\\", "\"", "<&>", "null",
	}
	if s.isString && s.isJSON { // which has no other text than UTF-8
		return list
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return append(list, string(all), "\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x80", "a\xffb")
}

// checkContents wants any bytes to arrive, or to be refused.
func checkContents(tb testing.TB, k *kit) {
	if k.plain == nil {
		tb.Skipf("no message is a []byte or string")
	}
	for _, kind := range k.kinds {
		for _, text := range append(kind.contents(), k.framesAsContents(tb, kind)...) {
			k.encodesAlike(tb, kind.of([]byte(text)))
		}
	}
}

// framesAsContents are a frame of the codec's own, its beginnings and its ends: so what it puts before or behind a
// message, such as a delimiter, is found in one, whole and in part.
func (k *kit) framesAsContents(tb testing.TB, kind *source) (list []string) {
	tb.Helper()
	const enough = 64 // of bytes at each end
	frame, refused := k.sendOrRefuse(tb, kind.make(4, 0))
	if refused != nil {
		return nil
	}
	for at := range len(frame) + 1 {
		if at > enough && len(frame)-at > enough {
			continue
		}
		for _, part := range [][]byte{frame[:at], frame[at:]} {
			if !kind.isString || !kind.isJSON || utf8.Valid(part) {
				list = append(list, string(part))
			}
		}
	}
	return list
}
