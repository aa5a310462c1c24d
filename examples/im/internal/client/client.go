// Package client is a client of the messenger: it asks the gateway for an access server, logs in, sends each message
// until it is acknowledged, hands out what others say, in order and once, and when its access server dies it goes to
// another.
//
//	c := client.Start(client.Options{
//		Gateway:   "127.0.0.1:7000",
//		User:      1,
//		Token:     func() string { return token },
//		OnMessage: func(m client.Message) { fmt.Println(m.Source, m.Text) },
//	})
//	defer c.Close()
//	err := c.Send(ctx, 2, "hello") // nil: stored
//
// A client has one goroutine, and those of its session.
package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/mux"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/ws"
)

var (
	// ErrReplaced is the end of a client whose user has logged in elsewhere.
	ErrReplaced = errors.New("client: logged in elsewhere")

	// ErrRefused is wrapped by what a method returns for a request that the server will not serve however often it is
	// asked, and is the end of a client whose token is not accepted.
	ErrRefused = errors.New("client: refused")

	// ErrFull is wrapped by what Send and SendGroup return when there is no room for the message: the receiver has too
	// many, or too many of this sender, or the store is full. It is not stored; there may be room in hours or days.
	ErrFull = errors.New("client: no room for the message")

	// ErrClosed is returned after Close.
	ErrClosed = errors.New("client: closed")
)

// A Message is what somebody else said.
type Message struct {
	Source int64 // who
	Target int64 // to whom: this user, or 0 in a group
	Group  int64 // where, or 0 in a direct message
	ID     string
	Text   string
}

// Options is what a client needs: User, Token, and Gateway or Pick. Of the others zero means the default.
type Options struct {
	Gateway string                                    // the gateway's address
	Pick    func(ctx context.Context) (string, error) // instead of Gateway: an access server's address
	User    int64
	Token   func() string // is asked for each login

	// OnMessage is given each message, in order and once, on the client's goroutine, which waits for it.
	OnMessage func(Message)

	// OnState is told when the client is logged in, with the access server's address, and with "" when it no longer
	// is. It is called on the client's goroutine.
	OnState func(server string)

	After int64 // the Current of an earlier client: messages up to it are not handed out again

	MinBackoff, MaxBackoff time.Duration // bounds of the delay before another attempt; default 200 ms and 5 s
	Timeout                time.Duration // an answer that takes longer ends the session; default 8 s
	Keepalive              time.Duration // how often to ask whether anything was missed; default 30 s
	TLS                    *tls.Config   // of the gateway and the access servers; nil: no TLS
	Logger                 *slog.Logger  // default slog.Default()
}

// A Client is one user's. Its methods may be called by any goroutine, but those that take a context not from its
// callbacks: the goroutine that they wait for is the one that they would hold up.
type Client struct {
	o       Options
	link    *reconnect.Client
	name    string // the first part of the messages' ids
	number  atomic.Int64
	current atomic.Int64
	server  atomic.Pointer[string] // where the client is or was logged in

	// Owned by the client's goroutine.
	newest   int64     // version that the server told of
	syncing  bool      // a sync is on its way
	replaced time.Time // when the server said so

	// mu guards the following.
	mu      sync.Mutex
	session *libnet.Session // logged in; nil while there is none
	calls   []*call         // in the order in which they are sent
	changed chan struct{}   // closed when session changes
	err     error           // why the client ended
}

// Start returns a client that connects at once and for ever. It panics without Token, and without Gateway and Pick.
func Start(o Options) *Client {
	if o.Token == nil || o.Pick == nil && o.Gateway == "" {
		panic("client: Start without Token, or without Gateway and Pick")
	}
	byDefault(&o.MinBackoff, 200*time.Millisecond)
	byDefault(&o.MaxBackoff, 5*time.Second)
	byDefault(&o.Timeout, 8*time.Second)
	byDefault(&o.Keepalive, 30*time.Second)
	byDefault(&o.Logger, slog.Default())
	c := &Client{o: o, name: rand.Text()[:12], changed: make(chan struct{})}
	c.current.Store(o.After)
	c.server.Store(new(string))
	c.link = &reconnect.Client{
		Dial:           c.dial,
		OnConnect:      c.logIn,
		Handler:        libnet.MessageHandlerFunc(c.receive),
		OnState:        c.state,
		MinBackoff:     o.MinBackoff,
		MaxBackoff:     o.MaxBackoff,
		AttemptTimeout: o.Timeout,
		HoldMessages:   -1,
		Logger:         o.Logger,
	}
	c.link.Start()
	return c
}

