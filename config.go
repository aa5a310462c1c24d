package libnet

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/libnet-go/libnet/internal/ratelimit"
	"github.com/libnet-go/libnet/internal/setting"
	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/usercode"
)

// Config is what can be set for each session of a [Server] or [Dialer]. Zero means the default,
// a negative value means off. A duration counts as 1 ms at least and 73 years at most. Config is read
// when the first session is made; later changes have no effect, which a server logs at its next session.
type Config struct {
	// SendQueue is how many messages Send may queue before the peer has taken them. 0 means that
	// Send writes before it returns. Why a queue is bounded at all: see docs/architecture.md.
	SendQueue int

	// SendQueueBytes bounds the bytes that a session's queue holds; default 1 MiB. One message is always accepted by an
	// empty queue, whatever its size. A codec that is not a [FrameAppender] tells a message's size only by encoding it:
	// where it remembers what it has encoded, as gob does, set this below 0 and let SendQueue be the bound.
	SendQueueBytes int

	// OnFull is what Send does when the queue is full. What is no FullPolicy counts as RejectNewest.
	OnFull FullPolicy

	// MaxMessage is the largest message in bytes, in either direction; default 1 MiB, or what the
	// codec was made with. It never exceeds what the framing can say. Negative: only that. (A codec's own
	// MaxMessage is for codecs without a session.)
	MaxMessage int

	// HandshakeTimeout bounds the time from accept until OnSession, if there is one, has returned and a first complete
	// message has come, and so covers the TLS handshake and a login; default off, but for the TLS handshake of a Server
	// and of a Dialer, which then has 15 s by itself.
	HandshakeTimeout time.Duration

	// FrameTimeout bounds the time from a frame's first byte to its last; default 30 s.
	FrameTimeout time.Duration

	// WriteTimeout ends a session whose peer takes no byte of what is to be written for this long, and is noticed
	// within twice as long; default 10 s. On Linux what leaves the kernel's send buffer counts, too. The first write
	// over TLS completes the handshake, for as long at most. A connection of the user's whose write deadlines have no
	// effect is given up after ten times as long.
	WriteTimeout time.Duration

	// IdleTimeout ends a session from which nothing came for this long; default off.
	IdleTimeout time.Duration

	// Heartbeat sends a message at intervals; default off.
	Heartbeat Heartbeat

	// RateLimit bounds what the session receives in a time; default off.
	RateLimit RateLimit

	// Linger is how long Shutdown waits for the peer's EOF after its own half-close, and how long a session whose write
	// has failed leaves its receiver to take what has arrived; default 5 s.
	Linger time.Duration

	// PeerTimeout is how long a TCP peer may be unreachable, without a FIN or RST, before the kernel ends the
	// connection (keepalive, and TCP_USER_TIMEOUT on Linux); default 15 s, whole seconds, at least 1 s. A peer that
	// reads slowly is not ended, though the kernel would: a session that has to wait for it looks itself whether it
	// takes anything, and ends with ErrWriteTimeout if it takes nothing for two to three times PeerTimeout and
	// WriteTimeout has not passed. 24 days are the most that Linux takes. Negative leaves the socket's own settings.
	//
	// For PeerTimeout, SendBuffer and ReceiveBuffer a connection that wraps another one must lead to its socket: by
	// embedding it, or by a method SyscallConn() (syscall.RawConn, error) or NetConn() net.Conn. An option that the
	// kernel refuses is logged, and the session goes on without it; what its own SetWriteBuffer(int) error or
	// SetReadBuffer(int) error refuses, if it has that method and the size is set, refuses the connection.
	PeerTimeout time.Duration

	// SendBuffer is the size in bytes of the kernel's send buffer of a TCP or Unix socket, the
	// bound on what a peer that never reads can pin there; default 128 KiB. The kernel doubles it
	// for its own bookkeeping, and has bounds of its own (net.core.wmem_max). Negative leaves the system's own,
	// which grows to megabytes.
	SendBuffer int

	// ReceiveBuffer is the size in bytes of the kernel's receive buffer of a TCP socket, the bound on what a peer can
	// pin there that sends while its handler is at work or RateLimit has it wait; default the system's own, which on
	// Linux grows to the third figure of net.ipv4.tcp_rmem: megabytes, for a peer that was quick once. A peer sends no
	// more than this in a round-trip time. The kernel doubles it, and has bounds of its own (net.core.rmem_max). Of a
	// Unix socket on Linux it is the peer's send buffer that counts, and this has no effect.
	ReceiveBuffer int

	// PoisonMessages is for tests: it has a handler that keeps a message beyond its end find it overwritten with 0xDB,
	// and the race detector see that. A [MessageHandler]'s message is overwritten when that returns, and of
	// [Session.ReceiveInto] all of buf, up to its capacity, when it is called, in all modes; one of [Session.Messages]
	// when the loop asks for the next. [libnettest.Serve] sets it. Default off, which costs nothing.
	//
	// [libnettest.Serve]: https://pkg.go.dev/github.com/libnet-go/libnet/libnettest#Serve
	PoisonMessages bool

	// Logger receives lifecycle events, never payloads; default slog.Default().
	Logger *slog.Logger
}

