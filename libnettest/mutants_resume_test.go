package libnettest_test

import (
	"io"
	"testing"

	"github.com/libnet-go/libnet"
)

// resuming is parts that can go on in an unfinished frame.
type resuming struct {
	*parts
	resume func(src []byte, seen int) ([]byte, int, error)
}

func (c *resuming) ResumeFrame(src []byte, seen int) ([]byte, int, error) { return c.resume(src, seen) }

func resumingBy(resume func(c *parts, src []byte, seen int) ([]byte, int, error)) libnet.Protocol {
	return libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		c := mutated(nil).NewCodec(rw).(*parts)
		return &resuming{c, func(src []byte, seen int) ([]byte, int, error) { return resume(c, src, seen) }}
	})
}

func TestTheKitCatchesMutantsThatResume(t *testing.T) {
	const same = "ResumeFrame finds what ParseFrame finds"
	for name, test := range map[string]struct {
		promise string
		resume  func(c *parts, src []byte, seen int) ([]byte, int, error)
	}{
		"takes what is new for a frame": {same, func(c *parts, src []byte, seen int) ([]byte, int, error) {
			return c.parse(src[seen:])
		}},
		"forgets what it has seen in the frame's length": {same, func(c *parts, src []byte, seen int) ([]byte, int, error) {
			p, n, err := c.parse(src)
			return p, max(n-seen, 0), err
		}},
		"looks at no more than it has seen": {same, func(c *parts, src []byte, seen int) ([]byte, int, error) {
			return c.parse(src[:seen])
		}},
		"knows another bound": {same, func(c *parts, src []byte, seen int) ([]byte, int, error) {
			c.max = 4
			defer func() { c.max = 65535 }()
			return c.parse(src)
		}},
		"has a payload that reaches into the next frame": {"reaches into the next frame", func(c *parts, src []byte, _ int) ([]byte, int, error) {
			p, n, err := c.parse(src)
			if n > 0 {
				p = src[c.header:n]
			}
			return p, n, err
		}},
		"writes": {"used the connection", func(c *parts, src []byte, _ int) ([]byte, int, error) {
			_, _ = c.rw.Write(nil)
			return c.parse(src)
		}},
		"panics where all was seen": {"ResumeFrame panicked", func(c *parts, src []byte, seen int) ([]byte, int, error) {
			_ = src[seen]
			return c.parse(src)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			wantCaught(t, "ResumeFrame", test.promise, resumingBy(test.resume), mutantMessages()...)
		})
	}
}
