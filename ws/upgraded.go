package ws

import (
	"io"
	"net"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/sockets"
)

// An upgraded is a connection that was agreed to be a WebSocket, on its way from net/http to the server.
type upgraded struct {
	net.Conn
	input     []byte // read beyond the request
	handler   *messagesHandler
	request   string
	beyond    *beyond
	agreement agreement
}

var _ libnet.MessageConn = (*upgraded)(nil)

// WrapProtocol implements libnet.MessageConn.
func (c *upgraded) WrapProtocol(p libnet.Protocol) libnet.Protocol { return c.handler.wrap(p) }

// Upgraded returns what the session runs on, and what comes before what that reads.
func (c *upgraded) Upgraded(inside.Call) (conn net.Conn, input []byte) { return c.Conn, c.input }

// Shared has the handler keep what its sessions share on the server's side.
func (c *upgraded) Shared(make func() any, _ inside.Call) any {
	c.handler.sharedOnce.Do(func() { c.handler.shared = make() })
	return c.handler.shared
}

// Handshake makes the codec of the session whose stream rw is. There is nothing left to say.
func (c *upgraded) Handshake(rw io.ReadWriter, _ inside.Call) (codec libnet.Codec, answer []byte, err error) {
	made, err := c.handler.protocol.newCodec(rw.(sessionStream), c.agreement)
	if err != nil {
		return nil, nil, err
	}
	made.request, made.beyond = c.request, c.beyond
	return made, nil, nil
}

const (
	// refusalTimeout is how long a close frame may wait for room, of a connection that becomes no session.
	refusalTimeout = 100 * time.Millisecond

	// refusalLinger is how long the connection is read on behind it: closed with input unread, it would be reset,
	// and the peer might never see the close frame.
	refusalLinger = 500 * time.Millisecond
)

// Refuse tells the peer why no session came of it, and closes the connection, whose methods may panic.
func (c *upgraded) Refuse(reason error, _ inside.Call) {
	defer func() {
		_ = recover()
		_ = guard(c.Conn.Close)
	}()
	frame := boundedCloseFrame(reason, false)
	_ = c.SetDeadline(time.Now().Add(refusalTimeout))
	if _, err := c.Write(frame); err != nil {
		return
	}
	half := sockets.HalfClose(sockets.Transport(c.Conn))
	if half == nil || half.CloseWrite() != nil {
		return
	}
	_ = c.SetDeadline(time.Now().Add(refusalLinger))
	_, _ = io.Copy(io.Discard, c.Conn)
}
