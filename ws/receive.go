package ws

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"time"
	"unicode/utf8"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/lengthprefix"
	"github.com/libnet-go/libnet/internal/usercode"
)

// A fault is what the peer did wrong: the Close frame tells it, and the connection ends.
type fault struct{ error }

func malformed(what string) error {
	return &fault{fmt.Errorf("%w: %s", libnet.ErrMalformedFrame, what)}
}

var (
	errNotUTF8  = fmt.Errorf("%w: a text that is not UTF-8", libnet.ErrMalformedFrame) // RFC 6455, 8.1
	errTooLarge = &fault{libnet.ErrFrameTooLarge}
)

// A receiver is the receive loop's state. The loop has a goroutine of its own so that pings and close frames are
// answered while the session is busy, and its peer's end is noticed though nobody receives.
type receiver struct {
	*conn
	from  *bufio.Reader
	limit int64 // of a message

	buf        *inbuf // the message that is arriving; nil between two
	text       bool   // it is to be UTF-8
	deflated   bool   // it is compressed
	begun      bool   // its first byte has come, if only of a header
	fragmented bool   // it has more fragments than have come
	announced  bool   // conn.Read was told that it has begun
	whole      uint64 // bytes of all frames that were left in the inbox

	scratch [8]byte
	control [maxControlPayload]byte
}

// begin starts the receive loop, once. The session's codec has been made: it has set the limit.
func (c *conn) begin() {
	c.beginOnce.Do(func() {
		r := &receiver{conn: c, from: c.reader, limit: c.limit.Load()}
		c.reader = nil
		r.from.Reset(readerFunc(r.fill))
		c.link.receiveLoopStarts()
		go r.run()
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// run receives until something ends the input.
func (r *receiver) run() {
	end := fmt.Errorf("%w: a connection's Read ended its goroutine", libnet.ErrPanic)
	defer func() { r.inputEnded(end) }()
	end = r.receive()
}

// inputEnded tells the session how the input ended, once what is to be answered is written or has failed.
func (r *receiver) inputEnded(end error) {
	defer r.link.receiveLoopEnds()
	_ = guard(func() error { r.link.flushAnswers(); return nil })
	r.in.end(end)
	r.receiveEnd()
}

// guard calls a function that uses a connection, which may be one of the user's and panic.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w in a connection: %.128q", libnet.ErrPanic, usercode.Text(v))
		}
	}()
	return f()
}

// receive returns what comes behind the last message.
func (r *receiver) receive() (end error) {
	err := guard(r.loop)
	putInbuf(r.buf)
	r.buf = nil
	if f, ok := err.(*fault); ok {
		r.link.finish(r.closeFrame(f.error))
		return f.error
	}
	return err
}

// loop returns why there is no more input: a *fault, the end that the peer's close frame means, or what the
// connection's Read answered.
func (r *receiver) loop() error {
	for r.in.awaitRoom() {
		for done := false; !done; {
			h, err := r.readHeader()
			if err == nil {
				err = r.admit(h)
			}
			switch {
			case err != nil:
			case h.opcode() >= opClose:
				err = r.receiveControl(h)
			default:
				done, err = r.receiveData(h)
			}
			if err != nil {
				return err
			}
		}
	}
	return opError("read", net.ErrClosed)
}

// fill reads for from when it is empty. A message that is late by that is announced with its frame's first byte.
func (r *receiver) fill(p []byte) (int, error) {
	if r.begun && !r.announced {
		r.announced = true
		b := inbufs.Get().(*inbuf)
		b.bytes = append(b.bytes[:0], 0)
		r.in.put(b)
	}
	r.link.flushAnswers()
	if errchain.Is(r.link.failed(), os.ErrDeadlineExceeded) { // of an answer to a ping
		return 0, libnet.ErrWriteTimeout
	}
	return r.link.Read(p) // whatever else has become of the output
}

