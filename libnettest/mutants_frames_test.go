package libnettest_test

import (
	"runtime"

	"github.com/libnet-go/libnet"
)

var appendMutants = []mutant{
	{"has an AppendFrame that returns its own memory", "AppendFrame", "must not keep what it returned", func(c *parts) {
		c.keep = make([]byte, 0, 1<<10)
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			if dst == nil {
				dst = c.keep[:0]
			}
			return c.soundEncode(dst, msg)
		}
	}},
	{"has an AppendFrame that loses dst when it grows", "AppendFrame", "changed what was in dst", func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			p, err := payloadOf(msg)
			if err == nil && cap(dst)-len(dst) < c.header+len(p) && len(dst) < 100 {
				dst = make([]byte, len(dst), len(dst)+c.header+len(p))
			}
			return c.soundEncode(dst, msg)
		}
	}},
	{"has an AppendFrame that returns nil with an error", "AppendFrame", "want it as it was", func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			out, err := c.soundEncode(dst, msg)
			if err != nil {
				return nil, err
			}
			return out, nil
		}
	}},
	{"has an AppendFrame that spoils dst with an error", "AppendFrame", "want it as it was", func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			out, err := c.soundEncode(dst, msg)
			if err != nil && len(dst) > 0 {
				dst[0] = 0
			}
			return out, err
		}
	}},
	{"has an AppendFrame that numbers its frames", "AppendFrame", "", func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			out, err := c.soundEncode(dst, msg)
			if err == nil {
				out = append(out, byte(c.n))
				c.n++
			}
			return out, err
		}
		next := 0
		c.parse = func(src []byte) ([]byte, int, error) {
			p, n, err := c.soundParse(src)
			switch {
			case n == 0 || err != nil:
				return p, n, err
			case len(src) == n:
				return nil, 0, nil
			case src[n] != byte(next):
				return nil, 0, libnet.ErrMalformedFrame
			}
			next++
			return p, n + 1, nil
		}
	}},
	{"has an AppendFrame that knows its session", "AppendFrame", "depends on nothing but its arguments", func(c *parts) {
		// Send numbers the frames of its session, and AppendFrame does not know how far that has got.
		c.send = func(msg any) error {
			frame, err := c.soundEncode(nil, msg)
			if err != nil {
				return err
			}
			c.n++
			return c.write(append(frame, byte(c.n-1)))
		}
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			out, err := c.soundEncode(dst, msg)
			if err == nil {
				out = append(out, 0)
			}
			return out, err
		}
		next := 0
		c.receive = func() ([]byte, error) {
			p, err := c.soundReceive()
			if err == nil {
				next++
			}
			return p, err
		}
		c.parse = func(src []byte) ([]byte, int, error) {
			p, n, err := c.soundParse(src)
			switch {
			case n == 0 || err != nil:
				return p, n, err
			case len(src) == n:
				return nil, 0, nil
			case src[n] != byte(next):
				return nil, 0, libnet.ErrMalformedFrame
			}
			return p, n + 1, nil
		}
	}},
	{"has an AppendFrame that two must not call", "AppendFrame", "AppendFrame by several goroutines", func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			frame, err := c.soundEncode(nil, msg)
			if err != nil {
				return dst, err
			}
			c.shared.lock <- struct{}{} // for the race detector's sake, which would see it anyway
			c.keep = frame
			<-c.shared.lock
			runtime.Gosched()
			c.shared.lock <- struct{}{}
			defer func() { <-c.shared.lock }()
			return append(dst, c.keep...), nil
		}
	}},
	{"has an AppendFrame that ends its goroutine", "AppendFrame", "AppendFrame ended its goroutine", func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			if c.shared.n.Add(1) == 2000 { // by when several append
				runtime.Goexit()
			}
			return c.soundEncode(dst, msg)
		}
	}},
	{"has an AppendFrame that writes", "AppendFrame", "used the connection", func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			if c.shared.n.Add(1)%3 == 0 {
				_, _ = c.rw.Write(nil)
			}
			return c.soundEncode(dst, msg)
		}
	}},
	{"has a SplitFrame that returns its own memory", "SplitFrame", "must not keep that", func(c *parts) {
		c.split = func(dst []byte, msg any) ([]byte, []byte, error) {
			h, p, err := c.soundSplit(dst, msg)
			if p != nil {
				c.keep = append(c.keep[:0], p...)
				p = c.keep
			}
			return h, p, err
		}
	}},
	{"has a SplitFrame that forgets dst", "SplitFrame", "changed what was in dst", func(c *parts) {
		c.split = func(dst []byte, msg any) ([]byte, []byte, error) {
			h, p, err := c.soundSplit(dst, msg)
			if p != nil {
				h = h[len(dst):]
			}
			return h, p, err
		}
	}},
	{"has a SplitFrame that takes what Send refuses", "SplitFrame", agree, func(c *parts) {
		c.split = func(dst []byte, msg any) ([]byte, []byte, error) {
			if msg == nil {
				return c.appendLength(dst, 0), []byte{}, nil
			}
			return c.soundSplit(dst, msg)
		}
	}},
	{"has a SplitFrame that refuses what Send takes", "SplitFrame", agree, func(c *parts) {
		c.split = func(dst []byte, msg any) ([]byte, []byte, error) {
			if _, ok := msg.([]byte); !ok {
				return dst, nil, libnet.ErrEncode
			}
			return c.soundSplit(dst, msg)
		}
	}},
}

