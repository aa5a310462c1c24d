package libnettest_test

import (
	"bufio"
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
	"time"

	"github.com/libnet-go/libnet"
)

// lengthProtocol frames []byte and string with a 3-byte length. Its codecs keep the contract but for
// what bug names.
type lengthProtocol struct{ bug string }

const (
	lengthSize = 3
	lengthMax  = 1<<(8*lengthSize) - 1
)

func (p lengthProtocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	if p.bug == "leaves a goroutine" {
		go time.Sleep(5 * time.Second) // longer than the check waits
	}
	return &lengthCodec{lengthProtocol: p, rw: rw, buffered: bufio.NewReader(rw), lock: make(chan struct{}, 1)}
}

type lengthCodec struct {
	lengthProtocol
	rw       io.ReadWriter
	buffered *bufio.Reader
	scratch  []byte
	failed   bool
	lock     chan struct{} // for the bug of one lock for both directions; a channel, for the bubble's clock
}

func (c *lengthCodec) is(bug string) bool { return c.bug == bug }

func (c *lengthCodec) Close() error {
	if closer, ok := c.rw.(io.Closer); ok && !c.is("does not close") {
		return closer.Close()
	}
	return nil
}

func (c *lengthCodec) Receive() ([]byte, error) {
	if c.is("one lock for both directions") {
		c.lock <- struct{}{}
		defer func() { <-c.lock }()
	}
	payload, err := c.receive()
	switch {
	case err == nil:
		return payload, nil
	case c.is("answers nothing after the end"):
		return nil, nil
	case c.is("spins at the end"):
		for err != nil {
			_, err = c.rw.Read(make([]byte, 1))
		}
	case c.is("reports a torn frame as a clean end") && err == io.ErrUnexpectedEOF,
		c.is("reports a broken reader as a clean end") && err != io.ErrUnexpectedEOF:
		return nil, io.EOF
	case c.is("reports a clean end as a torn frame") && err == io.EOF:
		return nil, io.ErrUnexpectedEOF
	case c.is("answers its error once"):
		if c.failed {
			return nil, nil
		}
		c.failed = true
	}
	return nil, err
}

func (c *lengthCodec) receive() ([]byte, error) {
	if c.is("buffers anew in each Receive") {
		c.buffered = bufio.NewReader(c.rw)
	}
	header := make([]byte, lengthSize)
	if _, err := io.ReadFull(c.buffered, header); err != nil {
		return nil, err
	}
	n := length(header)
	if c.is("panics on a negative length") {
		n = int(int32(n<<8) >> 8)
	}
	if c.is("takes one read for a frame") {
		payload := make([]byte, n)
		got, err := c.buffered.Read(payload)
		return payload[:got], err
	}
	if c.is("allocates what is claimed") || n < 0 {
		payload := make([]byte, n)
		_, err := io.ReadFull(c.buffered, payload)
		return payload, unexpected(err)
	}
	var payload bytes.Buffer
	if c.is("reuses the payload's memory") {
		payload = *bytes.NewBuffer(c.scratch[:0])
	}
	got, err := io.CopyN(&payload, c.buffered, int64(n))
	if c.is("reuses the payload's memory") {
		c.scratch = payload.Bytes()
	}
	if got == 0 && n > 0 && c.is("takes an end after the header for a clean one") {
		return nil, err
	}
	return payload.Bytes(), unexpected(err)
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func length(header []byte) int {
	return int(header[0])<<16 | int(header[1])<<8 | int(header[2])
}

func (c *lengthCodec) Send(msg any) error {
	if c.is("one lock for both directions") {
		c.lock <- struct{}{}
		defer func() { <-c.lock }()
	}
	if c.failed && c.is("refuses all after one wrong message") {
		return libnet.ErrEncode
	}
	frame, err := c.AppendFrame(nil, msg)
	if err != nil {
		if c.is("writes a header before it looks at the message") {
			c.rw.Write(make([]byte, lengthSize))
		}
		c.failed = true
		return err
	}
	if c.is("sends in two writes and forgets the first's error") {
		c.rw.Write(frame[:lengthSize])
		frame = frame[lengthSize:]
	}
	n, err := c.rw.Write(frame)
	switch {
	case c.is("forgets the writer's error"):
		return nil
	case c.is("calls a write error an encoding error") && err != nil:
		return fmt.Errorf("%w: %w", libnet.ErrEncode, err)
	case c.is("replaces the writer's error") && err != nil:
		return io.ErrNoProgress
	case err == nil && n < len(frame) && !c.is("overlooks a short write"):
		return io.ErrShortWrite
	}
	return err
}

// AppendFrame makes lengthCodec a libnet.FrameAppender.
func (c *lengthCodec) AppendFrame(dst []byte, msg any) ([]byte, error) {
	var payload []byte
	switch m := msg.(type) {
	case []byte:
		payload = m
	case string:
		payload = []byte(m)
	default:
		switch {
		case c.is("panics on a message of a wrong type"):
			_ = msg.([]byte)
		case c.is("leaves a part of a frame in dst"):
			return append(dst, 0, 0, 0), libnet.ErrEncode
		case c.is("has an AppendFrame that takes more than Send") && msg == nil && dst != nil:
			return append(dst, 0, 0, 0), nil
		}
		return dst, fmt.Errorf("%w: %T", libnet.ErrEncode, msg)
	}
	if len(payload) > lengthMax && !c.is("casts the length") {
		return dst, libnet.ErrFrameTooLarge
	}
	if c.is("has an AppendFrame that forgets dst") {
		dst = nil
	}
	n := len(payload)
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n))
	return append(dst, payload...), nil
}