// receiveData reports whether the frame was the last of its message.
func (r *receiver) receiveData(h header) (last bool, err error) {
	if !r.fragmented {
		r.text, r.deflated = h.opcode() == opText, h.deflated()
		r.buf = newMessage()
	}
	if h.length > r.room() {
		return false, errTooLarge
	}
	if err := r.readPayload(h); err != nil {
		return false, err
	}
	r.fragmented = !h.fin()
	if r.fragmented {
		return false, nil
	}
	return true, r.deliver()
}

// room is how much more may come of the message.
func (r *receiver) room() int64 {
	has := int64(len(r.buf.bytes) - headerSize)
	if r.deflated {
		return int64(maxDeflated(int(r.limit))) - has
	}
	return r.limit - has
}

// newMessage returns a buffer with room for the header of the frame that is made.
func newMessage() *inbuf {
	b := inbufs.Get().(*inbuf)
	if cap(b.bytes) < 512 {
		b.bytes = make([]byte, 0, 512)
	}
	b.bytes = append(b.bytes[:0], make([]byte, headerSize)...)
	return b
}

// readPayload appends to the message. Its storage grows with what arrives.
func (r *receiver) readPayload(h header) error {
	for left := h.length; left > 0; {
		b := r.buf.bytes
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.from.Read(b[len(b):min(int64(cap(b)), int64(len(b))+left)])
		if h.masked {
			h.key = lengthprefix.Mask(b[len(b):len(b)+n], h.key)
		}
		r.buf.bytes = b[:len(b)+n]
		left -= int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// deliver makes the message a frame for Read.
func (r *receiver) deliver() error {
	if r.deflated {
		if err := r.inflate(); err != nil {
			return err
		}
	}
	b := r.buf
	payload := b.bytes[headerSize:]
	if r.text && !utf8.Valid(payload) {
		return &fault{errNotUTF8}
	}
	binary.BigEndian.PutUint32(b.bytes[lengthAt:], uint32(len(payload)))
	r.whole += uint64(len(b.bytes))
	if r.announced {
		b.bytes = b.bytes[1:]
	}
	r.buf, r.begun, r.announced = nil, false, false
	r.in.put(b)
	return nil
}

// inflate puts the message in the place of its compressed form.
func (r *receiver) inflate() error {
	compressed := r.buf
	defer putInbuf(compressed)
	r.buf = newMessage()
	inflated, err := appendInflated(r.buf.bytes, compressed.bytes[headerSize:], int(r.limit))
	r.buf.bytes = inflated
	return err
}

func (r *receiver) receiveControl(h header) error {
	payload := r.control[:h.length]
	if _, err := io.ReadFull(r.from, payload); err != nil {
		return err
	}
	if h.masked {
		lengthprefix.Mask(payload, h.key)
	}
	switch {
	case h.opcode() == opClose:
		return r.receiveClose(payload)
	case h.opcode() == opPing && r.link.answersPing():
		r.link.add(finBit|opPong, payload)
	}
	return nil
}

// receiveClose answers a close frame with the same, and returns what it means.
func (r *receiver) receiveClose(payload []byte) error {
	e, err := parseClose(payload)
	if err != nil {
		return err
	}
	r.link.finish(appendFrame(nil, finBit|opClose, payload, r.link.client))
	return endByPeer(e, r.begun)
}

// endGrace is how long a handler has to receive the end itself, behind the last message: one that does has done with
// that message by then.
const endGrace = time.Second

// receiveEnd calls Receive, which ends the session, once all that came before is taken and endGrace has passed: a
// handler that only sends, or waits for Done, does not call it. Before that the handler may.
func (r *receiver) receiveEnd() {
	s := r.session.Load()
	for r.taken.Load() < r.whole {
		select {
		case <-r.took:
		case <-r.in.closed:
			return
		}
	}
	grace := time.NewTimer(endGrace)
	defer grace.Stop()
	select {
	case <-grace.C:
		_, _ = s.Receive()
	case <-r.in.closed:
	}
}
