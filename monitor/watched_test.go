package monitor_test

import (
	"context"
	"fmt"
	"html"
	"log/slog"
	"math"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/monitor"
	"github.com/libnet-go/libnet/resume"
)

// named gives srv a session with a name, and a peer at an address.
func named(t *testing.T, srv *libnet.Server, name, remote string) *libnet.Session {
	t.Helper()
	near, far := libnettest.Pipe()
	t.Cleanup(func() { _ = far.Close() })
	s, err := srv.NewSession(fromSomewhere{near, addr(remote)})
	if err != nil {
		t.Fatal(err)
	}
	s.SetName(name)
	return s
}

func TestSessionsAreFoundByNameNumberAndAddress(t *testing.T) {
	srv := newServer(t)
	sessions := map[string]*libnet.Session{
		"ann": named(t, srv, "Ann", "192.0.2.1:1"), "bob": named(t, srv, "Bob & Söhne", "192.0.2.2:1"), "nobody": named(t, srv, "", "198.51.100.3:1"),
	}
	gone := named(t, srv, "Annabel", "192.0.2.9:1")
	_ = gone.Close()
	<-gone.Done()
	hidden, open := monitor.Handler(srv, monitor.Options{}), monitor.Handler(srv, monitor.Options{RemoteAddrs: true})
	for _, test := range []struct {
		find      string
		byName    []string // and by number
		byAddress []string
		closed    int // of one, without addresses
	}{
		{"ann", []string{"ann"}, nil, 1},
		{" ANN ", []string{"ann"}, nil, 1},
		{"söhne", []string{"bob"}, nil, 0},
		{fmt.Sprint(sessions["nobody"].ID()), []string{"nobody"}, nil, 0},
		{"192.0.2.", nil, []string{"ann", "bob"}, 0},
		{"198.51", nil, []string{"nobody"}, 0},
		{"zebra", nil, nil, 0},
		{"", []string{"ann", "bob", "nobody"}, nil, 1},
		{strings.Repeat("x", 256), nil, nil, 0},
	} {
		for h, want := range map[http.Handler][]string{hidden: test.byName, open: append(test.byName, test.byAddress...)} {
			query := "find=" + strings.NewReplacer(" ", "+", "&", "%26").Replace(test.find)
			c := getJSON[monitor.Connz](t, h, "/connz?sort=id&"+query)
			if len(c.Sessions) != len(want) || c.Total != len(want) {
				t.Errorf("%q: %d of %d found; want %v", test.find, len(c.Sessions), c.Total, want)
			}
			for i, s := range c.Sessions {
				if s.ID != sessions[want[i]].ID() || s.Name != sessions[want[i]].Name() {
					t.Errorf("%q: %+v; want %v", test.find, s, want)
				}
			}
			page := get(t, h, "/?sort=id&"+query)
			if none := strings.Contains(page, "No session is found."); none != (len(want) == 0) || !none && len(rows(page, "sessions")) != len(want) {
				t.Errorf("%q on the page: %v; want %v", test.find, rows(page, "sessions"), want)
			}
		}
		if c := getJSON[monitor.Connz](t, hidden, "/connz?state=closed&find="+strings.TrimSpace(test.find)); c.Total != test.closed {
			t.Errorf("%q of the closed: %d; want %d", test.find, c.Total, test.closed)
		}
	}
	if c := getJSON[monitor.Connz](t, open, "/connz?state=closed&find=192.0.2.9"); c.Total != 1 {
		t.Errorf("%d of the closed by their address", c.Total)
	}
	for _, path := range []string{"/?find=", "/connz?find="} {
		if w := serve(hidden, request("GET", path+strings.Repeat("x", 257))); w.Code != http.StatusBadRequest {
			t.Errorf("what is too long: %d", w.Code)
		}
	}
	if page := get(t, hidden, "/?find=%22%3E%3Cb%3E"); strings.Contains(page, "<b>\"") || strings.Contains(page, `""><b>`) || !strings.Contains(page, "No session is found.") {
		t.Error("what is searched for is markup")
	}
}