// Heartbeat says what a session sends by itself: every Interval of its life, of 1 ms at least, Message is called and
// its result sent. A nil result is not sent, and one that finds the queue full is dropped.
//
// An Interval without a Message is a mistake: a server panics, and Dial returns an error.
//
// Message is called on a goroutine of its own, for one session never twice at a time. To end a
// session whose peer does not answer, set Config.IdleTimeout to a few intervals.
type Heartbeat struct {
	Interval time.Duration
	Message  func(*Session) any
}

// RateLimit says how many messages, and bytes of them, a session receives within Per: as many at once of a peer that
// was silent, and from then on no faster than they come back, one each Per/Messages. Twenty a second are {Messages:
// 20}; a hundred a minute of which ten may come at once are {Messages: 10, Per: 6 * time.Second}. What is 0 or less is
// not limited.
//
// Beyond the limit the session pauses: it reads no more, so that the kernel's buffers fill and the peer has to wait.
// Nothing is lost, no timeout passes for that time, and sending goes on; in event mode no goroutine waits. A peer's end
// is noticed behind what it has sent before. Close and Shutdown do not wait for a pause; with Server.ServeArrived,
// Server.Shutdown receives what has arrived without one.
//
// Both are counted as in [SessionStats], when a message is handed over. A message comes as soon as a byte may, and the
// rest of its size is made up for by those behind it: so a large one is never refused. Over WebSocket a control frame
// counts as a message, too, and so does each fragment of 131 bytes or less, with its header, that does not end a
// message.
type RateLimit struct {
	Messages int           // within Per
	Bytes    int           // within Per, on the wire but under TLS
	Per      time.Duration // default 1 s; negative: nothing is limited
	End      bool          // a message beyond the limit ends the session with ErrRateLimit, instead of a pause
}

// ProxyProtocol says which peers of a [Server] are proxies that speak the PROXY protocol (versions 1 and 2, as
// haproxy's doc/proxy-protocol.txt has them): such a peer begins each connection with a header, which tells whose
// connection it passes on. Who is no proxy is read as any client, header or not, and so cannot choose its address.
//
// The header is read before all else, the handshake of TLS included, on the session's own goroutine; with
// [Server.Accept], with the session's first use, by Receive, Send, TLS or Codec. From then on the client's address is
// that of [Session.RemoteAddr], of log lines and of [Server.LastClosed], and what MaxSessionsPerIP counts by: a session
// of a client beyond that is closed, and counts as rejected as well as accepted. What is no client's connection (LOCAL,
// UNKNOWN, a header with the proxy's own address), or is one of a Unix socket, keeps the connection's address, by which
// nobody counts. What else version 2 can say is skipped, but for a checksum, which must be right. Counters of bytes do
// not know of the header.
//
// It must come whole within Timeout, and within HandshakeTimeout; one of version 2 may be 16 KiB long. Otherwise its
// session ends for a reason that wraps [ErrProxyHeader]; with io.EOF where the connection ends without a byte, as some
// checks do.
//
// It is for connections that the server accepts, and not for those of NewSession and ServeConn, as package ws's
// handlers have them.
type ProxyProtocol struct {
	Trusted   []netip.Prefix // networks of the proxies; IPv4 addresses are those of IPv4 prefixes, also on a socket of both families
	TrustUnix bool           // peers without an IP address are proxies: all that connect to a Unix socket
	Timeout   time.Duration  // default 5 s; negative: only HandshakeTimeout bounds it
}

