package ws_test

import (
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// The examples of RFC 7692, 7.2.3, by section, and what follows from them.
var deflateVectors = map[string]struct{ sent, message string }{
	"7.2.3.1":                      {frame(fin|compressedFrame|text, "\xf2\x48\xcd\xc9\xc9\x07\x00"), "Hello"},
	"7.2.3.1, in fragments":        {frame(compressedFrame|text, "\xf2\x48\xcd") + frame(fin, "\xc9\xc9\x07\x00"), "Hello"},
	"7.2.3.3":                      {frame(fin|compressedFrame|text, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), "Hello"},
	"7.2.3.4":                      {frame(fin|compressedFrame|text, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "Hello"},
	"7.2.3.5":                      {frame(fin|compressedFrame|text, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), "Hello"},
	"7.2.3.6":                      {frame(compressedFrame|text, "\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff") + frame(fin, "\x00"), "Hello"},
	"an empty message":             {frame(fin|compressedFrame|text, "\x00"), ""},
	"an empty message, fixed":      {frame(fin|compressedFrame|text, "\x02\x00"), ""},
	"an empty last block":          {frame(fin|compressedFrame|text, "\x01\x00\x00\xff\xff\x00"), ""},
	"the last block is the tail":   {frame(fin|compressedFrame|text, "\x01"), ""},
	"behind a last block":          {frame(fin|compressedFrame|text, "\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "HelloHello"},
	"referring beyond a last one":  {frame(fin|compressedFrame|text, "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00"), "HelloHello"},
	"a message that is not":        {frame(fin|text, "Hello"), "Hello"},
	"fragments that are not":       {frame(text, "Hel") + frame(fin, "lo"), "Hello"},
	"empty fragments in between":   {frame(compressedFrame|text, "") + frame(0, "\xf2\x48\xcd") + frame(0, "") + frame(fin, "\xc9\xc9\x07\x00"), "Hello"},
	"a ping between the fragments": {frame(compressedFrame|text, "\xf2\x48\xcd") + frame(0x8a, "pong") + frame(fin, "\xc9\xc9\x07\x00"), "Hello"},
}

func TestTheExamplesOfTheRFCInflate(t *testing.T) {
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{queue: 64, options: withCompressFrom(nil, 100)})
		conn, in := r.rawDeflate(t)
		for name, vector := range deflateVectors {
			write(t, conn, vector.sent)
			if m := receiveRaw(t, in); m.isCompressed() || m.payload != vector.message {
				t.Errorf("%s: %x, %q, want %q", name, m.firsts, m.payload, vector.message)
			}
		}
	})
}

// What is wrong with a compressed message ends the session, with one close frame, and what is right before it is a
// message.
func TestACompressedMessageThatIsWrongEndsItsSession(t *testing.T) {
	const limit = 10_000
	hello := "\xf2\x48\xcd\xc9\xc9\x07\x00"
	whole := deflate(t, compressible(5000))
	for name, test := range map[string]struct {
		sent string
		code int
	}{
		"a compressed ping":                 {frame(compressedFrame|ping, hello), 1002},
		"a compressed pong":                 {frame(compressedFrame|0x8a, hello), 1002},
		"a compressed close":                {frame(compressedFrame|0x88, "\x03\xe8"), 1002},
		"the bit in a later fragment":       {frame(compressedFrame|text, hello[:3]) + frame(fin|compressedFrame, hello[3:]), 1002},
		"the bit in a plain one's fragment": {frame(text, "Hel") + frame(fin|compressedFrame, "lo"), 1002},
		"another reserved bit":              {frame(fin|compressedFrame|0x20|text, hello), 1002},
		"the last reserved bit":             {frame(fin|0x10|text, hello), 1002},
		"an unknown opcode":                 {frame(fin|compressedFrame|0x3, hello), 1002},
		"nothing at all":                    {frame(fin|compressedFrame|text, ""), 1002},
		"nothing in fragments":              {frame(compressedFrame|text, "") + frame(fin, ""), 1002},
		"garbage":                           {frame(fin|compressedFrame|text, "\xff\xff\xff\xff"), 1002},
		"random bytes":                      {frame(fin|compressedFrame|text, incompressible(1000)), 1002},
		"a message that is cut":             {long(fin|compressedFrame|text, whole[:len(whole)/2]), 1002},
		"with its tail":                     {frame(fin|compressedFrame|text, hello+"\x00\x00\xff\xff\x12"), 1002},
		"behind its last block":             {frame(fin|compressedFrame|text, "\xf3\x48\xcd\xc9\xc9\x07\x00"+"\xff\xff\xff\xff"), 1002},
		"a last block without an empty one": {frame(fin|compressedFrame|text, "\xf3\x48\xcd\xc9\xc9\x07\x00"), 1002},
		"a window of another message":       {frame(fin|compressedFrame|text, hello) + frame(fin|compressedFrame|text, "\xf2\x00\x11\x00\x00"), 1002},
		"ever another last block":           {frame(fin|compressedFrame|text, strings.Repeat("\x03\x00", 100)+"\x00"), 1002},
		"text that is not UTF-8":            {frame(fin|compressedFrame|text, deflate(t, "caf\xe9")), 1007},
		"text that is cut":                  {frame(fin|compressedFrame|text, deflate(t, "\xe2\x82")), 1007},
		"one byte too many":                 {frame(fin|compressedFrame|text, deflate(t, strings.Repeat("x", limit+1))), 1009},
		"a bomb":                            {long(fin|compressedFrame|text, deflate(t, strings.Repeat("x", 8<<20))), 1009},
		"a bomb in fragments":               {frame(compressedFrame|text, "") + long(fin, deflate(t, strings.Repeat("x", 1000*limit))), 1009},
		"a claim":                           {"\xc2\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1009},
		"compressed, it is too long":        {long(fin|compressedFrame|text, strings.Repeat("\x00\x00\x00\xff\xff", limit)), 1009},
		"its fragments are too long":        {strings.Repeat(frame(0, strings.Repeat("\x00\x00\x00\xff\xff", 200)), 20), 1009},
	} {
		if name == "its fragments are too long" {
			test.sent = frame(compressedFrame|text, "") + test.sent
		}
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T) {
				r := start(t, setup{queue: 8, options: withCompressFrom(nil, 1), handler: sink, config: func(srv *libnet.Server) { srv.MaxMessage = limit }})
				conn, in := r.rawDeflate(t)
				go io.WriteString(conn, test.sent)
				wantOneClose(t, conn, in, test.code)
				wantNoSession(t, r)
			})
		})
	}
}

