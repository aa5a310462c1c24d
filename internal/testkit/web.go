package testkit

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/ws"
)

// IsWeb reports whether a network is one of "ws" and "wss", whose server speaks WebSocket on its own listener.
func IsWeb(network string) bool { return network == "ws" || network == "wss" }

// HasTLS reports whether a network has TLS.
func HasTLS(network string) bool { return network == "tls" || network == "wss" }

// Spoken is what a server on a network speaks where its messages are p's.
func Spoken(network string, p libnet.Protocol) libnet.Protocol {
	if IsWeb(network) {
		return ws.Protocol(p, nil)
	}
	return p
}

// A WebConn is a client's connection on which each frame of Frames is a WebSocket message, however it is split.
type WebConn struct {
	net.Conn
	in *bufio.Reader

	out struct {
		sync.Mutex
		header []byte // of the frame that is being written, as far as it has come
		left   int    // of its payload
		err    error  // nothing more is written: a write has failed, perhaps within a frame, or the close frame is out
	}
	unread  []byte // header of the frame that is being read
	inFrame int    // bytes of its payload that are still to be read
	code    uint16
}

const upgradeRequest = "GET / HTTP/1.1\r\nHost: libnet.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// Upgrade does a client's part of the handshake. With an error it has closed conn.
func Upgrade(conn net.Conn) (net.Conn, error) {
	c := &WebConn{Conn: conn, in: bufio.NewReader(conn)}
	_, err := io.WriteString(conn, upgradeRequest)
	if err == nil {
		var response *http.Response
		if response, err = http.ReadResponse(c.in, nil); err == nil && response.StatusCode != http.StatusSwitchingProtocols {
			err = errors.New(response.Status)
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// NoCode is what stands for the code of a close frame that has none (RFC 6455, 7.4.1).
const NoCode = 1005

const (
	wholeBinary = 0x82
	closeOpcode = 0x8
	maskBit     = 0x80
	lengthIn16  = 126
	lengthIn64  = 127
)

// Write masks with zeros, which change nothing. A frame that has begun here has begun there.
func (c *WebConn) Write(p []byte) (n int, err error) {
	c.out.Lock()
	defer c.out.Unlock()
	if c.out.err != nil {
		return 0, c.out.err
	}
	var frames []byte
	var ends []reached
	for rest := p; len(rest) > 0; {
		if c.out.left > 0 {
			n := min(c.out.left, len(rest))
			frames, rest = append(frames, rest[:n]...), rest[n:]
			c.out.left -= n
			ends = append(ends, reached{len(frames), len(p) - len(rest)})
			continue
		}
		if len(c.out.header) == 0 {
			frames = append(frames, wholeBinary)
		}
		c.out.header, rest = append(c.out.header, rest[0]), rest[1:]
		if len(c.out.header) == HeaderSize {
			c.out.left = int(binary.BigEndian.Uint32(c.out.header))
			c.out.header = c.out.header[:0]
			frames = append(appendLength(frames, c.out.left), 0, 0, 0, 0)
			ends = append(ends, reached{len(frames), len(p) - len(rest)})
		}
	}
	written, err := c.Conn.Write(frames)
	if err == nil {
		return len(p), nil
	}
	c.out.err = err
	for _, end := range ends {
		if end.wire <= written {
			n = end.payload
		}
	}
	return n, err
}

// reached is how much of what is written a part of p comes to.
type reached struct{ wire, payload int }

func appendLength(dst []byte, n int) []byte {
	switch {
	case n < lengthIn16:
		return append(dst, maskBit|byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, maskBit|lengthIn16), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, maskBit|lengthIn64), uint64(n))
}

// NetConn is the connection that carries the WebSocket.
func (c *WebConn) NetConn() net.Conn { return c.Conn }

// CloseCode is that of the close frame that Read has met: 0 for none, NoCode for one without a code.
func (c *WebConn) CloseCode() uint16 { return c.code }

// CloseWrite ends the output as WebSocket does, at the boundary of two frames.
func (c *WebConn) CloseWrite() error {
	c.out.Lock()
	defer c.out.Unlock()
	atBoundary := c.out.left == 0 && len(c.out.header) == 0 && c.out.err == nil
	c.out.err = cmp.Or(c.out.err, error(syscall.EPIPE))
	if atBoundary {
		_, err := c.Conn.Write([]byte{wholeBinary&0xf0 | closeOpcode, maskBit, 0, 0, 0, 0})
		return err
	}
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// Leave closes a client's connection, over WebSocket behind a close frame.
func Leave(conn net.Conn) {
	if web, ok := conn.(*WebConn); ok {
		_ = web.CloseWrite()
	}
	_ = conn.Close()
}

// Socket is the connection of package net below TLS and WebSocket.
func Socket(conn net.Conn) net.Conn {
	for {
		upper, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = upper.NetConn()
	}
}

// Read returns io.EOF for a close frame, and no other end is one.
func (c *WebConn) Read(p []byte) (n int, err error) {
	for len(c.unread) == 0 && c.inFrame == 0 {
		if err := c.readHeader(); err != nil {
			return 0, err
		}
	}
	if len(c.unread) > 0 {
		n = copy(p, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}
	n, err = c.in.Read(p[:min(len(p), c.inFrame)])
	c.inFrame -= n
	return n, err
}

func (c *WebConn) readHeader() error {
	var header [2]byte
	if _, err := io.ReadFull(c.in, header[:]); err == io.EOF {
		return io.ErrUnexpectedEOF
	} else if err != nil {
		return err
	}
	if header[0]&0xf == closeOpcode {
		return c.readClose(int(header[1]))
	}
	var length [8]byte
	size := map[byte]int{lengthIn16: 2, lengthIn64: 8}[header[1]]
	if _, err := io.ReadFull(c.in, length[8-size:]); err != nil {
		return err
	}
	if size == 0 {
		length[7] = header[1]
	}
	c.inFrame = int(binary.BigEndian.Uint64(length[:]))
	c.unread = length[8-HeaderSize:]
	return nil
}

func (c *WebConn) readClose(length int) error {
	payload := make([]byte, length)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		return io.ErrUnexpectedEOF
	}
	c.code = NoCode
	if length >= 2 {
		c.code = binary.BigEndian.Uint16(payload)
	}
	return io.EOF
}