// A name may be one that a peer has chosen.
func TestANameIsShownOnOneLineAndIsNoMarkup(t *testing.T) {
	srv := newServer(t)
	h := monitor.Handler(srv, monitor.Options{})
	for name, want := range map[string]string{
		"<script>alert(1)</script>":   "<script>alert(1)</script>",
		"two\nlines":                  `two\nlines`,
		"turned \u202e round":         `turned \u202e round`,
		"a \"quote\"":                 `a "quote"`,
		"broken \xff\xfe":             `broken \xff\xfe`,
		"\x00":                        `\x00`,
		strings.Repeat("é", 1000):     strings.Repeat("é", 64),
		"{{.Varz}} %s ${x} </td><td>": "{{.Varz}} %s ${x} </td><td>",
	} {
		s := named(t, srv, name, "somewhere")
		if got := getJSON[monitor.Connz](t, h, "/connz").Sessions[0].Name; got != want {
			t.Errorf("%.30q: %q; want %q", name, got, want)
		}
		page := get(t, h, "/")
		if got := rows(page, "sessions")[0][1]; got != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%.30q: %q on the page; want %q", name, got, want)
		}
		if strings.Contains(want, "<") && strings.Contains(page, want) || !strings.Contains(html.UnescapeString(page), want) {
			t.Errorf("%.30q is not escaped", name)
		}
		_ = s.Close()
		<-s.Done()
	}
}