func wantNoSession(t testing.TB, r *rig) {
	t.Helper()
	testkit.Eventually(t, "no session to be open", func() bool { return r.Stats().Open == 0 })
}

// A message at the limit is none too many, however it is compressed.
func TestACompressedMessageMayBeAsLongAsAnother(t *testing.T) {
	const limit = 100_000
	stored := func(message string) string {
		var b strings.Builder
		for ; message != ""; message = message[min(len(message), 5000):] {
			n := min(len(message), 5000)
			b.WriteString(string([]byte{0, byte(n), byte(n >> 8), ^byte(n), ^byte(n >> 8)}) + message[:n])
		}
		return b.String() + "\x00"
	}
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{queue: 8, options: withCompressFrom(nil, 1), config: func(srv *libnet.Server) { srv.MaxMessage = limit }})
		conn, in := r.rawDeflate(t)
		for name, test := range map[string][2]string{
			"all the same":        {strings.Repeat("x", limit), deflate(t, strings.Repeat("x", limit))},
			"compressible":        {compressible(limit), deflate(t, compressible(limit))},
			"not compressible":    {incompressible(limit), deflate(t, incompressible(limit))},
			"not compressed":      {incompressible(limit), stored(incompressible(limit))},
			"almost the limit":    {compressible(limit - 1), deflate(t, compressible(limit-1))},
			"a 64 KiB of scratch": {compressible(64 << 10), deflate(t, compressible(64<<10))},
		} {
			go io.WriteString(conn, long(fin|compressedFrame|binaryFrame, test[1]))
			if got := receiveRaw(t, in).message(t); got != test[0] {
				t.Errorf("%s: %s", name, abridge([]byte(got)))
			}
		}
	})
}

func TestABombAllocatesNoMoreThanAMessageMay(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates, too")
	}
	const limit, bombs = 256 << 10, 20
	bomb := long(fin|compressedFrame|binaryFrame, deflate(t, strings.Repeat("\x00", 64<<20)))
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{options: withCompressFrom(nil, 1), handler: sink, config: func(srv *libnet.Server) { srv.MaxMessage = limit }})
		explode := func() {
			conn, in := r.rawDeflate(t)
			go io.WriteString(conn, bomb)
			wantOneClose(t, conn, in, 1009)
			wantNoSession(t, r)
		}
		explode()
		before := allocated()
		for range bombs {
			explode()
		}
		// The storage of an inflated message doubles until it is there; that of what is read grows by a quarter at a
		// time.
		if each := (allocated() - before) / bombs; each > 2*limit+5*uint64(len(bomb))+100<<10 {
			t.Errorf("%d bytes were allocated for a bomb, whose message may have %d", each, limit)
		}
	})
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
