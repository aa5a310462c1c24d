package hostile

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet/internal/testkit"
)

// A client is a peer that behaves.
type client interface {
	send(msg []byte) error
	receive() ([]byte, error)
	close()
}

func (r *rig) dial() (client, error) {
	if !ownListener(r.mode) {
		return dialWebSocket(r.listener.Addr().String())
	}
	var conn net.Conn
	var err error
	if r.pipes != nil {
		conn, err = r.pipes.Dial()
	} else {
		conn, err = net.Dial(r.listener.Addr().Network(), r.listener.Addr().String())
	}
	if err == nil && overTLS(r.mode) {
		conn = tls.Client(conn, r.peerTLS())
	}
	if err == nil && testkit.IsWeb(r.transport) {
		conn = &upgradingConn{Conn: conn}
	}
	return frameClient{conn}, err
}

// An upgradingConn asks for a WebSocket with its first use, as a tls.Conn does its handshake: a server that does not
// answer holds up no dial.
type upgradingConn struct {
	net.Conn
	once sync.Once
	web  net.Conn
	err  error
}

func (c *upgradingConn) upgraded() (net.Conn, error) {
	c.once.Do(func() { c.web, c.err = testkit.Upgrade(c.Conn) })
	return c.web, c.err
}

func (c *upgradingConn) Write(p []byte) (int, error) {
	web, err := c.upgraded()
	if err != nil {
		return 0, err
	}
	return web.Write(p)
}

func (c *upgradingConn) Read(p []byte) (int, error) {
	web, err := c.upgraded()
	if err != nil {
		return 0, err
	}
	return web.Read(p)
}

type frameClient struct{ conn net.Conn }

func (c frameClient) send(msg []byte) error {
	_ = c.conn.SetDeadline(time.Now().Add(inTime))
	_, err := c.conn.Write(appendFrame(nil, msg))
	return err
}

func (c frameClient) receive() ([]byte, error) {
	_ = c.conn.SetDeadline(time.Now().Add(inTime))
	return (&plain{rw: c.conn, b: new(bomb)}).Receive()
}

func (c frameClient) close() { _ = c.conn.Close() }

type webClient struct{ conn *websocket.Conn }

func dialWebSocket(addr string) (client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), inTime)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+addr, &websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
	if err == nil {
		conn.SetReadLimit(-1)
	}
	return webClient{conn}, err
}

func (c webClient) send(msg []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), inTime)
	defer cancel()
	return c.conn.Write(ctx, websocket.MessageBinary, msg)
}

func (c webClient) receive() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), inTime)
	defer cancel()
	_, msg, err := c.conn.Read(ctx)
	return msg, err
}

func (c webClient) close() {
	if c.conn != nil {
		_ = c.conn.CloseNow()
	}
}

// ask sends a message and waits for its answer, past whatever else the server sends.
func ask(c client, msg string) error {
	if err := c.send([]byte(msg)); err != nil {
		return err
	}
	for {
		got, err := c.receive()
		if err != nil {
			return err
		}
		if string(got) == msg {
			return nil
		}
	}
}

// atEnd reads until the server ends.
func atEnd(c client) error {
	for {
		_, err := c.receive()
		var timeout net.Error
		switch {
		case err == nil:
		case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
			return err
		default:
			return io.EOF
		}
	}
}
