package config

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/handover"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/resume"
)

// A number is one that a user sets: what to try, and what a session may end for where it is set so. In the end an echo
// has worked, or the session has ended for one of the reasons, or the value was refused.
type number struct {
	values []int64
	try    func(t *testing.T, value int64)
}

// server is a row for a field of a server, and of a dialer where that has it, too.
func server(values []int64, set func(*setting, int64), reasons ...string) number {
	return number{values, func(t *testing.T, value int64) {
		for _, mode := range modes {
			t.Run(mode.name, func(t *testing.T) { mode.echo(t, func(s *setting) { set(s, value) }, reasons) })
		}
	}}
}

func duration(field func(*libnet.Config) *time.Duration, reasons ...string) number {
	return server(durations, func(s *setting, v int64) { *field(&s.Config) = time.Duration(v) }, reasons...)
}

func count(field func(*setting) *int, reasons ...string) number {
	return server(counts, func(s *setting, v int64) { *field(s) = int(v) }, reasons...)
}

// Of durations: what is off, what is too short for a timer, what the kernel takes and a little more, what no sum takes.
var durations = []int64{
	math.MinInt64, -1, 0, 1, int64(time.Microsecond), int64(time.Millisecond), int64(time.Second) - 1,
	int64(3*32767*time.Second) - 1, int64(3*32767*time.Second) + int64(3*time.Second), // TCP_KEEPIDLE
	math.MaxInt32 * int64(time.Millisecond), (math.MaxInt32 + 1) * int64(time.Millisecond), // TCP_USER_TIMEOUT
	1 << 61, 1<<61 + 1, math.MaxInt64 / 2, math.MaxInt64 - int64(time.Hour), math.MaxInt64,
}

var counts = []int64{
	math.MinInt, math.MinInt + 1, -1, 0, 1, 2, 1<<16 - 1, 1 << 16, math.MaxInt32, min(math.MaxInt, math.MaxInt32+1),
	min(math.MaxInt, 1<<32), math.MaxInt - 1<<20, math.MaxInt - 64<<10, math.MaxInt - 64, math.MaxInt - 1, math.MaxInt,
}

