package libnettest_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"time"
)

var messageMutants = []mutant{
	{"masks the message where it lies", "a sent message is the caller's", "must leave a message alone", func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			if p, ok := msg.([]byte); ok && len(p) <= c.max {
				for i := range p {
					p[i] ^= 0xff
				}
				msg = append([]byte{}, p...)
				for i := range msg.([]byte) {
					msg.([]byte)[i] ^= 0xff
				}
			}
			return c.soundEncode(dst, msg)
		}
	}},
	{"writes behind the message", "a sent message is the caller's", "what lies behind it in the caller's memory", func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			if p, ok := msg.([]byte); ok {
				line := append(p, '\n')
				msg = line[:len(p)]
			}
			return c.soundEncode(dst, msg)
		}
	}},
	{"encodes the memory of a message once", "a sent message is the caller's", "a message must not be kept", func(c *parts) {
		frames := make(map[string][]byte)
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			p, ok := msg.([]byte)
			if !ok || len(p) == 0 {
				return c.soundEncode(dst, msg)
			}
			key := fmt.Sprintf("%p %d", p, len(p))
			if frames[key] == nil {
				frame, err := c.soundEncode(nil, msg)
				if err != nil {
					return dst, err
				}
				frames[key] = frame
			}
			return append(dst, frames[key]...), nil
		}
	}},
	{"trims spaces", "a message of any bytes", wholeOrNot, func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			p, err := payloadOf(msg)
			if err != nil {
				return dst, err
			}
			return c.soundEncode(dst, bytes.Trim(p, " "))
		}
	}},
	{"ends a message at a NUL", "a message of any bytes", wholeOrNot, func(c *parts) {
		c.receive = func() ([]byte, error) {
			p, err := c.soundReceive()
			p, _, _ = bytes.Cut(p, []byte{0})
			return p, err
		}
	}},
	{"sends a delimiter within a message", "a message of any bytes", wholeOrNot, func(c *parts) {
		const end = "--END--"
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			p, err := payloadOf(msg)
			if err != nil {
				return dst, err
			}
			return append(append(dst, p...), end...), nil
		}
		c.split = func(dst []byte, _ any) (header, payload []byte, err error) { return dst, nil, nil }
		c.parse = func(src []byte) (payload []byte, n int, err error) {
			i := bytes.Index(src, []byte(end))
			if i < 0 {
				return nil, 0, nil
			}
			return src[:i:i], i + len(end), nil
		}
	}},
	{"takes bytes for UTF-8", "a message of any bytes", wholeOrNot, func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			p, err := payloadOf(msg)
			if err != nil {
				return dst, err
			}
			return c.soundEncode(dst, bytes.ToValidUTF8(p, []byte("�")))
		}
	}},
	{"panics on a nil slice", "a message of a wrong type", "Send panicked", func(c *parts) {
		c.send = func(msg any) error {
			if p, ok := msg.([]byte); ok && p == nil {
				panic("nil")
			}
			return c.soundSend(msg)
		}
	}},
}

var sessionMutants = []mutant{
	{"has one buffer for all sessions", "two sessions", ownCodec, func(c *parts) {
		c.read = func() error {
			c.buf = c.shared.buf
			err := c.soundRead()
			c.shared.buf = c.buf
			return err
		}
		c.receive = func() ([]byte, error) {
			p, err := c.soundReceive()
			c.shared.buf = c.buf
			return p, err
		}
	}},
	{"has one message for all sessions", "two sessions", ownCodec, func(c *parts) {
		c.receive = func() ([]byte, error) {
			p, err := c.soundReceive()
			if err != nil {
				return nil, err
			}
			c.shared.buf = append(c.shared.buf[:0], p...)
			return c.shared.buf[:len(p):len(p)], nil
		}
	}},
	{"sends from the memory that it receives to", "Send inside Receive", mayOverlap, func(c *parts) {
		c.keep = make([]byte, 0, 1<<17)
		c.send = func(msg any) error {
			frame, err := c.encode(c.keep[:0], msg)
			if err != nil {
				return err
			}
			return c.write(frame)
		}
		c.receive = func() ([]byte, error) {
			p, err := c.soundReceive()
			c.keep = append(c.keep[:0], p...)
			return append([]byte{}, c.keep...), err
		}
	}},
	{"forgets a part of a frame when it sends", "Send inside Receive", mayOverlap, func(c *parts) {
		c.send = func(msg any) error {
			c.buf = nil
			return c.soundSend(msg)
		}
	}},
	{"ends its goroutine in the 50th Send", "Send and Receive at the same time", "Send ended its goroutine", func(c *parts) {
		c.send = func(msg any) error {
			if c.n++; c.n == 50 {
				runtime.Goexit()
			}
			return c.soundSend(msg)
		}
	}},
	{"has one lock for Send and Receive", "Send inside Receive", mayOverlap, func(c *parts) {
		lock := make(chan struct{}, 1)
		locked := func(f func()) { lock <- struct{}{}; defer func() { <-lock }(); f() }
		c.send = func(msg any) (err error) { locked(func() { err = c.soundSend(msg) }); return err }
		c.receive = func() (p []byte, err error) { locked(func() { p, err = c.soundReceive() }); return p, err }
	}},
}

var closeMutants = []mutant{
	{"panics in a second Close", "Close", closeAgain, func(c *parts) {
		closed := make(chan struct{})
		c.close = func() error {
			close(closed)
			return c.soundClose()
		}
	}},
	{"panics in Close where there is no Closer", "Close", "is no io.Closer", func(c *parts) {
		c.close = func() error { return c.rw.(io.Closer).Close() }
	}},
	{"waits for Send in Close", "Close", "while Send waits", func(c *parts) {
		lock := make(chan struct{}, 1)
		c.send = func(msg any) error { lock <- struct{}{}; defer func() { <-lock }(); return c.soundSend(msg) }
		c.close = func() error { lock <- struct{}{}; defer func() { <-lock }(); return c.soundClose() }
	}},
	{"waits for Receive in Close", "Close", "while Receive waits", func(c *parts) {
		lock := make(chan struct{}, 1)
		c.receive = func() ([]byte, error) { lock <- struct{}{}; defer func() { <-lock }(); return c.soundReceive() }
		c.close = func() error { lock <- struct{}{}; defer func() { <-lock }(); return c.soundClose() }
	}},
	{"does not end a Send in Close", "Close", "must end a Send that waits", func(c *parts) {
		c.send = func(msg any) error {
			err := c.soundSend(msg)
			if err != nil {
				time.Sleep(time.Minute) // tries again
			}
			return err
		}
	}},
	{"hangs in a second Close", "Close", "Close, by several goroutines", func(c *parts) {
		c.close = func() error {
			if c.shared.n.Add(1) > 2 {
				time.Sleep(time.Minute)
			}
			return c.soundClose()
		}
	}},
}