// FullPolicy says what Send does when a session's queue is full.
type FullPolicy int

const (
	// RejectNewest: Send returns ErrSessionBlocked and queues nothing.
	RejectNewest FullPolicy = iota
	// DropOldest: Send discards, and counts, the oldest queued messages until the new one fits.
	DropOldest
	// CloseSession: Send returns ErrSlowConsumer and closes the session for that reason.
	CloseSession
)

const (
	defaultSendQueueBytes = 1 << 20
	defaultMaxMessage     = 1 << 20
	defaultFrameTimeout   = 30 * time.Second
	defaultWriteTimeout   = 10 * time.Second
	defaultLinger         = 5 * time.Second
	defaultPeerTimeout    = 15 * time.Second
	defaultSendBuffer     = 128 << 10
	defaultRatePer        = time.Second
	defaultDrain          = 10 * time.Second
	defaultProxyTimeout   = 5 * time.Second // a header may be lost once, for 3 s (proxy-protocol.txt, 2)
)

// Bounds of what a user may set. A timer of a nanosecond would fire all the time and find nothing to do; a time stamp
// of a session and a duration may be added up without an overflow, and so may a message's size and its frame's header.
const (
	minDuration    = time.Millisecond
	maxDuration    = time.Duration(1 << 61)
	maxMessageSize = math.MaxInt - 1<<20
)

// resolve is the rule of Config's numbers, where 0 is off.
func resolve[T int | time.Duration](set, byDefault T) T { return setting.Resolve(set, byDefault, 0) }

// resolveTime is resolve for durations.
func resolveTime(set, byDefault time.Duration) time.Duration {
	d := resolve(set, byDefault)
	if d == 0 {
		return 0
	}
	return min(max(d, minDuration), maxDuration)
}

func (c *Config) sendQueue() int      { return resolve(c.SendQueue, 0) }
func (c *Config) sendQueueBytes() int { return resolve(c.SendQueueBytes, defaultSendQueueBytes) }
func (c *Config) maxMessage() int {
	return min(resolve(c.MaxMessage, defaultMaxMessage), maxMessageSize)
}
func (c *Config) sendBuffer() int    { return resolve(c.SendBuffer, defaultSendBuffer) }
func (c *Config) receiveBuffer() int { return resolve(c.ReceiveBuffer, 0) }

func (c *Config) handshakeTimeout() time.Duration { return resolveTime(c.HandshakeTimeout, 0) }

// tlsTimeout is the bound on the handshake of TLS alone, where there is none on the whole login: 0 where there is, or
// where that is off.
func (c *Config) tlsTimeout() time.Duration {
	if c.HandshakeTimeout == 0 {
		return sockets.TLSTimeout
	}
	return 0
}

func (c *Config) frameTimeout() time.Duration {
	return resolveTime(c.FrameTimeout, defaultFrameTimeout)
}
func (c *Config) writeTimeout() time.Duration {
	return resolveTime(c.WriteTimeout, defaultWriteTimeout)
}

// writeBound is writeTimeout for who waits that long: off is as long as can be.
func (c *Config) writeBound() time.Duration {
	if timeout := c.writeTimeout(); timeout > 0 {
		return timeout
	}
	return maxDuration
}

func (c *Config) idleTimeout() time.Duration { return resolveTime(c.IdleTimeout, 0) }
func (c *Config) linger() time.Duration      { return resolveTime(c.Linger, defaultLinger) }

func (c *Config) peerTimeout() time.Duration {
	d := resolveTime(c.PeerTimeout, defaultPeerTimeout)
	if d == 0 {
		return 0
	}
	return max(d, time.Second).Truncate(time.Second)
}

func (c *Config) heartbeatInterval() time.Duration {
	if c.Heartbeat.Message == nil {
		return 0
	}
	return resolveTime(c.Heartbeat.Interval, 0)
}