func TestGroupsGaugesAndLimitsAreShown(t *testing.T) {
	srv := newServer(t)
	srv.MaxSessions, srv.Histograms = 10_000, true
	var users libnet.Group[string]
	s, far := adopt(t, srv)
	users.Put("ann", s)
	say(t, s, far, "hello")
	h := monitor.Handler(srv, monitor.Options{
		Name:   "front",
		Groups: map[string]func() int{"users": users.Len, `a "room"\`: func() int { return 7 }},
		Gauges: []monitor.Gauge{
			{"app_load", "How much there is\nto do.", func() float64 { return 0.25 }},
			{"app_nothing", "No number.", math.NaN},
			{"app_much", "Too much.", func() float64 { return math.Inf(1) }},
		},
	})
	v := getJSON[monitor.Varz](t, h, "/varz")
	if fmt.Sprint(v.Groups) != `map[a "room"\\:7 users:1]` || fmt.Sprint(v.Gauges) != "map[app_load:0.25]" ||
		v.Name != "front" || v.MaxSessions != 10_000 || v.SendQueue != 8 || v.GoVersion != runtime.Version() ||
		v.MessageSize.Sum != 5 || v.HandlerTime.Counts == nil || v.QueueWait.Counts == nil || time.Since(v.Started) > time.Hour {
		t.Errorf("%+v", v)
	}
	metrics := get(t, h, "/metrics")
	for _, want := range []string{
		`libnet_sessions{server="front"} 1`, `libnet_sessions_limit{server="front"} 10000`, `libnet_queue_limit_messages{server="front"} 8`,
		`libnet_group_members{server="front",group="users"} 1`, `libnet_group_members{server="front",group="a \"room\"\\\\"} 7`,
		`# HELP app_load How much there is\nto do.`, "app_load 0.25", "app_nothing NaN", "app_much +Inf",
		`libnet_received_message_size_bytes_bucket{server="front",le="32"} 1`, `libnet_received_message_size_bytes_count{server="front"} 1`,
		`libnet_handler_duration_seconds_bucket{server="front",le="1.024e-06"} 0`,
		`libnet_queue_wait_seconds_bucket{server="front",le="1.024e-06"} 0`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	page := html.UnescapeString(get(t, h, "/"))
	for _, want := range []string{"of 10,000", "of 8", "<dt>users</dt><dd>1</dd>", ">app_load</dt><dd>0.25</dd>", runtime.Version(), "<b>front</b>"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s on the page", want)
		}
	}
}

func TestTheMetricsOfSeveralServersStandTogether(t *testing.T) {
	front, back := newServer(t), newServer(t)
	adopt(t, back)
	h := monitor.Handler(front, monitor.Options{Name: "front", Others: map[string]*libnet.Server{"back\n": back}})
	metrics := get(t, h, "/metrics")
	if !strings.Contains(metrics, "# TYPE libnet_sessions gauge\nlibnet_sessions{server=\"front\"} 0\nlibnet_sessions{server=\"back\\\\n\"} 1\n") {
		t.Error(metrics)
	}
	if n := strings.Count(metrics, "# TYPE libnet_sessions_closed_total "); n != 1 {
		t.Errorf("%d types of one metric", n)
	}
}

func TestOptionsThatCannotBeAreRefused(t *testing.T) {
	one := func() float64 { return 1 }
	srv := newServer(t)
	many := make(map[string]func() int)
	for i := range 101 {
		many[fmt.Sprint(i)] = func() int { return 0 }
	}
	for _, o := range []monitor.Options{
		{Gauges: []monitor.Gauge{{"", "", one}}},
		{Gauges: []monitor.Gauge{{"a b", "", one}}},
		{Gauges: []monitor.Gauge{{"a{b=\"c\"}", "", one}}},
		{Gauges: []monitor.Gauge{{"a\n", "", one}}},
		{Gauges: []monitor.Gauge{{"libnet_sessions", "", one}}},
		{Gauges: []monitor.Gauge{{"a", "", one}, {"a", "", one}}},
		{Gauges: []monitor.Gauge{{"a", "", nil}}},
		{Groups: map[string]func() int{"a": nil}},
		{Groups: many},
		{Others: map[string]*libnet.Server{"other": srv}},
		{Name: "a", Others: map[string]*libnet.Server{"a": srv}},
		{Name: "a", Others: map[string]*libnet.Server{"": srv}},
		{Name: "a", Others: map[string]*libnet.Server{"b": nil}},
		{Resume: (*resume.Server)(nil)},
	} {
		if l, err := o.Listen("127.0.0.1:0"); err == nil {
			_ = l.Close()
			t.Errorf("%+v listens", o)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Serve(t.Context(), l, srv); err == nil {
			t.Errorf("%+v serves", o)
		}
		func() {
			defer func() { _ = recover() }()
			monitor.Handler(srv, o)
			t.Errorf("%+v makes a handler", o)
		}()
	}
}

// What hangs keeps one goroutine, and costs one answer a second.
func TestAGroupOrGaugeThatMisbehavesIsLeftOutAlone(t *testing.T) {
	eachBadly(t, func(t *testing.T, misbehave func()) {
		h := monitor.Handler(newServer(t), monitor.Options{
			Authorize: anybody,
			Groups:    map[string]func() int{"bad": func() int { misbehave(); return 1 }, "good": func() int { return 2 }},
			Gauges:    []monitor.Gauge{{"bad", "", func() float64 { misbehave(); return 1 }}, {"good", "", func() float64 { return 2 }}},
		})
		var before int
		for i := range 80 {
			began := time.Now()
			v := getJSON[monitor.Varz](t, h, "/varz")
			if fmt.Sprint(v.Groups, v.Gauges) != "map[good:2] map[good:2]" || i > 0 && time.Since(began) > 2*time.Second {
				t.Fatalf("%v %v after %v", v.Groups, v.Gauges, time.Since(began))
			}
			synctest.Wait()
			if i == 1 {
				before = runtime.NumGoroutine()
			}
		}
		if n := runtime.NumGoroutine(); n > before+2 {
			t.Errorf("%d goroutines, %d before", n, before)
		}
		for _, path := range []string{"/", "/metrics"} {
			if w := within(t, 4*time.Second, h, request("GET", path)); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "good") {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
		answers(t, h)
	})
}

// http.ErrAbortHandler ends an answer only where it comes from what answers.
func TestNothingButAnOptionCanAbortAnAnswer(t *testing.T) {
	abort := func() { panic(http.ErrAbortHandler) }
	srv := libnet.NewServer(addressless{libnettest.NewListener(), func() net.Addr { abort(); return nil }}, protocol, 8)
	srv.Logger = slog.New(slog.DiscardHandler)
	defer srv.Stop()
	h := monitor.Handler(srv, monitor.Options{
		Groups: map[string]func() int{"bad": func() int { abort(); return 1 }},
		Gauges: []monitor.Gauge{{"bad", "", func() float64 { abort(); return 1 }}},
	})
	for _, path := range []string{"/", "/varz", "/metrics"} {
		get(t, h, path)
	}
}

// hangingHandler has no lock, which would be no waiting to synctest.
type hangingHandler func()

func (h hangingHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (h hangingHandler) Handle(context.Context, slog.Record) error { h(); return nil }
func (h hangingHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h hangingHandler) WithGroup(string) slog.Handler             { return h }

// The logger is the program's, too: where it hangs, panics cost no more goroutines than other calls that hang.
func TestALoggerThatHangsKeepsNeitherAnswersNorGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		var lines atomic.Int64
		srv := newServer(t)
		srv.Logger = slog.New(hangingHandler(func() { lines.Add(1); <-free }))
		h := monitor.Handler(srv, monitor.Options{Ready: func() bool { panic("on purpose") }})
		before := runtime.NumGoroutine()
		for range 1000 {
			if w := within(t, time.Second, h, request("GET", "/readyz")); w.Code != http.StatusServiceUnavailable {
				t.Fatalf("%d %q", w.Code, w.Body)
			}
		}
		synctest.Wait()
		if n := lines.Load(); n == 0 || n > 64 {
			t.Errorf("%d goroutines wait for the logger", n)
		}
		if n := runtime.NumGoroutine() - before; n > 2*64 { // others' that begin or end are among them
			t.Errorf("there are %d goroutines more than before", n)
		}
		close(free)
		synctest.Wait()
		serve(h, request("GET", "/readyz"))
		synctest.Wait()
		if lines.Load() < 2 {
			t.Error("the logger is not called any more")
		}
	})
}