var table = map[string]number{
	"libnet.Config.SendQueue":        count(func(s *setting) *int { return &s.SendQueue }),
	"libnet.Config.SendQueueBytes":   count(func(s *setting) *int { return &s.SendQueueBytes }),
	"libnet.Config.MaxMessage":       count(func(s *setting) *int { return &s.MaxMessage }),
	"libnet.Config.SendBuffer":       count(func(s *setting) *int { return &s.SendBuffer }),
	"libnet.Config.ReceiveBuffer":    count(func(s *setting) *int { return &s.ReceiveBuffer }),
	"libnet.Config.OnFull":           server(counts, func(s *setting, v int64) { s.OnFull = libnet.FullPolicy(v) }),
	"libnet.Config.HandshakeTimeout": duration(func(c *libnet.Config) *time.Duration { return &c.HandshakeTimeout }, "handshake_timeout"),
	"libnet.Config.FrameTimeout":     duration(func(c *libnet.Config) *time.Duration { return &c.FrameTimeout }, "frame_timeout"),
	"libnet.Config.WriteTimeout":     duration(func(c *libnet.Config) *time.Duration { return &c.WriteTimeout }, "write_timeout"),
	"libnet.Config.IdleTimeout":      duration(func(c *libnet.Config) *time.Duration { return &c.IdleTimeout }, "idle_timeout"),
	"libnet.Config.Linger":           duration(func(c *libnet.Config) *time.Duration { return &c.Linger }),
	"libnet.Config.PeerTimeout":      duration(func(c *libnet.Config) *time.Duration { return &c.PeerTimeout }),
	"libnet.Heartbeat.Interval": server(durations, func(s *setting, v int64) {
		s.Heartbeat = libnet.Heartbeat{Interval: time.Duration(v), Message: s.beat}
	}),
	"libnet.RateLimit.Messages": server(counts, func(s *setting, v int64) { s.RateLimit.Messages = int(v) }),
	"libnet.RateLimit.Bytes":    server(counts, func(s *setting, v int64) { s.RateLimit.Bytes = int(v) }),
	"libnet.RateLimit.Per": server(durations, func(s *setting, v int64) {
		s.RateLimit = libnet.RateLimit{Messages: 2, Bytes: 1, Per: time.Duration(v)}
	}),
	"libnet.Server.MaxSessions":      count(func(s *setting) *int { return &s.maxSessions }),
	"libnet.Server.MaxSessionsPerIP": count(func(s *setting) *int { return &s.maxPerIP }),

	"libnet.ProxyProtocol.Timeout": server(durations, func(s *setting, v int64) {
		s.proxies = libnet.ProxyProtocol{TrustUnix: true, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Timeout: time.Duration(v)}
	}, "proxy_header"),

	"libnet.Serve(sendChanSize)":              {counts, plainServe},
	"libnet.NewServer(sendChanSize)":          {counts, plainServe},
	"libnet.Connect(sendChanSize)":            {counts, plainServe},
	"libnet.ConnectTimeout(sendChanSize)":     {counts, plainServe},
	"libnet.ConnectTimeout(timeout)":          {durations, connectTimeout},
	"libnet.NewSession(sendChanSize)":         {counts, bareSession},
	"libnet.Manager.NewSession(sendChanSize)": {counts, bareSession},

	"codec.LengthField.Offset":             framing(func(f *codec.LengthField) *int { return &f.Offset }),
	"codec.LengthField.Size":               framing(func(f *codec.LengthField) *int { return &f.Size }),
	"codec.LengthField.Adjust":             framing(func(f *codec.LengthField) *int { return &f.Adjust }),
	"codec.LengthField.Strip":              framing(func(f *codec.LengthField) *int { return &f.Strip }),
	"codec.Fixed(n)":                       protocol(func(n int) libnet.Protocol { return codec.New(codec.Fixed(n), codec.Bytes) }),
	"codec.Composed.MaxMessage(n)":         protocol(func(n int) libnet.Protocol { return testkit.Frames.MaxMessage(n) }),
	"codec.ProtobufProtocol.MaxMessage(n)": {counts, protobufMaxMessage},

	"libnettest.PipeSize(size)": {counts, pipeSize},
	"libnettest.Fault.N":        {counts, faultBytes},

	"libnettest.Chaos.Every": {counts, chaos(func(c *libnettest.Chaos, n int64) { c.Every = int(n) })},
	"libnettest.Chaos.Stall": {durations, chaos(func(c *libnettest.Chaos, n int64) { c.Every, c.Stall = 2, time.Duration(n) })},

	"libnet.Server.Drain(over)":       {durations, drained},
	"libnet.Server.ServeUntil(drain)": {durations, servedUntil},

	"handover.GiveOptions.HandlerTime": given(func(o *handover.GiveOptions) *time.Duration { return &o.HandlerTime }),
	"handover.GiveOptions.Pause":       given(func(o *handover.GiveOptions) *time.Duration { return &o.Pause }),
	"handover.GiveOptions.Drain":       given(func(o *handover.GiveOptions) *time.Duration { return &o.Drain }),

	"resume.Config.Window":       {durations, resumable(func(c *resume.Config, n int64) { c.Window = time.Duration(n) })},
	"resume.Config.AckDelay":     {durations, resumable(func(c *resume.Config, n int64) { c.AckDelay = time.Duration(n) })},
	"resume.Config.MaxMessages":  {counts, resumable(func(c *resume.Config, n int64) { c.MaxMessages = int(n) })},
	"resume.Config.MaxBytes":     {counts, resumable(func(c *resume.Config, n int64) { c.MaxBytes = int(n) })},
	"resume.Server.MaxKept":      {counts, resumeServer(func(s *resume.Server) *int { return &s.MaxKept })},
	"resume.Server.MaxKeptPerIP": {counts, resumeServer(func(s *resume.Server) *int { return &s.MaxKeptPerIP })},
	"resume.Server.MaxKeptBytes": {counts, resumeServer(func(s *resume.Server) *int { return &s.MaxKeptBytes })},

	"mux.Mux.MaxCalls":     {counts, maxCalls},
	"mux.Mux.CallTimeout":  {durations, callTimeout},
	"mux.Concurrent(n)":    {counts, concurrent},
	"mux.Proto(errorKind)": {counts, errorKind},

	"ws.HandlerOptions.CompressFrom": {counts, compressFrom},
	"ws.DialOptions.CompressFrom":    {counts, compressFrom},

	"reconnect.Client.MinBackoff":     backoff(func(c *reconnect.Client) *time.Duration { return &c.MinBackoff }),
	"reconnect.Client.MaxBackoff":     backoff(func(c *reconnect.Client) *time.Duration { return &c.MaxBackoff }),
	"reconnect.Client.AttemptTimeout": backoff(func(c *reconnect.Client) *time.Duration { return &c.AttemptTimeout }),
	"reconnect.Client.HoldMessages":   held(func(c *reconnect.Client) *int { return &c.HoldMessages }),
	"reconnect.Client.HoldBytes":      held(func(c *reconnect.Client) *int { return &c.HoldBytes }),
}
