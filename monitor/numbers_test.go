package monitor_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/monitor"
)

func TestVarzSaysWhatStatsSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{})
		for i := range 5 {
			s, far := adopt(t, srv)
			for range i {
				say(t, s, far, "hello")
			}
			if err := s.Send([]byte("good day")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(far, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				_ = s.CloseWithError(libnet.ErrSlowConsumer)
			}
		}
		synctest.Wait() // what the last peer has read is counted by now
		v, stats := getJSON[monitor.Varz](t, h, "/varz"), srv.Stats()
		if v.Open != 4 || v.Open != stats.Open || v.Peak != 4 || v.Accepted != 5 || v.MessagesOut != 5 || v.BytesOut != 50 || v.Slow != 1 || v.Closed["slow_consumer"] != 1 {
			t.Errorf("%+v", v)
		}
		if v.MessagesIn != stats.MessagesIn || v.BytesIn != stats.BytesIn {
			t.Errorf("received: %d messages, %d bytes; Stats has %d, %d", v.MessagesIn, v.BytesIn, stats.MessagesIn, stats.BytesIn)
		}
		if v.Now.Before(v.Since) || time.Since(v.Now) > time.Minute || v.Goroutines < 1 || v.Memory < 1<<20 || v.Draining {
			t.Errorf("%+v", v)
		}
	})
}

// backlog gives srv a session with n messages of 10 bytes queued, whose peer reads none.
func backlog(t testing.TB, srv *libnet.Server, n int) *libnet.Session {
	t.Helper()
	near, far := libnettest.PipeSize(1)
	s, err := srv.NewSession(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	for range n {
		if err := s.Send([]byte("8 bytes.")); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestQueuesAddUpWherePeersDoNotRead(t *testing.T) {
	srv := newServer(t)
	h := monitor.Handler(srv, monitor.Options{})
	adopt(t, srv)
	backlog(t, srv, 3)
	full := backlog(t, srv, 8)
	if err := full.Send([]byte("one more")); err != libnet.ErrSessionBlocked {
		t.Fatal(err)
	}
	v := getJSON[monitor.Varz](t, h, "/varz")
	if v.Waiting != 2 || v.Queued != 11 || v.QueuedBytes < 108 || v.QueuedBytes > 110 || v.Blocked != 1 {
		t.Errorf("%d waiting, %d messages of %d bytes queued, %d blocked", v.Waiting, v.Queued, v.QueuedBytes, v.Blocked)
	}
	_ = full.Close()
	if v := getJSON[monitor.Varz](t, h, "/varz"); v.Waiting != 1 || v.Queued != 3 || v.Discarded != 8 {
		t.Errorf("after the close: %d waiting, %d queued, %d discarded", v.Waiting, v.Queued, v.Discarded)
	}
}

func TestAServerIsReadyWhenItSaysSo(t *testing.T) {
	srv := newServer(t)
	ready := false
	h := monitor.Handler(srv, monitor.Options{Ready: func() bool { return ready }})
	if w := serve(h, request("GET", "/readyz")); w.Code != http.StatusServiceUnavailable || w.Body.String() != "not ready\n" {
		t.Errorf("before: %d %q", w.Code, w.Body)
	}
	ready = true
	if got := get(t, h, "/readyz"); got != "ready\n" {
		t.Errorf("then %q", got)
	}
}

func TestAServerIsNotReadyAsSoonAsItDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{})
		_, far := adopt(t, srv)
		if got := get(t, h, "/readyz"); got != "ready\n" {
			t.Errorf("before: %q", got)
		}
		ended := make(chan error, 1)
		go func() { ended <- srv.Shutdown(context.Background()) }()
		synctest.Wait() // the session waits for its peer's end
		w := serve(h, request("GET", "/readyz"))
		if w.Code != http.StatusServiceUnavailable || w.Body.String() != "draining\n" {
			t.Errorf("in the drain: %d %q", w.Code, w.Body)
		}
		if get(t, h, "/healthz") != "ok\n" || !getJSON[monitor.Varz](t, h, "/varz").Draining {
			t.Error("healthz or varz")
		}
		if page := get(t, h, "/"); !strings.Contains(page, "draining") || !strings.Contains(page, "closing") {
			t.Error("the page does not tell")
		}
		c := getJSON[monitor.Connz](t, h, "/connz?state=closing")
		if c.Total != 1 || len(c.Sessions) != 1 || c.Sessions[0].State != "closing" {
			t.Errorf("%+v", c)
		}
		if c := getJSON[monitor.Connz](t, h, "/connz?state=open"); c.Total != 0 || c.Sessions == nil {
			t.Errorf("%+v", c)
		}
		_ = far.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if w := serve(h, request("GET", "/readyz")); w.Code != http.StatusServiceUnavailable {
			t.Errorf("after: %d", w.Code)
		}
	})
}

