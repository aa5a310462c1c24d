package libnettest_test

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/libnet-go/libnet"
)

var orderMutants = []mutant{
	{"corrupts every 40th frame it sends", "many messages in a row", inOrder, func(c *parts) {
		c.send = func(msg any) error {
			frame, err := c.encode(nil, msg)
			if err != nil {
				return err
			}
			if len(frame) > c.header && c.every(40) {
				frame = damage(frame)
			}
			return c.write(frame)
		}
	}},
	{"corrupts every 1000th frame it receives", "many messages in a row", inOrder, func(c *parts) {
		c.receive = func() ([]byte, error) {
			p, err := c.soundReceive()
			if err == nil && c.every(1000) {
				p = damage(p)
			}
			return p, err
		}
	}},
	{"corrupts every 40th frame of AppendFrame", "many messages in a row", "AppendFrame and Receive", func(c *parts) {
		c.sendSoundly()
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			n := len(dst)
			out, err := c.soundEncode(dst, msg)
			if err == nil && len(out) > n+c.header && c.shared.n.Add(1)%40 == 0 {
				out[len(out)-1] ^= 1
			}
			return out, err
		}
	}},
	{"corrupts every 40th frame of ParseFrame", "many messages in a row", "Send and ParseFrame", func(c *parts) {
		c.receiveSoundly()
		c.parse = func(src []byte) ([]byte, int, error) {
			p, n, err := c.soundParse(src)
			if n > c.header && c.every(40) {
				p = damage(p)
			}
			return p, n, err
		}
	}},
	{"corrupts every 40th frame of SplitFrame", "many messages in a row", "SplitFrame and Receive", func(c *parts) {
		c.split = func(dst []byte, msg any) ([]byte, []byte, error) {
			h, p, err := c.soundSplit(dst, msg)
			if p != nil && c.every(40) {
				p = damage(p)
			}
			return h, p, err
		}
	}},
	{"sends no message that is the same as the one before", "many messages in a row", "wrote nothing", func(c *parts) {
		c.send = func(msg any) error {
			frame, err := c.encode(nil, msg)
			if err != nil || c.n > 0 && string(frame) == string(c.keep) {
				return err
			}
			c.n, c.keep = c.n+1, frame
			return c.write(frame)
		}
	}},
	{"delivers every 100th message twice", "many messages in a row", inOrder, func(c *parts) {
		c.receive = func() ([]byte, error) {
			if c.keep != nil {
				p := c.keep
				c.keep = nil
				return p, nil
			}
			p, err := c.soundReceive()
			if err == nil && c.every(100) {
				c.keep = append([]byte{}, p...)
			}
			return p, err
		}
	}},
	{"fails after 255 messages", "many messages in a row", "libnet: message cannot be encoded", func(c *parts) {
		c.send = func(msg any) error {
			if c.n++; c.n > math.MaxUint8 {
				return libnet.ErrEncode
			}
			return c.soundSend(msg)
		}
	}},
	{"receives the second first when two have come together", "a stream cut into any reads", "want", func(c *parts) {
		c.receive = func() ([]byte, error) {
			if len(c.buf) == 0 && c.err == nil {
				c.err = c.read()
			}
			_, n, _ := c.soundParse(c.buf)
			_, m, _ := c.soundParse(c.buf[n:])
			swapped := append(append([]byte{}, c.buf[n:n+m]...), c.buf[:n]...)
			copy(c.buf, swapped)
			return c.soundReceive()
		}
	}},
	{"takes an empty message for a sign of life", "a stream cut into any reads", "received", func(c *parts) {
		c.receive = func() ([]byte, error) {
			for {
				if p, err := c.soundReceive(); err != nil || len(p) > 0 {
					return p, err
				}
			}
		}
	}},
	{"sends each message when the next comes", "a stream cut into any reads", "Send writes one frame", func(c *parts) {
		c.send = func(msg any) error {
			last := c.keep
			var err error
			if c.keep, err = c.encode(nil, msg); err != nil || last == nil {
				return err
			}
			return c.write(last)
		}
	}},
	{"sends each frame twice", "a stream cut into any reads", "want all and then EOF", func(c *parts) {
		c.send = func(msg any) error { return errors.Join(c.soundSend(msg), c.soundSend(msg)) }
	}},
}

var endMutants = []mutant{
	{"wraps io.EOF", "a stream that ends anywhere", "want all and then EOF", func(c *parts) {
		c.receive = func() ([]byte, error) {
			p, err := c.soundReceive()
			if err == io.EOF {
				err = fmt.Errorf("receiving: %w", err)
			}
			return p, err
		}
	}},
	{"takes a read of nothing for the end", "a stream cut into any reads", "every other read brings nothing", func(c *parts) {
		c.read = func() error {
			before := len(c.buf)
			err := c.soundRead()
			if err == nil && len(c.buf) == before {
				err = io.EOF
			}
			return err
		}
	}},
	{"loses what comes together with an error", "a stream that breaks anywhere", "want", func(c *parts) {
		c.read = func() error {
			before := len(c.buf)
			err := c.soundRead()
			if err != nil && err != io.EOF {
				c.buf = c.buf[:before]
			}
			return err
		}
	}},
	{"loses what comes together with the end", "a stream cut into any reads", "together with EOF", func(c *parts) {
		c.read = func() error {
			before := len(c.buf)
			err := c.soundRead()
			if err != nil {
				c.buf = c.buf[:before]
			}
			return err
		}
	}},
}