var parseMutants = []mutant{
	{"has a payload whose capacity reaches into the next frame", "ParseFrame", "reaches into the next frame", func(c *parts) {
		c.parse = func(src []byte) ([]byte, int, error) {
			p, n, err := c.soundParse(src)
			if n > 0 {
				p = src[c.header:n]
			}
			return p, n, err
		}
	}},
	{"has a ParseFrame that returns its own memory", "ParseFrame", "must not keep what it returned", func(c *parts) {
		c.parse = func(src []byte) ([]byte, int, error) {
			p, n, err := c.soundParse(src)
			c.keep = append(c.keep[:0], p...)
			return c.keep[:len(p):len(p)], n, err
		}
	}},
	{"has a ParseFrame that keeps src", "ParseFrame", "must not keep src", func(c *parts) {
		var last []byte // of the frame before, whose header it marks as read
		c.receiveSoundly()
		c.parse = func(src []byte) ([]byte, int, error) {
			p, n, err := c.soundParse(src)
			if n > 0 && (last == nil || &last[0] != &src[0]) {
				if last != nil {
					last[0] = 0xff
				}
				last = src
			}
			return p, n, err
		}
	}},
	{"has a ParseFrame that remembers where it was", "ParseFrame", "depends on nothing but src", func(c *parts) {
		waits := 0 // for a frame of that length
		c.receiveSoundly()
		c.parse = func(src []byte) ([]byte, int, error) {
			if waits > 0 && len(src) < waits {
				return nil, 0, nil
			}
			p, n, err := c.soundParse(src)
			if waits = 0; n == 0 && err == nil && len(src) >= c.header {
				waits = c.header + c.length(src)
			}
			return p, n, err
		}
	}},
	{"has a ParseFrame that remembers an error", "ParseFrame", "depends on nothing but src", func(c *parts) {
		var failed error
		c.wide(1 << 20)
		c.parse = func(src []byte) (p []byte, n int, err error) {
			if failed != nil {
				return nil, 0, failed
			}
			p, n, failed = c.soundParse(src)
			return p, n, failed
		}
	}},
	{"has a ParseFrame that reads", "ParseFrame", "used the connection", func(c *parts) {
		c.receiveSoundly()
		c.parse = func(src []byte) ([]byte, int, error) {
			if len(src) == 0 {
				_, _ = c.rw.Read(nil)
			}
			return c.soundParse(src)
		}
	}},
	{"has a ParseFrame that unmasks where the frame lies", "ParseFrame", "changed src", func(c *parts) {
		c.parse = func(src []byte) ([]byte, int, error) {
			p, n, err := c.soundParse(src)
			for i := range p {
				p[i] ^= 0x55
			}
			return p, n, err
		}
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			n := len(dst)
			out, err := c.soundEncode(dst, msg)
			for i := n + c.header; err == nil && i < len(out); i++ {
				out[i] ^= 0x55
			}
			return out, err
		}
	}},
	{"has a ParseFrame that looks behind src", "ParseFrame", "want n = 0 and no error", func(c *parts) {
		c.receiveSoundly()
		c.parse = func(src []byte) ([]byte, int, error) {
			if len(src) >= c.header && c.length(src) <= c.max && c.header+c.length(src) <= cap(src) {
				n := c.header + c.length(src)
				return src[c.header:n:n], min(n, len(src)), nil
			}
			return c.soundParse(src)
		}
	}},
	{"has a ParseFrame that wants the next frame's first byte", "ParseFrame", "with 0 bytes behind it", func(c *parts) {
		c.receiveSoundly()
		c.parse = func(src []byte) ([]byte, int, error) {
			p, n, err := c.soundParse(src)
			if n == len(src) {
				return nil, 0, nil
			}
			return p, n, err
		}
	}},
}
