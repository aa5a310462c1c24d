package codec

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/libnet-go/libnet/internal/inside"
)

// conn is the half of a codec that moves frames over a connection, when there is no session to do so. It
// has one receiver and one sender at a time; Close may overlap both.
type conn struct {
	rw   io.ReadWriter
	ends atomic.Pointer[ends] // nil before the first Receive or Send: a session calls neither
}

// ends are the two sides of a conn.
type ends struct {
	in  input  // Owned by the receiver.
	out output // Owned by the sender.
}

func (c *conn) use() *ends {
	if e := c.ends.Load(); e != nil {
		return e
	}
	c.ends.CompareAndSwap(nil, new(ends))
	return c.ends.Load()
}

const (
	firstRead     = 4 << 10  // the receive buffer, until a frame needs more
	keepBuffer    = 64 << 10 // a larger buffer is let go when it is empty
	maxEmptyReads = 100      // in a row, as in package bufio
)

// input holds what was read and not yet handed out: buf[r:w].
type input struct {
	buf  []byte
	r, w int
	seen int   // that many bytes from r are known to be no whole frame
	err  error // what ended the input; repeated for ever
}

// receive returns the next message in memory of its own. Its errors are io.EOF between two frames,
// io.ErrUnexpectedEOF inside one, those of ParseFrame and those of the connection; after the first
// error it returns that again.
func (c *conn) receive(frames transcoder) ([]byte, error) {
	in := &c.use().in
	for {
		if in.r < in.w {
			payload, n, err := in.parse(frames)
			if err != nil {
				in.fail(err)
			}
			if n > 0 && err == nil {
				msg := make([]byte, len(payload))
				copy(msg, payload)
				in.r, in.seen = in.r+n, 0
				return msg, nil
			}
		}
		if in.err != nil {
			if in.err == io.EOF && in.r < in.w {
				in.fail(io.ErrUnexpectedEOF)
			}
			return nil, in.err
		}
		in.err = in.read(c.rw)
	}
}

// parse looks for a frame at the start of what was read. seen is not 0 only where it looked before.
func (in *input) parse(frames transcoder) (payload []byte, n int, err error) {
	src := in.buf[in.r:in.w:in.w]
	seen := in.seen
	if in.seen = len(src); seen > 0 {
		if resumer, ok := frames.(frameResumer); ok {
			return resumer.ResumeFrame(src, seen)
		}
	}
	return frames.ParseFrame(src)
}

type frameResumer interface {
	ResumeFrame(src []byte, seen int) (payload []byte, n int, err error)
}

// fail ends the input for good and gives its memory back.
func (in *input) fail(err error) { *in = input{err: err} }

// read reads at least one byte or answers an error, perhaps both.
func (in *input) read(from io.Reader) error {
	in.makeRoom()
	for range maxEmptyReads {
		n, err := from.Read(in.buf[in.w:])
		if n < 0 || n > len(in.buf)-in.w {
			return errReadCount
		}
		in.w += n
		if n > 0 || err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

var errReadCount = errors.New("libnet: codec: Read returned an impossible count")

// makeRoom grows the buffer only when it is full of bytes that have arrived.
func (in *input) makeRoom() {
	switch {
	case in.r == in.w:
		in.r, in.w = 0, 0
		if in.buf == nil || len(in.buf) > keepBuffer {
			in.buf = make([]byte, firstRead)
		}
	case in.w == len(in.buf) && in.r > 0:
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	case in.w == len(in.buf):
		grown := make([]byte, 2*len(in.buf))
		in.w = copy(grown, in.buf[in.r:in.w])
		in.r, in.buf = 0, grown
	}
}

type output struct {
	buf []byte
	err error // of a write that left a part of a frame behind; repeated for ever
}

// send writes msg as one frame, with one Write call. An error of AppendFrame leaves the connection as
// it was. After a write that stopped inside a frame no other frame can follow: send then returns
// the same error for ever.
func (c *conn) send(frames transcoder, msg any) error {
	out := &c.use().out
	if out.err != nil {
		return out.err
	}
	frame, err := frames.AppendFrame(out.buf[:0], msg)
	if err != nil {
		return err
	}
	if cap(frame) <= keepBuffer {
		out.buf = frame
	}
	n, err := c.rw.Write(frame)
	if err == nil && n != len(frame) {
		err = io.ErrShortWrite
	}
	if err != nil && n != 0 && n != len(frame) {
		out.err = err
	}
	return err
}

// Close closes the connection, if it is an io.Closer, and returns what that answers.
func (c *conn) Close() error {
	if closer, ok := c.rw.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// OnlyCloses is what Close closes. A session whose own stream that is need not wait for Close.
func (c *conn) OnlyCloses(inside.Call) io.ReadWriter { return c.rw }