// pureCodec has the other two optional interfaces as well.
type pureProtocol struct{ bug string }

func (p pureProtocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	return &pureCodec{lengthProtocol(p).NewCodec(rw).(*lengthCodec)}
}

type pureCodec struct{ *lengthCodec }

var _ libnet.FrameSplitter = (*pureCodec)(nil)

func (c *pureCodec) ParseFrame(src []byte) (payload []byte, n int, err error) {
	switch {
	case len(src) < lengthSize && c.is("has a ParseFrame that takes the beginning of a frame for an error"):
		return nil, 0, io.ErrUnexpectedEOF
	case len(src) < lengthSize:
		return nil, 0, nil
	case src[0] == 0xff && c.is("has a ParseFrame that refuses what Receive takes"):
		return nil, 0, libnet.ErrFrameTooLarge
	}
	n = lengthSize + length(src)
	if len(src) < n && c.is("has a ParseFrame that cuts a frame short") {
		n = len(src)
	}
	if len(src) < n {
		return nil, 0, nil
	}
	if c.is("has a ParseFrame that panics on a short frame") {
		_ = src[lengthSize]
	}
	if c.is("has a ParseFrame that returns the payload's length") {
		return src[lengthSize:n], n - lengthSize, nil
	}
	return src[lengthSize:n:n], n, nil
}

func (c *pureCodec) SplitFrame(dst []byte, msg any) (header, payload []byte, err error) {
	payload, ok := msg.([]byte)
	switch {
	case !ok && c.is("has a SplitFrame that leaves a header in dst"):
		return append(dst, 0, 0, 0), nil, nil
	case !ok:
		return dst, nil, nil
	case len(payload) > lengthMax:
		return dst, nil, libnet.ErrFrameTooLarge
	}
	n := len(payload)
	if c.is("has a SplitFrame with another length") {
		n += lengthSize
	}
	return append(dst, byte(n>>16), byte(n>>8), byte(n)), payload, nil
}

// gobProtocol keeps state from one message to the next, varies with the order of a map, and is no
// FrameAppender: what a user may bring.
type gobProtocol struct{}

type gobMessage struct {
	Text string
	Tags map[string]int
}

func (gobProtocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	return &gobCodec{lengthCodec: lengthProtocol{}.NewCodec(rw).(*lengthCodec)}
}

type gobCodec struct {
	*lengthCodec
	out     bytes.Buffer
	encoder *gob.Encoder
}

func (c *gobCodec) AppendFrame() {} // hides the embedded one, which knows nothing of gob

func (c *gobCodec) Send(msg any) error {
	message, ok := msg.(gobMessage)
	if !ok {
		return fmt.Errorf("%w: %T", libnet.ErrEncode, msg)
	}
	if c.encoder == nil {
		c.encoder = gob.NewEncoder(&c.out)
	}
	c.out.Reset()
	if err := c.encoder.Encode(message); err != nil {
		return err
	}
	return c.lengthCodec.Send(c.out.Bytes())
}

// lineProtocol ends each string with a newline, and finishes what a short write has left.
type lineProtocol struct{}

func (lineProtocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	return &lineCodec{rw: rw, lines: bufio.NewReader(rw)}
}

type lineCodec struct {
	rw    io.ReadWriter
	lines *bufio.Reader
}

func (c *lineCodec) Close() error {
	if closer, ok := c.rw.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

func (c *lineCodec) Receive() ([]byte, error) {
	line, err := c.lines.ReadBytes('\n')
	if err != nil {
		if err == io.EOF && len(line) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return line[:len(line)-1], nil
}

func (c *lineCodec) Send(msg any) error {
	text, ok := msg.(string)
	if !ok || bytes.ContainsRune([]byte(text), '\n') {
		return libnet.ErrEncode
	}
	for out := []byte(text + "\n"); len(out) > 0; { // goes on after a short write: legal, too
		n, err := c.rw.Write(out)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrNoProgress
		}
		out = out[n:]
	}
	return nil
}
