package libnet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/usercode"
)

// A Dialer makes client sessions. Its zero value needs only a Protocol. Dial may be called by any
// goroutine; the fields are not to be changed while it runs.
type Dialer struct {
	Config
	NetDialer net.Dialer
	TLSConfig *tls.Config // nil: no TLS. An empty ServerName is taken from the address.
	Protocol  Protocol
}

// Dial connects, completes the TLS handshake if there is a TLSConfig, and has the protocol make the
// codec. ctx bounds all of it, NetDialer's timeout the connecting, and HandshakeTimeout the TLS handshake (15 s where that is 0) and the
// codec's making, each; ctx and HandshakeTimeout have no bearing on the session that it returns. On an error nothing is left open.
func (d *Dialer) Dial(ctx context.Context, network, address string) (*Session, error) {
	ctx = usercode.Context(ctx, "Dial")
	if err := d.check("Dial"); err != nil {
		return nil, err
	}
	conn, err := d.NetDialer.DialContext(ctx, network, address)
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
	if !stop() || !s.hasCodec.Load() {
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