func byDefault[T comparable](set *T, value T) {
	var zero T
	if *set == zero {
		*set = value
	}
}

// Close ends the client and its session. Calls that wait return ErrClosed. A second call does nothing.
func (c *Client) Close() { c.stop(ErrClosed) }

func (c *Client) stop(reason error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = reason
		c.dropLocked()
		c.session = nil
		close(c.changed)
		c.changed = make(chan struct{})
	}
	c.mu.Unlock()
	c.link.Close()
}

// Done returns a channel that is closed when the client has ended, by Close or for good, and calls nobody back any
// more.
func (c *Client) Done() <-chan struct{} { return c.link.Done() }

// Err is why the client ended: ErrClosed, ErrReplaced or ErrRefused; nil before that.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Current is the version up to which messages were handed out, for Options.After.
func (c *Client) Current() int64 { return c.current.Load() }

// Server is the address of the access server that the client is logged in at; "" when it is at none.
func (c *Client) Server() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return ""
	}
	return *c.server.Load()
}

// Ready waits until the client is logged in. It returns ctx's error, or the client's end.
func (c *Client) Ready(ctx context.Context) error {
	for {
		c.mu.Lock()
		up, changed, err := c.session != nil, c.changed, c.err
		c.mu.Unlock()
		switch {
		case err != nil:
			return err
		case up:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Disconnect ends the session, as a broken connection does: the client comes back by itself.
func (c *Client) Disconnect() {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s != nil {
		_ = s.Close()
	}
}

// queue bounds what is on its way to the server; maxCalls leaves room in it for the client's own.
const (
	queue    = 256
	maxCalls = queue - 16
)

// dial asks for an access server and connects to it.
func (c *Client) dial(ctx context.Context) (*libnet.Session, error) {
	pick := c.o.Pick
	if pick == nil {
		pick = func(ctx context.Context) (string, error) { return PickTLS(ctx, c.o.Gateway, c.o.TLS) }
	}
	address, err := pick(ctx)
	if err != nil {
		return nil, err
	}
	c.server.Store(&address)
	d := dialer(c.o.Logger)
	d.TLSConfig = c.o.TLS
	d.SendQueue = queue
	d.IdleTimeout = 3 * c.o.Keepalive
	d.Heartbeat = libnet.Heartbeat{Interval: c.o.Keepalive, Message: c.ping}
	if strings.HasPrefix(address, "ws://") || strings.HasPrefix(address, "wss://") {
		return ws.Dial(ctx, address, d, nil)
	}
	return d.Dial(ctx, "tcp", address)
}

func dialer(log *slog.Logger) *libnet.Dialer {
	d := &libnet.Dialer{Protocol: wire.Protocol()}
	d.MaxMessage = wire.MaxMessage
	d.Logger = log
	return d
}

// asks is the mux of those who ask a gateway.
var asks = mux.New(mux.Proto(wire.CmdError))

// Pick asks the gateway at address for an access server.
func Pick(ctx context.Context, gateway string) (address string, err error) {
	return PickTLS(ctx, gateway, nil)
}

// PickTLS is Pick over TLS, unless config is nil.
func PickTLS(ctx context.Context, gateway string, config *tls.Config) (address string, err error) {
	d := dialer(nil)
	d.TLSConfig = config
	d.Protocol = wire.MuxProtocol(asks)
	s, err := d.Dial(ctx, "tcp", gateway)
	if err != nil {
		return "", err
	}
	defer s.Close()
	answer, err := mux.Call[wire.ReqAccessServer, wire.ResSelectAccessServerForClient](
		ctx, asks.SyncPeer(s), wire.Kind(wire.CmdAccessServer), nil)
	switch {
	case err != nil:
		return "", err
	case answer.ErrCode != wire.CodeOK || answer.Addr == "":
		return "", fmt.Errorf("client: no access server: %v", answer)
	}
	return answer.Addr, nil
}
