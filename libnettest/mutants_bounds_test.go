package libnettest_test

import (
	"math"

	"github.com/libnet-go/libnet"
)

var boundMutants = []mutant{
	{"takes 65536 bytes behind a length of two", "a message that is too long", "a message of 65536 bytes: Send reported no error", func(c *parts) {
		c.max = 1 << 16
	}},
	{"has a SplitFrame without a bound", "a message that is too long", "SplitFrame of a message of", func(c *parts) {
		c.split = func(dst []byte, msg any) ([]byte, []byte, error) {
			if p, ok := msg.([]byte); ok && len(p) > 0 {
				return c.appendLength(dst, len(p)), p, nil
			}
			return dst, nil, nil
		}
	}},
	{"has an AppendFrame without a bound", "a message that is too long", "AppendFrame of a message of", func(c *parts) {
		c.sendSoundly()
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			p, err := payloadOf(msg)
			if err != nil {
				return dst, err
			}
			return append(c.appendLength(dst, len(p)), p...), nil
		}
	}},
	{"counts the header, and forgets it in the bound", "a message that is too long", "a message of 65534 bytes: Send reported no error", func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			p, err := payloadOf(msg)
			switch {
			case err != nil:
				return dst, err
			case len(p) > c.max:
				return dst, libnet.ErrFrameTooLarge
			}
			return append(c.appendLength(dst, len(p)+2), p...), nil
		}
		c.split = func(dst []byte, _ any) ([]byte, []byte, error) { return dst, nil, nil }
		c.parse = func(src []byte) ([]byte, int, error) {
			switch {
			case len(src) < 2:
				return nil, 0, nil
			case c.length(src) < 2:
				return nil, 0, libnet.ErrMalformedFrame
			case len(src) < c.length(src):
				return nil, 0, nil
			}
			n := c.length(src)
			return src[2:n:n], n, nil
		}
	}},
	{"takes a length for a signed one", "a message that is too long", "a message of 32768 bytes", func(c *parts) {
		c.parse = func(src []byte) ([]byte, int, error) {
			if len(src) >= 2 && int16(c.length(src)) < 0 {
				return nil, 0, libnet.ErrMalformedFrame
			}
			return c.soundParse(src)
		}
	}},
	{"does not receive the longest message that it sends", "a message that is too long", "a message of 65535 bytes: Send reported no error", func(c *parts) {
		c.parse = func(src []byte) ([]byte, int, error) {
			if len(src) >= 2 && c.length(src) == c.max {
				return nil, 0, libnet.ErrFrameTooLarge
			}
			return c.soundParse(src)
		}
	}},
	{"sends as much as there is room for", "a message that is too long", wholeOrNot, func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			p, err := payloadOf(msg)
			if err != nil {
				return dst, err
			}
			return c.soundEncode(dst, p[:min(len(p), c.max)])
		}
	}},
	{"loses what is beyond its buffer", "a message that is too long", "a message of 4097 bytes", func(c *parts) {
		c.receive = func() ([]byte, error) {
			p, err := c.soundReceive()
			return p[:min(len(p), 4096)], err
		}
	}},
	{"writes a part of what is too long", "a message that is too long", "leaves nothing behind", func(c *parts) {
		c.send = func(msg any) error {
			if p, err := payloadOf(msg); err == nil && len(p) > c.max {
				_ = c.write(c.appendLength(nil, len(p)))
				return libnet.ErrFrameTooLarge
			}
			return c.soundSend(msg)
		}
	}},
	{"takes a stream without a bound for one of 0", "a bound that the stream sets", "MaxMessage is 0, which is no bound", func(c *parts) {
		c.bounded()
		if _, ok := c.rw.(libnet.Stream); ok {
			c.max = streamBound(c.rw)
		}
	}},
	{"takes a negative MaxMessage for a bound", "a bound that the stream sets", "MaxMessage is -1, which is no bound", func(c *parts) {
		c.bounded()
		if max := streamBound(c.rw); max != 0 {
			c.max = max
		}
	}},
	{"adds its header to MaxMessage", "a bound that the stream sets", "which is no bound", func(c *parts) {
		c.wide(1 << 20)
		if max := streamBound(c.rw); max > 0 {
			c.max = max + 4 - 4*2 // as a limit of the frame, compared with the payload
			if max+4 < 0 {
				c.max = max + 4
			}
		}
	}},
	{"takes one byte more than the stream's MaxMessage", "a bound that the stream sets", "Send takes 301 bytes where the stream's MaxMessage is 300", func(c *parts) {
		c.bounded()
		if streamBound(c.rw) > 0 && c.max < math.MaxInt {
			c.max++
		}
	}},
	{"keeps to the stream's MaxMessage only where it sends", "a bound that the stream sets", "as Send refuses it", func(c *parts) {
		c.bounded()
		c.parse = func(src []byte) ([]byte, int, error) {
			max := c.max
			c.max = 1 << 20
			defer func() { c.max = max }()
			return c.soundParse(src)
		}
	}},
	{"waits for a frame that is over the stream's MaxMessage", "a bound that the stream sets", fromHeader, func(c *parts) {
		c.bounded()
		c.parse = func(src []byte) ([]byte, int, error) { return c.parseLate(src) }
	}},
	{"waits for a frame that is over its own bound", "a bound on what is received", fromHeader, func(c *parts) {
		c.wide(4096)
		c.parse = func(src []byte) ([]byte, int, error) { return c.parseLate(src) }
	}},
	{"keeps to its own bound only where it sends", "a bound on what is received", bothWays, func(c *parts) {
		c.wide(4096)
		c.parse = func(src []byte) ([]byte, int, error) {
			c.max = math.MaxInt
			defer func() { c.max = 4096 }()
			return c.soundParse(src)
		}
	}},
}

// parseLate looks at the bound when the frame is there.
func (c *parts) parseLate(src []byte) ([]byte, int, error) {
	if len(src) < c.header || len(src) < c.header+c.length(src) {
		return nil, 0, nil
	}
	return c.soundParse(src)
}

var memoryMutants = []mutant{
	{"allocates what is claimed within its bound", "claimed lengths and noise", "Receive allocate", func(c *parts) {
		c.wide(1 << 20)
		c.read = func() error {
			if len(c.buf) >= c.header && cap(c.buf) < c.header+c.length(c.buf) && c.length(c.buf) <= c.max {
				c.buf = append(make([]byte, 0, c.header+c.length(c.buf)), c.buf...)
			}
			return c.soundRead()
		}
	}},
	{"allocates anew for each read", "claimed lengths and noise", inProporti, func(c *parts) {
		c.wide(1 << 20)
		c.read = func() error {
			c.buf = append(make([]byte, 0, len(c.buf)), c.buf...)
			return c.soundRead()
		}
	}},
	{"has a ParseFrame that allocates what is claimed", "claimed lengths and noise", "ParseFrame allocate", func(c *parts) {
		c.wide(1 << 20)
		c.receiveSoundly()
		c.parse = func(src []byte) ([]byte, int, error) {
			if len(src) >= c.header && c.length(src) <= c.max {
				c.keep = make([]byte, c.length(src))
			}
			return c.soundParse(src)
		}
	}},
}
