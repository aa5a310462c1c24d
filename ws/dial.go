package ws

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
)

// DialOptions is what [Dial] can be told besides a libnet.Dialer. The zero value is the default.
type DialOptions struct {
	// Text is HandlerOptions.Text for what this side sends.
	Text bool

	// Header is sent with the request, for example Authorization.
	Header http.Header

	// Subprotocols are the WebSocket subprotocols to offer.
	Subprotocols []string
}

// Dial connects to a ws, wss, http or https URL, through the proxy that the environment names
// (http.ProxyFromEnvironment), and returns a session. d's NetDialer, TLSConfig and Config apply; o may
// be nil. ctx, and d's HandshakeTimeout, bound the whole of it; neither has a bearing on the session that Dial
// returns. On an error nothing is left open.
func Dial(ctx context.Context, url string, d *libnet.Dialer, o *DialOptions) (*libnet.Session, error) {
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
	ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient:      &http.Client{Transport: up},
		HTTPHeader:      o.Header,
		Subprotocols:    o.Subprotocols,
		CompressionMode: websocket.CompressionDisabled,
		OnPingReceived:  func(context.Context, []byte) bool { return up.link.answersPing() },
	})
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("libnet: ws: %w", err)
	}
	up.link.adopt()
	c := newConn(ws, up.link, true, &protocols{text: o.Text})
	s, err := d.NewSession(c)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	c.session.Store(s)
	return s, nil
}

// newTransport returns one for a single request. It speaks no HTTP/2, over which there is no upgrade.
func newTransport(d *libnet.Dialer) *http.Transport {
	t := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: d.NetDialer.DialContext,
	}
	if d.TLSConfig != nil {
		t.TLSClientConfig = d.TLSConfig.Clone()
		t.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	return t
}

// A clientUpgrade puts a link between the connection and the library.
type clientUpgrade struct {
	transport *http.Transport
	link      *link
}

func (u *clientUpgrade) RoundTrip(r *http.Request) (*http.Response, error) {
	var conn net.Conn
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { conn = info.Conn }}
	response, err := u.transport.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		return response, err
	}
	if body, ok := response.Body.(io.ReadWriteCloser); ok {
		u.link = newLink(conn, body)
		response.Body = u.link
	}
	return response, nil
}