// fromSomewhere is a conn with an address to hide.
type fromSomewhere struct {
	net.Conn
	addr net.Addr
}

func (c fromSomewhere) RemoteAddr() net.Addr { return c.addr }

func TestNeitherAddressesNorPayloadsNorErrorsAreShownUnasked(t *testing.T) {
	const address, payload = "198.51.100.23", "<script>a secret</script>"
	srv := newServer(t)
	adoptFrom := func() *libnet.Session {
		near, far := libnettest.Pipe()
		t.Cleanup(func() { _ = far.Close() })
		s, err := srv.NewSession(fromSomewhere{near, &net.TCPAddr{IP: net.ParseIP(address), Port: 4711}})
		if err != nil {
			t.Fatal(err)
		}
		say(t, s, far, payload)
		return s
	}
	adoptFrom()
	_ = adoptFrom().CloseWithError(fmt.Errorf("what is %s from %s:4711?", payload, address))
	paths := []string{"/", "/varz", "/connz", "/connz?state=closed", "/metrics"}
	hides, shows := monitor.Handler(srv, monitor.Options{}), monitor.Handler(srv, monitor.Options{RemoteAddrs: true})
	for _, path := range paths {
		for _, h := range []http.Handler{hides, shows} {
			if body := get(t, h, path); strings.Contains(body, "secret") || strings.Contains(body, "what is") {
				t.Errorf("%s has a payload or an error's text in it", path)
			}
		}
		if strings.Contains(get(t, hides, path), address) {
			t.Errorf("%s has an address in it", path)
		}
		shown := strings.Count(get(t, shows, path), address+":4711")
		if want := map[string]int{"/": 2, "/connz": 1, "/connz?state=closed": 1}[path]; shown != want {
			t.Errorf("%s, asked to, shows %d addresses; want %d", path, shown, want)
		}
	}
}

// What errors say is for who asks for it: made of one line, of a bounded length, and no markup.
func TestTheTextsOfErrorsAreShownWhereTheyAreAskedFor(t *testing.T) {
	srv := newServer(t)
	hides, shows := monitor.Handler(srv, monitor.Options{}), monitor.Handler(srv, monitor.Options{ErrorTexts: true})
	for text, want := range map[string]string{
		"wrong password":               "wrong password",
		"<b>bold</b>\nline":            `<b>bold</b>\nline`,
		strings.Repeat("é", 100_000):   strings.Repeat("é", 128) + "…",
		"turned \u202e round \xff\xfe": `turned \u202e round \xff\xfe`,
		"":                             "",
	} {
		s, _ := adopt(t, srv)
		_ = s.CloseWithError(errors.New(text))
		<-s.Done()
		query := fmt.Sprintf("/connz?state=closed&find=%d", s.ID())
		if got := getJSON[monitor.Connz](t, shows, query).Sessions[0]; got.Error != want || got.Reason != "error" {
			t.Errorf("%.30q: %q, %q; want %q", text, got.Reason, got.Error, want)
		}
		if page := get(t, shows, "/"); !strings.Contains(page, html.EscapeString(want)) || strings.Contains(page, "<b>bold") {
			t.Errorf("%.30q is not on the page, or is markup", text)
		}
		if got := getJSON[monitor.Connz](t, hides, query).Sessions[0]; got.Error != "" {
			t.Errorf("nobody has asked for %q", got.Error)
		}
	}
	if page := get(t, hides, "/"); strings.Contains(page, "wrong password") {
		t.Error("nobody has asked for the page's texts")
	}
}

// addr is one that somebody else chose.
type addr string

