package main

import (
	"io"
	"net"

	"github.com/libnet-go/libnet"
)

// wires makes connections, those of a listener among them, bring a codec that knows them.
type wires struct {
	net.Listener
	buffer int
}

// Accept makes it a net.Listener of wires.
func (w *wires) Accept() (net.Conn, error) { return w.wire(w.Listener.Accept()) }

func (w *wires) wire(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	return &wire{conn.(*net.TCPConn), w.buffer}, nil
}

// A wire is a libnet.MessageConn, by WrapProtocol, and the protocol that this names.
type wire struct {
	*net.TCPConn
	buffer int
}

func (w *wire) WrapProtocol(libnet.Protocol) libnet.Protocol { return w }

func (w *wire) NewCodec(rw io.ReadWriter) libnet.Codec {
	return &anything{TCPConn: w.TCPConn, stream: rw, buf: make([]byte, w.buffer)}
}

// anything is a codec to which what one read brings is a message, and so is the end.
type anything struct {
	*net.TCPConn
	stream io.ReadWriter
	buf    []byte // has the message that was received last
	ended  bool
}

func (c *anything) Receive() ([]byte, error) {
	n, err := c.stream.Read(c.buf)
	if c.ended = err == io.EOF; c.ended {
		return c.buf[:1], nil // libnet takes no message that is empty from a codec whose stream has ended
	}
	return c.buf[:n], err
}

func (c *anything) Send(msg any) error {
	_, err := c.stream.Write(msg.([]byte))
	return err
}

// AppendFrame makes it a libnet.FrameAppender: a session encodes without Send.
func (c *anything) AppendFrame(dst []byte, msg any) ([]byte, error) {
	return append(dst, msg.([]byte)...), nil
}
