package libnettest

import "testing"

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
		for _, text := range kind.contents() {
			k.encodesAlike(tb, kind.of([]byte(text)))
		}
	}
}
