package ws

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
)

// errNotUTF8 is what RFC 6455, 8.1 wants a connection to fail for.
var errNotUTF8 = errors.New("a text message is not UTF-8")

// A receiver is the receive loop's state. The loop has a goroutine of its own because the library cannot
// stop reading and go on later, which a deadline of Read asks for; and so pings are answered while the
// session is busy.
type receiver struct {
	*conn
	buf       *inbuf // the frame that is arriving; nil between two
	inMessage bool   // the library has the header of a message whose end has not come
	announced bool   // Read was told so
}

func (c *conn) startReceiving() {
	r := &receiver{conn: c}
	if c.inner != nil {
		c.ws.SetReadLimit(c.inner.limit.Load())
	}
	c.link.beforeRead = r.beforeRead
	go r.run()
}

// run receives until something ends the input, and sees the close frame off that the library may have
// answered with before the session learns of the end and closes the connection.
func (r *receiver) run() {
	err := r.loop()
	putInbuf(r.buf)
	end, answered := r.inputError(err)
	if answered {
		r.link.finish(nil)
	}
	r.link.flushAnswers()
	r.in.end(end)
}

func (r *receiver) loop() error {
	for r.in.awaitRoom() {
		typ, from, err := r.ws.Reader(background)
		if err != nil {
			return err
		}
		if err := r.receive(typ, from); err != nil {
			return err
		}
	}
	return nil // closed
}

// receive makes a frame of one message. Its storage grows with what arrives.
func (r *receiver) receive(typ websocket.MessageType, from io.Reader) error {
	r.inMessage, r.announced = true, false
	r.newFrame()
	for {
		b := r.buf.bytes
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := from.Read(b[len(b):cap(b)])
		r.buf.bytes = b[:len(b)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	r.inMessage = false
	return r.deliver(typ)
}

// beforeRead is called when the library has to wait. A message that is late by that is announced with its
// frame's first byte.
func (r *receiver) beforeRead() {
	if !r.inMessage || r.announced {
		return
	}
	r.announced = true
	b := inbufs.Get().(*inbuf)
	b.bytes = append(b.bytes[:0], 0)
	r.in.put(b)
}

func (r *receiver) newFrame() {
	r.buf = inbufs.Get().(*inbuf)
	if cap(r.buf.bytes) < 512 {
		r.buf.bytes = make([]byte, 0, 512)
	}
	r.buf.bytes = append(r.buf.bytes[:0], make([]byte, headerSize)...)
}

func (r *receiver) deliver(typ websocket.MessageType) error {
	b := r.buf
	payload := b.bytes[headerSize:]
	if typ == websocket.MessageText && !utf8.Valid(payload) {
		return errNotUTF8
	}
	binary.BigEndian.PutUint32(b.bytes[lengthAt:], uint32(len(payload)))
	if r.announced {
		b.bytes = b.bytes[1:]
	}
	r.buf = nil
	r.in.put(b)
	return nil
}

// inputError is what Read returns behind the last message when the loop ended with err. answered says that
// the library has written a close frame.
func (r *receiver) inputError(err error) (end error, answered bool) {
	var closed websocket.CloseError
	switch {
	case errors.As(err, &closed):
		switch closed.Code {
		case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
			return io.EOF, true
		}
		return fmt.Errorf("libnet: ws: closed by the peer: %w", closed), true
	case errors.Is(err, websocket.ErrMessageTooBig):
		return libnet.ErrFrameTooLarge, true
	case r.link.readErr != nil:
		return r.link.readErr, false
	case errors.Is(r.link.failed(), os.ErrDeadlineExceeded): // of an answer to a ping
		return libnet.ErrWriteTimeout, false
	case r.link.failed() != nil:
		return r.link.failed(), false
	case err == nil || errors.Is(err, net.ErrClosed):
		return r.opError("read", net.ErrClosed), false
	}
	return fmt.Errorf("%w: %w", libnet.ErrMalformedFrame, err), false
}