func (a addr) Network() string { return "any" }
func (a addr) String() string  { return string(a) }

func TestAnAddressIsTextAndNothingElse(t *testing.T) {
	srv := newServer(t)
	h := monitor.Handler(srv, monitor.Options{RemoteAddrs: true})
	near, far := libnettest.Pipe()
	defer far.Close()
	if _, err := srv.NewSession(fromSomewhere{near, addr(`<img src=x onerror="alert(1)">`)}); err != nil {
		t.Fatal(err)
	}
	near, far = libnettest.Pipe()
	defer far.Close()
	if _, err := srv.NewSession(fromSomewhere{near, nil}); err != nil {
		t.Fatal(err)
	}
	if page := get(t, h, "/"); strings.Contains(page, "<img src=x") || !strings.Contains(page, "&lt;img src=x") {
		t.Error("the address is not escaped")
	}
	if c := getJSON[monitor.Connz](t, h, "/connz?sort=id"); len(c.Sessions) != 2 || c.Sessions[0].Remote != `<img src=x onerror="alert(1)">` || c.Sessions[1].Remote != "" {
		t.Errorf("%+v", c)
	}
}

// A counter that appears with its first event has no increase for it: so /metrics must know all reasons.
func TestTheMetricsHaveEveryReasonFromTheBeginning(t *testing.T) {
	metrics := get(t, monitor.Handler(newServer(t), monitor.Options{}), "/metrics")
	for _, err := range []error{
		io.EOF, libnet.ErrSessionClosed, libnet.ErrServerClosed, syscall.ECONNRESET, libnet.ErrFrameTooLarge,
		libnet.ErrMalformedFrame, io.ErrUnexpectedEOF, libnet.ErrHandshakeTimeout, libnet.ErrProxyHeader, libnet.ErrFrameTimeout,
		libnet.ErrWriteTimeout, libnet.ErrIdleTimeout, libnet.ErrSlowConsumer, libnet.ErrRateLimit, libnet.ErrHandedOver, libnet.ErrPanic,
		errors.New("another"),
	} {
		line := fmt.Sprintf("libnet_sessions_closed_total{reason=%q} 0\n", libnet.CloseReason(err))
		if strings.Count(metrics, line) != 1 {
			t.Errorf("no line %q", line)
		}
	}
	if n := strings.Count(metrics, "reason="); n != 17 {
		t.Errorf("%d reasons", n)
	}
}

func TestTheMetricsSayWhatStatsSay(t *testing.T) {
	srv := newServer(t)
	h := monitor.Handler(srv, monitor.Options{})
	s, far := adopt(t, srv)
	say(t, s, far, "hello")
	_ = s.CloseWithError(libnet.ErrMalformedFrame)
	backlog(t, srv, 8)
	metrics := get(t, h, "/metrics")
	for _, line := range []string{
		"libnet_sessions 1", "libnet_sessions_peak 1", "libnet_sessions_accepted_total 2", "libnet_received_messages_total 1",
		"libnet_received_bytes_total 7", `libnet_sessions_closed_total{reason="malformed_frame"} 1`, "libnet_queued_messages 8",
		"libnet_waiting_sessions 1", "libnet_draining 0", "# TYPE libnet_sessions gauge", "# TYPE libnet_received_bytes_total counter",
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("no line %q in\n%s", line, metrics)
		}
	}
	srv.Stop()
	if metrics := get(t, h, "/metrics"); !strings.Contains(metrics, "libnet_draining 1\n") {
		t.Error("the metrics do not tell of the drain")
	}
}

func TestWhatArrivedForNobodyIsShown(t *testing.T) {
	srv := newServer(t)
	h := monitor.Handler(srv, monitor.Options{})
	s, far := adopt(t, srv)
	if _, err := far.Write([]byte("\x00\x03one\x00\x03two")); err != nil {
		t.Fatal(err)
	}
	if msg, err := s.Receive(); err != nil || string(msg) != "one" {
		t.Fatal(string(msg), err)
	}
	_ = s.Close()
	if v := getJSON[monitor.Varz](t, h, "/varz"); v.Dropped != 5 {
		t.Errorf("%d bytes dropped; want the frame of the second message", v.Dropped)
	}
}
