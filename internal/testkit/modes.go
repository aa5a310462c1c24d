package testkit

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// A Mode is a way in which a server calls a handler for each message. What a peer sees must not depend
// on it, so most tests of event mode are one body over all of them.
type Mode struct {
	Name     string
	Network  string
	Protocol libnet.Protocol
	Serve    func(*libnet.Server, libnet.MessageHandler) error
	Wrap     func(net.Listener) net.Listener // nil: not at all
}

var Modes = []Mode{
	{Name: "Serve", Network: "tcp", Protocol: Frames, Serve: ReceiveLoop},
	{Name: "ServeMessages", Network: "tcp", Protocol: Frames, Serve: (*libnet.Server).ServeMessages},
	{Name: "Unix", Network: "unix", Protocol: Frames, Serve: (*libnet.Server).ServeMessages},
	{Name: "TLS", Network: "tls", Protocol: Frames, Serve: (*libnet.Server).ServeMessages},
	{Name: "Pipe", Network: "pipe", Protocol: Frames, Serve: (*libnet.Server).ServeMessages},
	{Name: "plain codec", Network: "tcp", Protocol: Plain, Serve: (*libnet.Server).ServeMessages},
	{Name: "Serve with TLS", Network: "tls", Protocol: Frames, Serve: ReceiveLoop},
	{Name: "Serve over Unix", Network: "unix", Protocol: Frames, Serve: ReceiveLoop},
	{Name: "WebSocket and Serve", Network: "ws", Protocol: Frames, Serve: ReceiveLoop},
	{Name: "WebSocket", Network: "ws", Protocol: Frames, Serve: (*libnet.Server).ServeMessages},
	{Name: "WebSocket with TLS and Serve", Network: "wss", Protocol: Frames, Serve: ReceiveLoop},
	{Name: "WebSocket with TLS", Network: "wss", Protocol: Frames, Serve: (*libnet.Server).ServeMessages},
}

// LoopModes are the modes that have no goroutine a session, where there is an event loop.
var LoopModes = append(slices.Clip(Modes[1:4]), Modes[9], Modes[11])

// LoopTLS is that of them which has TLS.
var LoopTLS = Modes[3]

// ReceiveLoop is what ServeMessages stands for: a goroutine a session, which receives and calls the handler.
func ReceiveLoop(srv *libnet.Server, h libnet.MessageHandler) error {
	return srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		for {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			h.ServeMessage(s, msg)
		}
	}))
}

// OverModes runs test once for each.
func OverModes(t *testing.T, modes []Mode, test func(t *testing.T, mode Mode)) {
	t.Helper()
	for _, mode := range modes {
		t.Run(mode.Name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			test(t, mode)
		})
	}
}

// OverModesAtOnce is OverModes for a test that mostly waits: it runs once for each at the same time.
func OverModesAtOnce(t *testing.T, modes []Mode, test func(t *testing.T, mode Mode)) {
	t.Helper()
	libnettest.VerifyNone(t)
	for _, mode := range modes {
		t.Run(mode.Name, func(t *testing.T) {
			t.Parallel()
			test(t, mode)
		})
	}
}

// Start serves until the test ends, and then checks that the counters balance.
func (mode Mode) Start(t testing.TB, configure func(*libnet.Server), h libnet.MessageHandlerFunc) *Rig {
	t.Helper()
	l := Listen(t, mode.Network)
	if mode.Wrap != nil {
		l = mode.Wrap(l)
	}
	r := newRig(t, mode.Network, l, mode.Protocol, 64)
	r.deadline = 2 * Patience // a test that hangs tells where
	r.handshake = true
	r.Logger = Quiet
	r.Linger = 2 * time.Second
	if configure != nil {
		configure(r.Server)
	}
	r.reportAdmitted()
	go func() { r.served <- mode.Serve(r.Server, h) }()
	t.Cleanup(func() {
		r.stop()
		Eventually(t, "the close of every session", r.balanced)
	})
	return r
}

// reportAdmitted sends each session that OnSession admits to Sessions.
func (r *Rig) reportAdmitted() {
	admit := r.OnSession
	r.OnSession = func(s *libnet.Session) (err error) {
		if admit != nil {
			err = admit(s)
		}
		if err == nil {
			r.Sessions <- s
		}
		return err
	}
}
