package libnettest_test

import (
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// telling is parts that says what it takes.
type telling struct {
	*parts
	max   func() int
	check func(payload []byte) error
}

func (c *telling) MaxMessage() int                   { return c.max() }
func (c *telling) CheckPayload(payload []byte) error { return c.check(payload) }

func tellingBy(spoil func(c *telling)) libnet.Protocol {
	return libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		c := &telling{parts: mutated(nil).NewCodec(rw).(*parts)}
		c.max = func() int { return math.MaxUint16 }
		c.check = func(payload []byte) error {
			if len(payload) > math.MaxUint16 {
				return libnet.ErrFrameTooLarge
			}
			return nil
		}
		if spoil != nil {
			spoil(c)
		}
		return c
	})
}

func TestTheKitCatchesMutantsThatTellWhatTheyTake(t *testing.T) {
	libnettest.RunCheck(t, "MaxMessage", tellingBy(nil), mutantMessages()...)
	const agreeing = "they must agree"
	for name, test := range map[string]struct {
		promise string
		spoil   func(c *telling)
	}{
		"tells one byte more": {agreeing, func(c *telling) { c.max = func() int { return math.MaxUint16 + 1 } }},
		"tells one byte less": {agreeing, func(c *telling) { c.max = func() int { return math.MaxUint16 - 1 } }},
		"tells of no bound":   {agreeing, func(c *telling) { c.max = func() int { return -1 } }},
		"panics":              {"MaxMessage panicked: test: no", func(c *telling) { c.max = func() int { panic("test: no") } }},
		"panics with the unspeakable": {"MaxMessage panicked", func(c *telling) {
			c.max = func() int { panic(unspeakable(0)) }
		}},
		"finds nothing wrong":     {agreeing, func(c *telling) { c.check = func([]byte) error { return nil } }},
		"refuses the empty one":   {"CheckPayload refuses", func(c *telling) { c.check = refusing(func(p []byte) bool { return len(p) == 0 }) }},
		"refuses what is no text": {"CheckPayload refuses", func(c *telling) { c.check = refusing(func(p []byte) bool { return len(p) > 0 && p[0] > 0x7f }) }},
		"changes the payload": {"changed a payload", func(c *telling) {
			sound := c.check
			c.check = func(p []byte) error { copy(p, "x"); return sound(p) }
		}},
		"reads": {"used the connection", func(c *telling) {
			sound := c.check
			c.check = func(p []byte) error { _, _ = c.rw.Read(nil); return sound(p) }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			wantCaught(t, "MaxMessage", test.promise, tellingBy(test.spoil), mutantMessages()...)
		})
	}
}

// An unspeakable is a value that panics with itself when it is printed.
type unspeakable int

func (u unspeakable) Format(fmt.State, rune) { panic(u) }

func refusing(bad func(payload []byte) bool) func([]byte) error {
	return func(payload []byte) error {
		if len(payload) > math.MaxUint16 || bad(payload) {
			return libnet.ErrFrameTooLarge
		}
		return nil
	}
}
