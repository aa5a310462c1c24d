package ws

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/usercode"
)

// DialOptions is what [Dial] can be told besides a libnet.Dialer. The zero value is the default.
type DialOptions struct {
	// Text is HandlerOptions.Text for what this side sends.
	Text bool

	// CompressFrom offers compression, if it is above 0, and is HandlerOptions.CompressFrom for what this side sends
	// where the server agrees. Dial fails where the server agrees to what was not offered.
	CompressFrom int

	// Header is sent with the request, for example Authorization.
	Header http.Header

	// Subprotocols are the WebSocket subprotocols to offer. Which was agreed on, Subprotocol tells.
	Subprotocols []string
}

// Dial connects to a ws, wss, http or https URL, through the proxy that the environment names
// (http.ProxyFromEnvironment), and returns a session. d's NetDialer, TLSConfig and Config apply; o may
// be nil. ctx, and d's HandshakeTimeout, bound the whole of it; neither has a bearing on the session that Dial
// returns. On an error nothing is left open; it wraps a [*HandshakeError] if the server has answered.
//
// Ten redirects are followed at the most, and none from TLS to a connection without: such a one is the HandshakeError.
func Dial(ctx context.Context, url string, d *libnet.Dialer, o *DialOptions) (*libnet.Session, error) {
	ctx = usercode.Context(ctx, "ws.Dial")
	if d == nil || usercode.IsMissing(d.Protocol) {
		return nil, errors.New("libnet: ws: Dial without a Protocol in its Dialer")
	}
	if o == nil {
		o = new(DialOptions)
	}
	if d.HandshakeTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d.HandshakeTimeout, libnet.ErrHandshakeTimeout)
		defer cancel()
	}
	transport := newTransport(d)
	defer transport.CloseIdleConnections() // of a server that did not agree to upgrade
	up := &clientUpgrade{transport: transport}
	ws, response, err := websocket.Dial(causeless{ctx}, url, &websocket.DialOptions{
		HTTPClient:      &http.Client{Transport: up, CheckRedirect: followRedirect},
		HTTPHeader:      o.Header,
		Subprotocols:    o.Subprotocols,
		CompressionMode: o.offer(),
	})
	if err != nil {
		return nil, fmt.Errorf("libnet: ws: %w", dialError(ctx, response, err))
	}
	agreed, err := o.agreement(response, ws.Subprotocol())
	if err != nil {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("libnet: ws: %w", dialError(ctx, response, err))
	}
	c := newConn(up.take(), nil, &protocols{text: o.Text, compressFrom: o.CompressFrom}, agreed)
	_ = ws.CloseNow() // its part was the handshake
	s, err := d.NewSession(c)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	c.begin()
	return s, nil
}

// agreement is what a server has agreed on, which may be what was not offered.
func (o *DialOptions) agreement(response *http.Response, subprotocol string) (agreement, error) {
	deflates, err := agreesToDeflate(response.Header[extensionsField])
	return agreement{spelledAs(o.Subprotocols, subprotocol), deflates}, err
}

// A causeless context says of its end no more than that: a cause, which may be the user's, would go into the texts of
// others' errors. dialError has it.
type causeless struct{ context.Context }

// Value does not find what package context has a cause in.
func (c causeless) Value(key any) any {
	value := c.Context.Value(key)
	if _, is := value.(context.Context); is {
		return nil
	}
	return value
}

// maxRedirects is net/http's own number, which it does not keep to where it is asked about each.
const maxRedirects = 10

// followRedirect makes a redirect the answer that is not to be followed: what was to go over TLS does not go without.
func followRedirect(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects || via[len(via)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return http.ErrUseLastResponse
	}
	return nil
}

// offer is the compression of which the WebSocket library is to speak in the request.
func (o *DialOptions) offer() websocket.CompressionMode {
	if o.CompressFrom > 0 {
		return websocket.CompressionNoContextTakeover
	}
	return websocket.CompressionDisabled
}

// newTransport returns one for a single request. It speaks no HTTP/2, over which there is no upgrade.
func newTransport(d *libnet.Dialer) *http.Transport {
	config := d.TLSConfig
	if config == nil { // for wss all the same
		config = new(tls.Config)
	}
	config = sockets.GuardKeyLog(config).Clone()
	config.NextProtos = []string{"http/1.1"}
	dialer := sockets.GuardDialer(&d.NetDialer, panicInDial)
	t := &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		DialContext:     dialer.DialContext,
		TLSClientConfig: config,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialTLS(ctx, network, address, dialing{dialer, config, d.HandshakeTimeout == 0})
		},
	}
	if d.HandshakeTimeout == 0 { // for a handshake through a proxy, which is net/http's own
		t.TLSHandshakeTimeout = sockets.TLSTimeout
	}
	return t
}

var errServerSaysNoTLS = fmt.Errorf("%w: %s", libnet.ErrHandshakeTimeout, sockets.NoTLSAnswer)

// dialing is what dialTLS is to know of a libnet.Dialer.
type dialing struct {
	dialer  *net.Dialer
	config  *tls.Config
	bounded bool // by sockets.TLSTimeout
}

// dialTLS is what package net/http does itself through a proxy, and does then on a goroutine of its own, on which a
// function of the config's that panics ends the process.
func dialTLS(ctx context.Context, network, address string, d dialing) (net.Conn, error) {
	conn, err := d.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if d.bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, sockets.TLSTimeout, errServerSaysNoTLS)
		defer cancel()
	}
	config := d.config
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	secured := tls.Client(conn, config)
	if err := sockets.Handshake(ctx, secured, panicInHandshake); err != nil {
		_ = conn.Close()
		if context.Cause(ctx) == errServerSaysNoTLS {
			err = errServerSaysNoTLS
		}
		return nil, err
	}
	return secured, nil
}

func panicInHandshake(value any) error { return panicIn("TLS handshake", value) }
func panicInDial(value any) error      { return panicIn("function of the NetDialer", value) }

// panicIn calls no method of value, which might panic in its turn.
func panicIn(what string, value any) error {
	text, ok := value.(string)
	if !ok {
		text = fmt.Sprintf("a %T", value)
	}
	return fmt.Errorf("%w in a %s: %s", libnet.ErrPanic, what, text)
}

// A clientUpgrade keeps hold of the connection that the WebSocket library has upgraded.
type clientUpgrade struct {
	transport *http.Transport
	upgraded  *upgradedBody // nil before
}

// An upgradedBody is the body of the answer: the library closes it, until it is taken. For the library there is nothing
// in it: of an answer that is wrong it would wait for some.
type upgradedBody struct {
	io.ReadWriteCloser
	conn  net.Conn
	taken atomic.Bool
}

func (*upgradedBody) Read([]byte) (int, error) { return 0, io.EOF }

func (b *upgradedBody) Close() error {
	if b.taken.Load() {
		return nil
	}
	return b.ReadWriteCloser.Close()
}

func (u *clientUpgrade) RoundTrip(r *http.Request) (*http.Response, error) {
	var conn net.Conn
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { conn = info.Conn }}
	response, err := u.transport.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		return response, err
	}
	if body, ok := response.Body.(io.ReadWriteCloser); ok {
		u.upgraded = &upgradedBody{ReadWriteCloser: body, conn: conn}
		response.Body = u.upgraded
	}
	return response, nil
}

// take makes the connection the caller's.
func (u *clientUpgrade) take() *link {
	u.upgraded.taken.Store(true)
	return newLink(u.upgraded.conn, u.upgraded.ReadWriteCloser, true)
}