// errNoHeartbeat is for a setting that would do nothing.
var errNoHeartbeat = newError("libnet: Config.Heartbeat has an Interval and no Message: set Message, which makes what is sent")

// changedBy names the fields in which now differs, as field "Linger", or is empty.
func (c *Config) changedBy(now *Config) string {
	before, after := reflect.ValueOf(c).Elem(), reflect.ValueOf(now).Elem()
	var names []string
	for i := range before.NumField() {
		if !sameSetting(before.Field(i), after.Field(i)) {
			names = append(names, before.Type().Field(i).Name)
		}
	}
	return strings.Join(names, ", ")
}

func sameSetting(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Func:
		return a.Pointer() == b.Pointer()
	case reflect.Struct:
		for i := range a.NumField() {
			if !sameSetting(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	}
	return a.Equal(b)
}

// check returns an error for settings that say something which cannot be done.
func (c *Config) check() error {
	if c.Heartbeat.Interval > 0 && c.Heartbeat.Message == nil {
		return errNoHeartbeat
	}
	return nil
}

func (c *Config) rateLimit() ratelimit.Limit {
	l := c.RateLimit
	return ratelimit.Limit{Messages: l.Messages, Bytes: l.Bytes, Per: resolveTime(l.Per, defaultRatePer)}
}

func (p *ProxyProtocol) timeout() time.Duration { return resolveTime(p.Timeout, defaultProxyTimeout) }
func (p *ProxyProtocol) isOn() bool             { return len(p.Trusted) > 0 || p.TrustUnix }

// trusts reports whether a peer is a proxy.
func (p *ProxyProtocol) trusts(peer net.Addr) bool {
	switch peer.(type) {
	case *net.UDPAddr, *net.IPAddr: // of a transport that is the user's: clients anywhere may have them
		return false
	}
	addr := ipOf(peer)
	if !addr.IsValid() {
		return p.TrustUnix
	}
	return slices.ContainsFunc(p.Trusted, func(network netip.Prefix) bool { return unmapped(network).Contains(addr) })
}

// unmapped is the network in IPv4 of one that lies in IPv6's ::ffff:0:0/96.
func unmapped(network netip.Prefix) netip.Prefix {
	if addr := network.Addr(); addr.Is4In6() && network.Bits() >= 96 {
		return netip.PrefixFrom(addr.Unmap(), network.Bits()-96)
	}
	return network
}

// ipOf is the IP address of a TCP peer, invalid for any other. One of IPv4 is so in IPv6, too.
func ipOf(peer net.Addr) netip.Addr {
	return addrPortOf(peer).Addr()
}

func addrPortOf(peer net.Addr) netip.AddrPort {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}

func (c *Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.Default()
	}
	return c.Logger
}

func (c *Config) socketOptions() sockets.Options {
	return sockets.Options{SendBuffer: c.sendBuffer(), ReceiveBuffer: c.receiveBuffer(), PeerTimeout: c.peerTimeout()}
}

// setSocketOptions sets what bounds the cost of a silent peer. What the kernel refuses is logged and is no error. A
// conn that is no stream is one, and so is what a conn's own SetWriteBuffer or SetReadBuffer answers.
func setSocketOptions(conn net.Conn, c *Config) error {
	o := c.socketOptions()
	if err := guardConn(conn, o.AskBuffers); err != nil {
		return err
	}
	err := guardConn(conn, o.Set)
	if err == sockets.ErrNotAStream {
		return err
	}
	if err != nil {
		logRefusedOption(c, err)
	}
	return nil
}

// guardConn has f call methods of the user's conn, which may panic.
func guardConn(conn net.Conn, f func(net.Conn) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w in a connection: %s", ErrPanic, printable(usercode.Text(r)))
		}
	}()
	return f(conn)
}

// optionLines limits the lines about refused options, of all servers and dialers.
var optionLines lineLimit

func logRefusedOption(c *Config, err error) {
	dialLog.write(&optionLines, c.logger(), slog.LevelWarn, "libnet: socket option refused", slog.String("error", errorText(err)))
}
