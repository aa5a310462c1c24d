package ends

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// inTransit is what has arrived and is not received, or is sent and not written, when the end begins.
type inTransit string

const (
	nothing   inTransit = "nothing"
	unread    inTransit = "unread input"
	unwritten inTransit = "unwritten output"
)

// What becomes of the messages that the peer had sent.
const (
	allReceived    = "all are received"
	atWorkReceived = "the one at work; the rest is in `Dropped`"
	someReceived   = "what the kernel kept"
)

// What becomes of the messages that Send had taken.
const (
	delivered = "all are delivered"
	counted   = "written or in `Discarded`"
)

// What the peer sees behind the last message.
const (
	sees      = "EOF"
	seesReset = "EOF or a reset"
	seesNone  = "–" // it is gone, or does not look
)

// An end is a row of the table: who ends a session, and what follows.
type end struct {
	who      string
	reasons  string // names of CloseReason, of which one is the session's
	received string
	sent     string
	peer     string
	code     uint16        // of the close frame over WebSocket; 0: none, or nobody looks
	within   time.Duration // beyond what the scenario itself waits for

	set  func(*libnet.Server)          // nil: nothing
	does func(c *scenario)             // begins the end
	on   func(transport string) bool   // nil: on every transport
	with func(what inTransit) bool     // nil: whatever is in transit
	when func(mode string, q int) bool // nil: in every mode
}

const (
	soon = 5 * time.Second         // nothing is to take so long; the machine may be busy
	idle = 1500 * time.Millisecond // in which a session gets so far that something is in transit, over TLS, beside many others
)

var errReason = errors.New("a reason of the user's")

// The one table of what is expected. docs/ends.md has it, too.
var table = []end{
	{
		who: "the peer closes, having read all", reasons: "eof", received: allReceived, sent: counted, peer: seesNone, within: soon,
		does: func(c *scenario) { testkit.Leave(c.peer) }, with: isNot(unwritten),
	},
	{
		who: "the peer closes, not having read", reasons: "eof reset", received: allReceived, sent: counted, peer: seesNone, within: soon,
		does: func(c *scenario) { testkit.Leave(c.peer) }, with: is(unwritten),
	},
	{
		who: "the peer half-closes", reasons: "eof", received: allReceived, sent: delivered, peer: sees, code: testkit.NoCode, within: soon,
		does: func(c *scenario) { _ = c.peer.(interface{ CloseWrite() error }).CloseWrite() },
	},
	{
		who: "the peer resets", reasons: "reset eof unexpected_eof", received: someReceived, sent: counted, peer: seesNone, within: soon,
		does: func(c *scenario) {
			_ = testkit.Socket(c.peer).(*net.TCPConn).SetLinger(0)
			_ = testkit.Socket(c.peer).Close()
		}, on: overTCP,
	},
	{
		who: "the peer of a WebSocket closes without a close frame", reasons: "unexpected_eof reset", received: allReceived, sent: counted,
		peer: seesNone, within: soon,
		does: func(c *scenario) { _ = c.peer.Close() }, on: testkit.IsWeb,
	},
	{
		who: "the peer falls silent (IdleTimeout)", reasons: "idle_timeout", received: allReceived, sent: counted, peer: seesReset, code: 1008,
		within: soon + idle, set: func(srv *libnet.Server) { srv.IdleTimeout = idle },
	},
	{
		who: "the peer does not read (WriteTimeout)", reasons: "write_timeout", received: allReceived, sent: counted, peer: seesReset, code: 1008, within: soon,
		set: func(srv *libnet.Server) { srv.WriteTimeout = 500 * time.Millisecond }, with: is(unwritten),
		does: func(c *scenario) { c.await(c.session.Done()) },
	},
	{
		who: "the peer sends more than it may (RateLimit with End)", reasons: "rate_limit", received: atWorkReceived, sent: counted,
		peer: seesReset, code: 1008, within: soon,
		does: func(c *scenario) {
			if c.what != unread { // else it has
				c.sendRequests()
			}
		},
		set: func(srv *libnet.Server) { srv.RateLimit = libnet.RateLimit{Messages: 1, Per: time.Hour, End: true} },
	},
	{
		who: "`Close`", reasons: "closed", received: atWorkReceived, sent: counted, peer: seesReset, code: 1000, within: soon,
		does: func(c *scenario) { _ = c.session.Close() },
	},
	{
		who: "`CloseWithError`", reasons: "error", received: atWorkReceived, sent: counted, peer: seesReset, code: 1008, within: soon,
		does: func(c *scenario) { _ = c.session.CloseWithError(errReason) },
	},
	{
		who: "`Session.Shutdown`", reasons: "closed", received: atWorkReceived, sent: delivered, peer: sees, code: 1000, within: soon,
		does: func(c *scenario) { shutdownSession(c, c.session.Shutdown) },
	},
	{
		who: "`ShutdownWithError`", reasons: "error", received: atWorkReceived, sent: delivered, peer: sees, code: 1008, within: soon,
		does: func(c *scenario) {
			shutdownSession(c, func(ctx context.Context) error { return c.session.ShutdownWithError(ctx, errReason) })
		},
	},
	{
		who: "`Server.Shutdown`", reasons: "server_closed", received: atWorkReceived, sent: delivered, peer: sees, code: 1001, within: soon,
		does: shutdownServer,
	},
	{
		who: "`Server.Shutdown` with `ServeArrived`", reasons: "server_closed", received: allReceived, sent: delivered, peer: sees, code: 1001, within: soon,
		set: func(srv *libnet.Server) {
			srv.ServeArrived = true
			srv.Linger = soon // which handlers have, and this one is told when to go on by the clock
		},
		does: shutdownServer, on: hasDescriptor,
	},
	{
		who: "`Server.Stop`", reasons: "server_closed", received: atWorkReceived, sent: counted, peer: seesReset, code: 1001, within: soon,
		does: func(c *scenario) { c.server.Stop() },
	},
	{
		who: "`OnSession` refuses, having sent", reasons: "error", received: someReceived, sent: delivered, peer: sees, code: 1008, within: soon,
		set: func(srv *libnet.Server) {
			srv.OnSession = func(s *libnet.Session) error { _ = s.Send([]byte("no")); return errReason }
		},
		with: is(nothing), when: func(mode string, _ int) bool { return mode != "accept" },
	},
	{
		who: "a write fails, the peer being gone", reasons: "eof reset error", received: allReceived, sent: counted, peer: seesNone, within: soon,
		does: func(c *scenario) { c.replies.Store(true); testkit.Leave(c.peer) }, with: is(unread),
	},
}

func shutdownSession(c *scenario, shutdown func(context.Context) error) {
	c.spawn(func() { _ = shutdown(context.Background()) })
	testkit.Eventually(c.t, "a session that refuses sends", c.session.IsClosed)
}

func shutdownServer(c *scenario) {
	c.spawn(func() { _ = c.server.Shutdown(context.Background()) })
	c.await(c.server.Stopping())
}

func is(what inTransit) func(inTransit) bool    { return func(w inTransit) bool { return w == what } }
func isNot(what inTransit) func(inTransit) bool { return func(w inTransit) bool { return w != what } }
func overTCP(transport string) bool             { return transport != "unix" && transport != "pipe" }
func hasDescriptor(transport string) bool {
	return transport == "tcp" || transport == "unix" || transport == "ws"
}
func (e *end) appliesTo(what inTransit, on string) bool {
	return (e.with == nil || e.with(what)) && (e.on == nil || e.on(on))
}
func (e *end) appliesIn(mode string, q int) bool { return e.when == nil || e.when(mode, q) }
