package libnet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
// What is written while the codec's Send runs is a part of that message, but for what the goroutine writes that is in
// the codec's Receive: that goes by itself, as all does that is written at another time. Close ends the session, and
// does not wait for its close callbacks.
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
// AppendFrame appends one whole frame to dst. With an error it returns dst as it was. It keeps neither argument,
// depends on nothing but them, and may be called by several goroutines at a time. Of what it returns, the memory of dst
// is the session's, and that of other sessions later: one that kept dst and wrote to it would change frames of any of
// them. A frame that it puts elsewhere is copied, but for one above 128 KiB that Send queues: it may change it only
// when that is written.
type FrameAppender interface {
	AppendFrame(dst []byte, msg any) ([]byte, error)
}

// FrameParser is an optional interface of a [Codec]: it decodes without the connection. A session
// whose codec has it cuts frames from its read buffer and does not call Receive; event mode
// ([Server.ServeMessages]) needs it.
//
// ParseFrame returns the first frame's payload, usually a part of src and never memory that the codec uses again, and
// the frame's whole length n. n == 0 without an error says that src ends inside the frame. It must tell a frame that is
// too large from its header alone. It depends on nothing but src.
//
// A codec may also have the method ResumeFrame(src []byte, seen int) (payload []byte, n int, err error): ParseFrame for
// a src whose first seen bytes were found, by themselves, to be no whole frame. A session asks it for the rest of a
// frame that arrives in pieces.
type FrameParser interface {
	ParseFrame(src []byte) (payload []byte, n int, err error)
}

// FrameSplitter is an optional interface of a [Codec]: it says where a frame's payload already lies
// in memory, so that a large one is written from there (writev) and not copied first.
//
// SplitFrame appends the frame's header to dst and returns the payload as the message holds it. A nil payload says that
// this message must be encoded by AppendFrame. With an error the header is dst as it was, or nil.
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

// Serve listens on address and returns a server that has not begun to accept: set the fields of [Server] that should
// differ from their defaults, then call [Server.Accept] in a loop, or [Server.Serve], or [Server.ServeMessages]. The
// networks are those of [net.Listen] but "unixpacket", which keeps messages apart where libnet needs a stream. On
// "unix" the socket that a server left behind when it ended does not keep a new one from listening; the end of a server
// removes its socket, but not one that another server listens on by then.
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

// A Dialer makes client sessions. Its zero value needs only a Protocol. Dial may be called by any
// goroutine; the fields are not to be changed while it runs.
type Dialer struct {
	Config
	NetDialer net.Dialer
	TLSConfig *tls.Config // nil: no TLS. An empty ServerName is taken from the address.
	Protocol  Protocol
}

// Dial connects, completes the TLS handshake if there is a TLSConfig, and has the protocol make the codec. ctx bounds
// all of it, NetDialer's timeout the connecting, and HandshakeTimeout the TLS handshake (15 s where that is 0) and the
// codec's making, each; ctx and HandshakeTimeout have no bearing on the session that it returns. On an error nothing is
// left open.
func (d *Dialer) Dial(ctx context.Context, network, address string) (*Session, error) {
	ctx = usercode.Context(ctx, "Dial")
	if err := d.check("Dial"); err != nil {
		return nil, err
	}
	dialer := sockets.GuardDialer(&d.NetDialer, func(value any) error { return caughtPanic("function of the NetDialer", value) })
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := setSocketOptions(conn, &d.Config); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if d.TLSConfig != nil {
		if conn, err = d.secure(ctx, conn, address); err != nil {
			return nil, err
		}
	}
	return d.newSession(ctx, conn)
}

// check returns an error for a Dialer that cannot make a session.
func (d *Dialer) check(call string) error {
	switch {
	case d == nil:
		return fmt.Errorf("libnet: %s of a nil Dialer", call)
	case usercode.IsMissing(d.Protocol):
		return fmt.Errorf("libnet: %s without a Protocol", call)
	}
	return d.Config.check()
}

// NewSession makes a client session of a connection that came from elsewhere: a proxy, a test's pipe. NetDialer
// and TLSConfig do not apply to it. HandshakeTimeout bounds the codec's making. With an error conn is closed.
func (d *Dialer) NewSession(conn net.Conn) (*Session, error) {
	if isNil(conn) {
		return nil, errors.New("libnet: NewSession with a nil connection")
	}
	if err := d.check("NewSession"); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if err := setSocketOptions(conn, &d.Config); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return d.newSession(context.Background(), conn)
}

func (d *Dialer) newSession(ctx context.Context, conn net.Conn) (*Session, error) {
	protocol, err := wrapProtocol(conn, d.Protocol)
	if err != nil {
		discard(conn, err)
		return nil, err
	}
	config := d.Config
	config.HandshakeTimeout = 0 // has done its work: a server need not send anything
	o := newOwner(config, protocol, nil, new(flusher))
	s := newSession(o, conn)
	if s.sock != nil {
		o.flusher = &dialFlusher
	}
	ctx, cancel := d.withinHandshake(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { s.terminate(context.Cause(ctx)) })
	if made := s.startCodec(); made != nil {
		<-made // or ctx has ended the session: NewCodec may not return
	}
	if !stop() || !s.hasCodec() {
		s.terminate(context.Cause(ctx))
		return nil, s.Err()
	}
	s.startClock()
	return s, nil
}

// wrapProtocol returns the protocol to use on conn in the place of p.
func wrapProtocol(conn net.Conn, p Protocol) (wrapped Protocol, err error) {
	m, ok := conn.(MessageConn)
	if !ok {
		return p, nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = caughtPanic("connection", r)
		}
	}()
	if wrapped = m.WrapProtocol(p); isNil(wrapped) {
		return nil, errors.New("libnet: the connection made no protocol")
	}
	return wrapped, nil
}

// errServerSaysNoTLS is what the default bound of a TLS handshake ends it for.
var errServerSaysNoTLS = explainedTimeout(ErrHandshakeTimeout, sockets.NoTLSAnswer)

func (d *Dialer) withinTLS(ctx context.Context) (context.Context, context.CancelFunc) {
	if timeout := d.tlsTimeout(); timeout > 0 {
		return context.WithTimeoutCause(ctx, timeout, errServerSaysNoTLS)
	}
	return d.withinHandshake(ctx)
}

func (d *Dialer) withinHandshake(ctx context.Context) (context.Context, context.CancelFunc) {
	if timeout := d.handshakeTimeout(); timeout > 0 {
		return context.WithTimeoutCause(ctx, timeout, ErrHandshakeTimeout)
	}
	return context.WithCancel(ctx)
}

func (d *Dialer) secure(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	config := sockets.GuardKeyLog(d.TLSConfig)
	if config.ServerName == "" && !config.InsecureSkipVerify {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		config = config.Clone()
		config.ServerName = host
	}
	ctx, cancel := d.withinTLS(ctx)
	defer cancel()
	secured := tls.Client(conn, config)
	if err := sockets.Handshake(ctx, secured, func(value any) error { return caughtPanic("TLS handshake", value) }); err != nil {
		_ = conn.Close()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return secured, nil
}
