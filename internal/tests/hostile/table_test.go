package hostile

import (
	"slices"
	"strings"

	"github.com/libnet-go/libnet/internal/testkit"
)

// A site is one method, or function, of the user's that libnet calls.
type site struct {
	name   string
	source string               // for the methods of an error: the site that returns it
	does   []behaviour          // beside those that are possible anywhere
	not    map[behaviour]string // what the documentation forbids there, and where it says so
	in     func(m mode) bool    // where it is called; nil: everywhere
	cover  string               // the kind of the user's conn that it takes; empty: one of package net
	perIP  bool                 // it takes MaxSessionsPerIP
}

// of is the site that row's user code begins with.
func (s *site) of() string {
	if s.source != "" {
		return s.source
	}
	return s.name
}

// endsAccepting reports whether no connection is accepted any more: Serve and Accept return an error of the listener's
// that does not pass, wait for a listener, and Accept waits for OnSession.
func (s *site) endsAccepting(does behaviour, m mode) bool {
	switch {
	case s.of() == "net.Listener.Accept":
		return s.source != "" || does == hangs || slices.Contains(failures, does)
	case s.name == "libnet.Server.OnSession":
		return does == hangs && m.serve == "Accept"
	}
	return false
}

// title tells the rows of one name apart.
func (s *site) title() string {
	if s.source != "" {
		return s.name + " of " + s.source
	}
	return s.name
}

func codecs(kinds ...string) func(mode) bool {
	return func(m mode) bool { return ownListener(m) && slices.Contains(kinds, m.codec) }
}

func serves(kinds ...string) func(mode) bool {
	return func(m mode) bool { return slices.Contains(kinds, m.serve) }
}

// parsers are codecs that cut what a peer has sent: over WebSocket that is package ws's.
func parsers(kinds ...string) func(mode) bool {
	return func(m mode) bool { return !testkit.IsWeb(m.transport) && codecs(kinds...)(m) }
}

// ownListener is where net/http does not stand between the server and its conns.
func ownListener(m mode) bool { return !strings.HasPrefix(m.serve, "ws.") }

func overWeb(m mode) bool { return !ownListener(m) || testkit.IsWeb(m.transport) }

var failures = []behaviour{givesError, givesHostile, givesOther}

func with(does ...behaviour) []behaviour { return append(slices.Clone(failures), does...) }

// plainSend says what a plain codec must not do: its Send is called by one goroutine at a time.
var plainSend = map[behaviour]string{sends: "Codec: one goroutine at a time"}

// inBroadcast says what an AppendFrame must not do there.
var inBroadcast = map[behaviour]string{hangs: "Group.Broadcast: it encodes in the caller"}

