package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/monitor"
	"github.com/libnet-go/libnet/reconnect"
)

// clientSites are those of packages that use a server or a session from outside.
var clientSites = []site{
	{name: "reconnect.Client.Dial", does: with(givesNil, givesTyped)},
	{name: "reconnect.Client.OnConnect", does: failures},
	{name: "reconnect.Client.Final"},
	{name: "reconnect.Client.OnState"},
	{name: "reconnect.Client.Size", does: []behaviour{givesLess, givesMore}},
	{name: "slog.Handler.Enabled", source: "reconnect.Client.Logger"},
	{name: "slog.Handler.Handle", source: "reconnect.Client.Logger", does: failures},
	{name: "monitor.Options.Authorize", does: []behaviour{givesNil}},
	{name: "monitor.Options.Ready", does: []behaviour{givesNil}},
	{name: "monitor.Options.Groups", does: []behaviour{givesLess, givesMore}},
	{name: "monitor.Gauge.Value", does: []behaviour{givesLess, givesMore}},
	{name: "slog.Handler.Enabled", source: "monitor.Handler's server's Logger"},
	{name: "slog.Handler.Handle", source: "monitor.Handler's server's Logger", does: failures},
}

// TestHostileUserCodeOfClients is the same for packages reconnect and monitor.
func TestHostileUserCodeOfClients(t *testing.T) {
	for i := range clientSites {
		s := &clientSites[i]
		for _, does := range append(append([]behaviour(nil), anywhere...), s.does...) {
			t.Run(s.title()+"/"+string(does), func(t *testing.T) {
				t.Parallel()
				playClient(t, s, does)
			})
		}
	}
}

func playClient(t *testing.T, s *site, does behaviour) {
	r := prepareRig(t, modesNamed("Serve over TCP")[0], s, does)
	of, _, _ := strings.Cut(s.of(), ".")
	logger := s.source != ""
	if r.b.source = ""; logger && of == "reconnect" {
		r.srv.Logger = slog.New(slog.DiscardHandler)
	}
	r.serve()
	switch of {
	case "reconnect":
		r.leadClient(t, logger)
	case "monitor":
		r.leadMonitor(t, logger)
	}
	r.wantStats(t)
	r.wantShutdown(t)
	if of != "reconnect" {
		close(r.b.freed)
	}
	if !t.Failed() {
		r.wantCounters(t)
	}
	within(t, "the rig's own goroutines", inTime, r.conns.Wait)
}

// leadClient has a client meet its user's code, and wants it to connect again after that, and to end when told.
func (r *rig) leadClient(t *testing.T, logger bool) {
	echoed := make(chan struct{}, 1<<10)
	sent, first := make(chan struct{}), logger || r.b.site == "reconnect.Client.Final" // so that there is something to log
	c := &reconnect.Client{
		Dial: func(ctx context.Context) (*libnet.Session, error) {
			<-sent // so that it is held
			if first {
				first = false
				return nil, errors.New("so that Final is asked")
			}
			switch does := r.b.at("reconnect.Client.Dial"); does {
			case "", givesNil:
				if does == givesNil {
					return nil, nil
				}
			default:
				return nil, r.b.failure(does)
			}
			d := libnet.Dialer{Protocol: protocolOf("pure", new(bomb))}
			d.SendQueue = 8
			return d.Dial(ctx, "tcp", r.listener.Addr().String())
		},
		OnConnect: func(context.Context, *libnet.Session) error {
			return r.b.failure(r.b.at("reconnect.Client.OnConnect"))
		},
		Final:   func(error) bool { r.b.at("reconnect.Client.Final"); return false },
		OnState: func(reconnect.Change) { r.b.at("reconnect.Client.OnState") },
		Handler: libnet.MessageHandlerFunc(func(*libnet.Session, []byte) {
			select {
			case echoed <- struct{}{}:
			default:
			}
		}),
		Size: func(msg any) int {
			switch r.b.at("reconnect.Client.Size") {
			case givesLess:
				return -1
			case givesMore:
				return math.MaxInt
			}
			return len(msg.([]byte))
		},
		MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	}
	if logger {
		c.Logger = slog.New(logs{r.b})
	}
	r.client = c
	r.b.armed.Store(true)
	c.Start()
	returned := make(chan struct{})
	r.conns.Go(func() {
		defer close(returned)
		r.apart(func() { _ = c.Send([]byte("held")) }) // the user's goroutine is his own to lose, or to keep: Size is called in it
	})
	inSend := r.b.site == "reconnect.Client.Size" && r.b.does == hangs
	if inSend {
		r.wantCalled(t)
	} else {
		<-returned
	}
	close(sent)
	r.wantCalled(t)
	switch {
	case r.b.does == closes, r.b.does == shuts, r.b.does == stops:
	case r.b.does == hangs && !inSend: // which holds the client up, but none of its methods
		within(t, "methods of the client", inTime, func() { r.callClient(context.Background(), asks); _ = c.Send([]byte("again")) })
	default:
		r.wantEcho(t, c, echoed)
	}
	within(t, "Close", inTime, c.Close)
	if r.b.does == hangs {
		close(r.b.freed)
	}
	within(t, "the client's end", inTime, func() { <-c.Done() })
}

// wantEcho sends until an answer comes: what was sent on a session that failed is lost.
func (r *rig) wantEcho(t *testing.T, c *reconnect.Client, echoed <-chan struct{}) {
	for end := time.Now().Add(inTime); time.Now().Before(end); {
		_ = c.Send([]byte("again"))
		select {
		case <-echoed:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("the client does not come back")
}

// leadMonitor asks a monitor twice: the first request meets the user's code.
func (r *rig) leadMonitor(t *testing.T, logger bool) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	yes := func(site string) bool { return r.b.at(site) == "" }
	number := func(site string) float64 {
		switch r.b.at(site) {
		case givesLess:
			return math.Inf(-1)
		case givesMore:
			return math.NaN()
		}
		return 1
	}
	options := monitor.Options{
		Authorize: func(*http.Request) bool { return yes("monitor.Options.Authorize") },
		Ready:     func() bool { return yes("monitor.Options.Ready") },
		Groups:    map[string]func() int{"a group": func() int { return int(number("monitor.Options.Groups")) }},
		Gauges:    []monitor.Gauge{{Name: "a_gauge", Help: "Any number.", Value: func() float64 { return number("monitor.Gauge.Value") }}},
	}
	if logger {
		options.Ready = func() bool { panic("for the logger to be told") }
	}
	web := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), Handler: monitor.Handler(r.srv, options)}
	r.conns.Go(func() { _ = web.Serve(l) })
	defer web.Close()
	client := &http.Client{Timeout: inTime, Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(ctx context.Context, path string) string {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			return err.Error()
		}
		answer, err := client.Do(request)
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, answer.Body)
		return fmt.Sprint(answer.StatusCode)
	}
	r.b.armed.Store(true)
	ctx, cancel := r.victimsContext()
	defer cancel()
	_, _ = get(ctx, "/varz"), get(ctx, "/readyz")
	r.wantCalled(t)
	want := "200"
	for _, path := range []string{"/varz", "/connz", "/metrics", "/healthz"} {
		if got := get(context.Background(), path); got != want {
			t.Errorf("%s answers %s after that", path, got)
		}
	}
}
