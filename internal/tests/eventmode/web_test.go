package eventmode

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/ws"
)

// webModes are the ways to serve WebSockets on a server's own listener. What ws.Protocol's sessions have beyond other
// sessions is tested in package ws: here it is what they share.
var webModes = []testkit.Mode{
	webMode("WebSocket and Serve", "tcp", testkit.ReceiveLoop),
	webMode("WebSocket", "tcp", (*libnet.Server).ServeMessages),
	webMode("WebSocket with TLS and Serve", "tls", testkit.ReceiveLoop),
	webMode("WebSocket with TLS", "tls", (*libnet.Server).ServeMessages),
}

// allModes are those of package testkit and these, loopModes those of them that have no goroutine a session.
var (
	allModes  = slices.Concat(testkit.Modes, webModes)
	loopModes = append(slices.Clip(testkit.LoopModes), webModes[1], webModes[3])
)

func webMode(name, network string, serve func(*libnet.Server, libnet.MessageHandler) error) testkit.Mode {
	return testkit.Mode{
		Name: name, Network: network, Protocol: testkit.Frames, Serve: serve,
		Served: ws.Protocol(testkit.Frames, nil), Client: upgrade,
	}
}

// A webConn is a client's connection on which each frame of testkit.Frames is a WebSocket message, however it is split.
type webConn struct {
	net.Conn
	in *bufio.Reader

	out struct {
		sync.Mutex
		header []byte // of the frame that is being written, as far as it has come
		left   int    // of its payload
	}
	unread  []byte // header of the frame that is being read
	inFrame int    // bytes of its payload that are still to be read
}

const upgradeRequest = "GET / HTTP/1.1\r\nHost: libnet.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

func upgrade(conn net.Conn) (net.Conn, error) {
	c := &webConn{Conn: conn, in: bufio.NewReader(conn)}
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

const (
	wholeBinary = 0x82
	closeOpcode = 0x8
	maskBit     = 0x80
	lengthIn16  = 126
	lengthIn64  = 127
)

// Write masks with zeros, which change nothing. A frame that has begun here has begun there.
func (c *webConn) Write(p []byte) (int, error) {
	c.out.Lock()
	defer c.out.Unlock()
	var frames []byte
	for rest := p; len(rest) > 0; {
		if c.out.left > 0 {
			n := min(c.out.left, len(rest))
			frames, rest = append(frames, rest[:n]...), rest[n:]
			c.out.left -= n
			continue
		}
		if len(c.out.header) == 0 {
			frames = append(frames, wholeBinary)
		}
		c.out.header, rest = append(c.out.header, rest[0]), rest[1:]
		if len(c.out.header) == testkit.HeaderSize {
			c.out.left = int(binary.BigEndian.Uint32(c.out.header))
			c.out.header = c.out.header[:0]
			frames = append(appendLength(frames, c.out.left), 0, 0, 0, 0)
		}
	}
	if _, err := c.Conn.Write(frames); err != nil {
		return 0, err
	}
	return len(p), nil
}

func appendLength(dst []byte, n int) []byte {
	switch {
	case n < lengthIn16:
		return append(dst, maskBit|byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, maskBit|lengthIn16), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, maskBit|lengthIn64), uint64(n))
}

// CloseWrite ends the output as WebSocket does, at the boundary of two frames.
func (c *webConn) CloseWrite() error {
	c.out.Lock()
	defer c.out.Unlock()
	if c.out.left == 0 && len(c.out.header) == 0 {
		_, err := c.Conn.Write([]byte{wholeBinary&0xf0 | closeOpcode, maskBit, 0, 0, 0, 0})
		return err
	}
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// Read returns io.EOF for a close frame.
func (c *webConn) Read(p []byte) (n int, err error) {
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

func (c *webConn) readHeader() error {
	var header [2]byte
	if _, err := io.ReadFull(c.in, header[:]); err != nil {
		return err
	}
	if header[0]&0xf == closeOpcode {
		return io.EOF
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
	c.unread = length[8-testkit.HeaderSize:]
	return nil
}