// table has every site that libnet calls. TestEveryInterfaceIsInTheTable says which are missing.
var table = slices.Concat([]site{
	{name: "libnet.Protocol.NewCodec", does: []behaviour{givesNil, givesTyped}, in: codecs("plain", "pure", "splitting", "func")},
	{name: "libnet.Codec.Receive", does: failures, in: codecs("plain")},
	{name: "libnet.Codec.Send", does: failures, in: codecs("plain"), not: plainSend},
	{name: "libnet.Codec.Close", does: failures, in: codecs("plain", "pure", "splitting", "func")},
	{name: "libnet.FrameAppender.AppendFrame", does: with(givesNil, givesLess), in: codecs("pure", "func")},
	{name: "libnet.FrameAppender.AppendFrame for a broadcast", does: with(givesNil, givesLess), in: codecs("pure", "func"), not: inBroadcast},
	{name: "libnet.FrameParser.ParseFrame", does: with(givesNil, givesLess, givesMore), in: codecs("pure", "splitting", "func")},
	{name: "libnet.FrameParser.ResumeFrame", does: with(givesNil, givesLess, givesMore), in: parsers("pure", "splitting")},
	{name: "libnet.FrameSplitter.SplitFrame", does: with(givesNil), in: codecs("splitting")},
	{name: "codec.Framing.Max", does: []behaviour{givesLess, givesMore}, in: codecs("composed", "whole")},
	{name: "codec.Framing.AppendFrame", does: with(givesNil, givesLess), in: codecs("composed")},
	{name: "codec.Framing.ParseFrame", does: with(givesNil, givesLess, givesMore), in: codecs("composed")},
	{name: "codec.Sealer.Room", does: []behaviour{givesLess, givesMore}, in: codecs("whole")},
	{name: "codec.Sealer.SealFrame", does: with(givesNil, givesLess), in: codecs("whole")},
	{name: "codec.Limiter.ParseFrameMax", does: with(givesNil, givesLess, givesMore), in: codecs("whole")},
	{name: "codec.Marshaler.AppendMarshal", does: with(givesNil, givesLess), in: codecs("composed", "whole")},

	{name: "libnet.Server.OnSession", does: failures},
	{name: "libnet.Session.OnClose"},
	{name: "libnet.Handler.ServeSession", in: serves("Serve", "Accept", "ServeConn", "ws.Handler")},
	{name: "libnet.MessageHandler.ServeMessage", in: serves("ServeMessages", "ws.MessageHandler")},
	{name: "ws.HandlerOptions.Check", does: failures, in: overWeb},
	{name: "libnet.Heartbeat.Message", does: []behaviour{givesTyped}},
	{name: "slog.Handler.Enabled"},
	{name: "slog.Handler.Handle", does: failures},

	{name: "net.Listener.Accept", does: with(givesNil, givesTyped, givesBoth), in: serves("Serve", "ServeMessages", "Accept")},
	{name: "net.Listener.Close", does: failures, in: serves("Serve", "ServeMessages", "Accept", "ServeConn")},
	{name: "libnet.MessageConn.WrapProtocol", does: []behaviour{givesNil, givesTyped}, in: bare, cover: "MessageConn"},
	{name: "net.Conn.NetConn", does: []behaviour{givesNil, givesTyped}, in: bare, cover: "NetConn"},
	{name: "syscall.Conn.SyscallConn", does: failures, in: ownListener, cover: "SyscallConn"},
	{name: "syscall.RawConn.Control", does: with(givesNil, givesMore), in: overSockets, cover: "SyscallConn"},
	{name: "syscall.RawConn.Control while open", does: with(givesNil, givesMore), in: overSockets, cover: "SyscallConn"},
	{name: "net.Conn.SetWriteBuffer", does: failures, in: bare, cover: "buffers"},
	{name: "net.Conn.SetReadBuffer", does: failures, in: bare, cover: "buffers"},
	{name: "net.Conn.Read", does: with(givesNil, givesLess, givesMore), in: ownListener, cover: "conn"},
	{name: "net.Conn.Write", does: with(givesNil, givesLess, givesMore), in: ownListener, cover: "conn"},
	{name: "net.Conn.Close", does: failures, in: ownListener, cover: "conn"},
	{name: "net.Conn.CloseWrite", does: failures, in: bare, cover: "conn"},
	{name: "net.Conn.LocalAddr", does: []behaviour{givesNil, givesTyped}, in: ownListener, cover: "conn"},
	{name: "net.Conn.RemoteAddr", does: []behaviour{givesNil, givesTyped}, in: ownListener, cover: "conn", perIP: true},
	{name: "net.Conn.SetReadDeadline", does: failures, in: ownListener, cover: "conn"},
	{name: "net.Conn.SetWriteDeadline", does: failures, in: ownListener, cover: "conn"},
	{name: "net.Addr.String", in: ownListener, cover: "conn"},
}, tlsSites, errorSites())

// errorSites are the methods of an error, by the site that returned it.
func errorSites() (sites []site) {
	sources := []site{
		{name: "libnet.Server.OnSession"},
		{name: "libnet.Session.CloseWithError"},
		{name: "libnet.Codec.Receive", in: codecs("plain")},
		{name: "libnet.Codec.Send", in: codecs("plain")},
		{name: "libnet.FrameAppender.AppendFrame for a broadcast", in: codecs("pure")},
		{name: "libnet.FrameParser.ParseFrame", in: codecs("pure")},
		{name: "net.Listener.Accept", in: serves("Serve", "ServeMessages")},
		{name: "net.Conn.Read", in: ownListener, cover: "conn"},
		{name: "net.Conn.Write", in: ownListener, cover: "conn"},
	}
	for _, source := range sources {
		for _, method := range []string{"error.Error", "error.Is", "error.Unwrap"} {
			if source.name == "libnet.Codec.Send" && method == "error.Error" {
				continue // it goes to the caller of Send as it is
			}
			s := source
			s.source, s.name = source.name, method
			if method == "error.Unwrap" {
				s.does = []behaviour{givesTyped, givesItself}
			}
			sites = append(sites, s)
		}
	}
	for _, method := range []string{"error.As", "net.Error.Temporary"} {
		sites = append(sites, site{name: method, source: "net.Listener.Accept", in: serves("Serve", "ServeMessages")})
	}
	return sites
}

// uncalled are methods that libnet never calls by itself, and why.
var uncalled = map[string]string{
	"libnet.Server.ServeUntil":           "on its caller's own goroutine, as if it were called there",
	"slog.Handler.WithAttrs":             "a logger's own business, when its user calls With",
	"slog.Handler.WithGroup":             "the same",
	"net.Listener.Addr":                  "only for Session.LocalAddr of a closed event-mode session",
	"net.Addr.Network":                   "",
	"syscall.RawConn.Read":               "only of its own descriptors",
	"syscall.RawConn.Write":              "the same",
	"net.Conn.SetDeadline":               "each direction has its own deadline",
	"mux.OrderedEnvelope.RepliesInOrder": "it says what the envelope is",
	"net.Error.Timeout":                  "errors.Is(err, os.ErrDeadlineExceeded) tells",
}

func overSockets(m mode) bool { return ownListener(m) && m.transport != "pipe" }

// bare is where the session has the user's conn itself.
func bare(m mode) bool { return ownListener(m) && !overTLS(m) }
