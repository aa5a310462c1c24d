package libnet

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/usercode"
)

// A Protocol makes the codec of each session.
//
// NewCodec is called once a session, by the first goroutine that needs the codec and never by the
// accept loop, so one that blocks delays nobody else. The rw it gets from a [Server] or [Dialer] is
// the session's own buffered stream: however small a codec's reads and writes are, they cost one
// system call a batch. It also has the methods of [Stream].
type Protocol interface {
	NewCodec(rw io.ReadWriter) Codec
}

// ProtocolFunc lets a plain function be a [Protocol].
type ProtocolFunc func(rw io.ReadWriter) Codec

// NewCodec calls f.
func (f ProtocolFunc) NewCodec(rw io.ReadWriter) Codec { return f(rw) }

// A Codec turns bytes into messages and back. Session calls Receive from one goroutine at a time and
// Send from one goroutine at a time; the two may overlap, and Close may overlap both.
//
// Receive answers [io.EOF] when the peer ended between two frames and [io.ErrUnexpectedEOF] when it
// ended inside one. Send writes one frame. An error of Send for which errors.Is reports [ErrEncode]
// or [ErrFrameTooLarge] says that nothing was written. Close closes what the codec was made from,
// if that is an [io.Closer]; it may be called more than once, and by several goroutines.
type Codec interface {
	Receive() ([]byte, error)
	Send(msg any) error
	Close() error
}

// Stream is what the rw handed to [Protocol.NewCodec] offers beyond reading and writing, when it
// comes from a [Server] or a [Dialer].
//
// What is written while the codec's Send runs is a part of that message, but for what the goroutine writes that is in the codec's
// Receive: that goes by itself, as all does that is written at another time. Close ends the session, and does not wait for its
// close callbacks.
type Stream interface {
	io.ReadWriteCloser

	// MaxMessage is Config.MaxMessage as the user set it: 0 where it was left to the codec.
	MaxMessage() int
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

// FrameAppender is an optional interface of a [Codec]: it encodes without the connection. A session
// whose codec has it encodes straight into its send queue, and a broadcast encodes once for all.
//
// AppendFrame appends one whole frame to dst. With an error it returns dst as it was. It keeps
// neither argument, depends on nothing but them, and may be called by several goroutines at a time. Of what it returns, the memory of
// dst is the session's, and that of other sessions later: one that kept dst and wrote to it would change frames of any of them. A
// frame that it puts elsewhere is copied, but for one above 128 KiB that Send queues: it may change it only when that is written.
type FrameAppender interface {
	AppendFrame(dst []byte, msg any) ([]byte, error)
}

// FrameParser is an optional interface of a [Codec]: it decodes without the connection. A session
// whose codec has it cuts frames from its read buffer and does not call Receive; event mode
// ([Server.ServeMessages]) needs it.
//
// ParseFrame returns the first frame's payload, usually a part of src and never memory that the codec uses again, and the frame's
// whole length n. n == 0 without an error says that src ends inside the frame. It must tell a frame that is too
// large from its header alone. It depends on nothing but src.
//
// A codec may also have the method ResumeFrame(src []byte, seen int) (payload []byte, n int, err error): ParseFrame for a src whose first
// seen bytes were found, by themselves, to be no whole frame. A session asks it for the rest of a frame that arrives in pieces.
type FrameParser interface {
	ParseFrame(src []byte) (payload []byte, n int, err error)
}

// FrameSplitter is an optional interface of a [Codec]: it says where a frame's payload already lies
// in memory, so that a large one is written from there (writev) and not copied first.
//
// SplitFrame appends the frame's header to dst and returns the payload as the message holds it.
// A nil payload says that this message must be encoded by AppendFrame. With an error the header is dst as it was, or nil.
type FrameSplitter interface {
	SplitFrame(dst []byte, msg any) (header, payload []byte, err error)
}

// MessageConn is an optional interface of a [net.Conn] that becomes a session: a transport that keeps
// messages apart by itself, as WebSocket does, and so has no use for the protocol's framing.
type MessageConn interface {
	net.Conn

	// WrapProtocol returns the protocol to use on this connection in the place of p. It is called once,
	// before NewCodec. Connections whose frames are the same return values that are equal: a broadcast
	// then encodes once for all of them.
	WrapProtocol(p Protocol) Protocol
}

// Serve listens on address and returns a server that has not begun to accept: set the fields of
// [Server] that should differ from their defaults, then call [Server.Accept] in a loop, or
// [Server.Serve], or [Server.ServeMessages]. The networks are those of [net.Listen] but "unixpacket", which keeps
// messages apart where libnet needs a stream. On "unix" the socket that a server left behind when it ended does not
// keep a new one from listening; the end of a server removes its socket, but not one that another server listens on by then.
//
// sendChanSize is how many messages a session queues before Send answers [ErrSessionBlocked];
// with 0, Send writes before it returns. It is Config.SendQueue.
func Serve(network, address string, protocol Protocol, sendChanSize int) (*Server, error) {
	if usercode.IsMissing(protocol) {
		return nil, errors.New("libnet: Serve without a protocol")
	}
	listener, err := sockets.Listen(network, address)
	if err != nil {
		return nil, err
	}
	return NewServer(listener, protocol, sendChanSize), nil
}

// Connect dials address and returns a session on the connection, as a [Dialer] with these settings
// and [context.Background] does. The system's own connect timeout is its bound.
func Connect(network, address string, protocol Protocol, sendChanSize int) (*Session, error) {
	return ConnectTimeout(network, address, 0, protocol, sendChanSize)
}

// ConnectTimeout is [Connect] with a bound on how long dialling may take; 0 means no bound but the
// system's.
func ConnectTimeout(network, address string, timeout time.Duration, protocol Protocol, sendChanSize int) (*Session, error) {
	d := Dialer{Protocol: protocol}
	d.SendQueue = sendChanSize
	d.NetDialer.Timeout = timeout
	return d.Dial(context.Background(), network, address)
}
