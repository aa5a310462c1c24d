package libnettest_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// A mutant is a codec that is broken in one way; check must fail for it, and name the promise.
type mutant struct {
	name    string
	check   string
	promise string
	spoil   func(c *parts)
}

// inOrder, and those that follow, are the promises in the words of the kit.
const (
	inOrder    = "every message must arrive as it was sent, whole and in order"
	wholeOrNot = "a message arrives whole, or is refused before a byte was written"
	agree      = "they must agree"
	fromHeader = "must be told from its header alone"
	bothWays   = "a bound holds in both directions"
	inProporti = "memory must grow with what arrived, not with what was claimed"
	ownCodec   = "each session has a codec of its own"
	mayOverlap = "may overlap"
	closeAgain = "Close may be called more than once"
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
		c.send = func(msg any) error {
			frame, err := c.soundEncode(nil, msg)
			if err == nil {
				err = c.write(frame)
			}
			return err
		}
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
		c.receive = func() ([]byte, error) {
			parse := c.parse
			c.parse = c.soundParse
			defer func() { c.parse = parse }()
			return c.soundReceive()
		}
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
		c.send = func(msg any) error {
			frame, err := c.soundEncode(nil, msg)
			if err == nil {
				err = c.write(frame)
			}
			return err
		}
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
		c.receive = func() ([]byte, error) {
			parse := c.parse
			c.parse = c.soundParse
			defer func() { c.parse = parse }()
			return c.soundReceive()
		}
		c.parse = func(src []byte) ([]byte, int, error) {
			if len(src) >= c.header && c.length(src) <= c.max {
				c.keep = make([]byte, c.length(src))
			}
			return c.soundParse(src)
		}
	}},
}

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
	{"panics on a nil slice", "a message of a wrong type", "Send panicked", func(c *parts) {
		c.send = func(msg any) error {
			if p, ok := msg.([]byte); ok && p == nil {
				panic("nil")
			}
			return c.soundSend(msg)
		}
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
	{"has an AppendFrame that writes", "AppendFrame", "used the connection", func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			if c.every(3) {
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
	{"has a ParseFrame that remembers where it was", "ParseFrame", "depends on nothing but src", func(c *parts) {
		waits := 0 // for a frame of that length
		c.receive = func() ([]byte, error) {
			parse := c.parse
			c.parse = c.soundParse
			defer func() { c.parse = parse }()
			return c.soundReceive()
		}
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
		c.receive = func() ([]byte, error) {
			parse := c.parse
			c.parse = c.soundParse
			defer func() { c.parse = parse }()
			return c.soundReceive()
		}
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
		c.receive = func() ([]byte, error) {
			parse := c.parse
			c.parse = c.soundParse
			defer func() { c.parse = parse }()
			return c.soundReceive()
		}
		c.parse = func(src []byte) ([]byte, int, error) {
			if len(src) >= c.header && c.length(src) <= c.max && c.header+c.length(src) <= cap(src) {
				n := c.header + c.length(src)
				return src[c.header:n:n], min(n, len(src)), nil
			}
			return c.soundParse(src)
		}
	}},
	{"has a ParseFrame that wants the next frame's first byte", "ParseFrame", "with 0 bytes behind it", func(c *parts) {
		c.receive = func() ([]byte, error) {
			parse := c.parse
			c.parse = c.soundParse
			defer func() { c.parse = parse }()
			return c.soundReceive()
		}
		c.parse = func(src []byte) ([]byte, int, error) {
			p, n, err := c.soundParse(src)
			if n == len(src) {
				return nil, 0, nil
			}
			return p, n, err
		}
	}},
}

// mutantMessages are of both kinds, so that SplitFrame has something to do.
func mutantMessages() []any {
	return []any{[]byte("hello, world"), "", []byte("a"), "long long long", []byte("other")}
}

func TestTheKitCatchesEveryMutant(t *testing.T) {
	count := 0
	for _, mutants := range [][]mutant{
		orderMutants, boundMutants, memoryMutants, messageMutants, endMutants, sessionMutants, closeMutants, appendMutants, parseMutants,
	} {
		for _, m := range mutants {
			count++
			t.Run(m.name, func(t *testing.T) { wantCaught(t, m.check, m.promise, mutated(m.spoil), mutantMessages()...) })
		}
	}
	if count < 50 {
		t.Errorf("there are %d mutants", count)
	}
}

func TestTheCodecThatMutantsAreMadeOfIsSound(t *testing.T) {
	for name, spoil := range map[string]func(*parts){
		"with two bytes":          nil,
		"with four bytes":         func(c *parts) { c.wide(1 << 20) },
		"with a bound":            func(c *parts) { c.wide(4096) },
		"with the stream's bound": (*parts).bounded,
	} {
		t.Run(name, func(t *testing.T) { libnettest.TestProtocol(t, mutated(spoil), mutantMessages()...) })
	}
}
