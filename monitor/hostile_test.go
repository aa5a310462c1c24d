package monitor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/monitor"
)

// badly are the ways in which code of the program's does not return what it should.
var badly = map[string]func(){
	"panics":                     func() { panic("on purpose") },
	"panics with nil":            func() { panic(error(nil)) },
	"panics with what panics":    func() { panic(unprintable{}) },
	"panics with an endless one": func() { panic(endless) },
	"ends its goroutine":         runtime.Goexit,
	"blocks for a while":         func() { time.Sleep(time.Minute) },
	"blocks for a long time":     func() { time.Sleep(100 * time.Hour) },
	"panics after a long time":   func() { time.Sleep(time.Hour); panic("late") },
	"ends after it was given up": func() { time.Sleep(time.Hour); runtime.Goexit() },
}

// endless contains itself: fmt would follow it until the stack has no room.
var endless = func() []any {
	v := make([]any, 1)
	v[0] = v
	return v
}()

type unprintable struct{}

func (unprintable) String() string { panic("again") }
func (unprintable) Error() string  { panic("again") }

// eachBadly runs test with each of badly, and ends the bubble when the last of them has ended.
func eachBadly(t *testing.T, test func(t *testing.T, misbehave func())) {
	for name, misbehave := range badly {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, misbehave)
				time.Sleep(20_000 * time.Hour) // some are called again and again
			})
		})
	}
}

// answers wants all of a monitor's other pages, at once.
func answers(t *testing.T, h http.Handler) {
	t.Helper()
	began := time.Now()
	get(t, h, "/healthz")
	if took := time.Since(began); took > 0 {
		t.Errorf("/healthz took %v", took)
	}
}

func within(t *testing.T, bound time.Duration, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	began := time.Now()
	recorded := serve(h, r)
	if took := time.Since(began); took > bound {
		t.Errorf("%s %s took %v; want %v at most", r.Method, r.URL, took, bound)
	}
	return recorded
}

func TestAnAuthoriserThatMisbehavesLetsNobodyInAndKeepsNobody(t *testing.T) {
	eachBadly(t, func(t *testing.T, misbehave func()) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{Authorize: func(*http.Request) bool { misbehave(); return true }})
		for _, path := range []string{"/", "/varz", "/connz", "/metrics", "/nothing"} {
			w := within(t, 10*time.Second, h, request("GET", path))
			if w.Code != http.StatusServiceUnavailable || !strings.HasPrefix(w.Body.String(), "Options.Authorize: ") {
				t.Errorf("%s: %d %q", path, w.Code, w.Body)
			}
		}
		answers(t, h)
		if srv.Stats().Open != 0 {
			t.Error("sessions")
		}
	})
}

func TestAnAuthoriserMayAbort(t *testing.T) {
	h := monitor.Handler(newServer(t), monitor.Options{Authorize: func(*http.Request) bool { panic(http.ErrAbortHandler) }})
	defer func() {
		if r := recover(); r != http.ErrAbortHandler {
			t.Errorf("panicked with %v", r)
		}
	}()
	serve(h, request("GET", "/"))
	t.Error("answered")
}

func TestAPanicOfAnOptionIsLoggedWithItsStack(t *testing.T) {
	var log strings.Builder
	logged := make(chan struct{})
	srv := newServer(t)
	srv.Logger = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		defer close(logged)
		return log.Write(p)
	}), nil))
	h := monitor.Handler(srv, monitor.Options{Ready: func() bool { panic("no database") }})
	serve(h, request("GET", "/readyz"))
	<-logged
	if text := log.String(); !strings.Contains(text, "no database") || !strings.Contains(text, "hostile_test.go") || !strings.Contains(text, "Options.Ready") {
		t.Error(text)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestAReadyThatMisbehavesIsNotReady(t *testing.T) {
	eachBadly(t, func(t *testing.T, misbehave func()) {
		h := monitor.Handler(newServer(t), monitor.Options{Ready: func() bool { misbehave(); return true }})
		w := within(t, 10*time.Second, h, request("GET", "/readyz"))
		if w.Code != http.StatusServiceUnavailable || !strings.HasPrefix(w.Body.String(), "not ready: Options.Ready: ") {
			t.Errorf("%d %q", w.Code, w.Body)
		}
		answers(t, h)
	})
}

// A goroutine for each request to an authoriser that hangs would be as good as no bound.
func TestCallsThatHangDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		h := monitor.Handler(newServer(t), monitor.Options{Authorize: func(*http.Request) bool { <-free; return true }})
		for range 3 {
			var wg sync.WaitGroup
			for range 64 {
				wg.Go(func() { serve(h, request("GET", "/varz")) })
			}
			wg.Wait()
		}
		before := runtime.NumGoroutine()
		began := time.Now()
		for range 1000 {
			if w := serve(h, request("GET", "/varz")); w.Code != http.StatusServiceUnavailable {
				t.Fatalf("%d %q", w.Code, w.Body)
			}
		}
		if time.Since(began) > 0 || runtime.NumGoroutine() > before {
			t.Errorf("1000 requests more took %v and %d goroutines", time.Since(began), runtime.NumGoroutine()-before)
		}
		close(free)
		synctest.Wait()
		if w := serve(h, request("GET", "/varz")); w.Code != http.StatusOK {
			t.Errorf("when they have returned: %d %q", w.Code, w.Body)
		}
	})
}

// hostileAddr does what it likes when it is asked.
type hostileAddr struct{ misbehave func() }

func (a hostileAddr) Network() string { a.misbehave(); return "any" }
func (a hostileAddr) String() string  { a.misbehave(); return "late" }

func TestAnAddressThatMisbehavesIsLeftOut(t *testing.T) {
	eachBadly(t, func(t *testing.T, misbehave func()) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{RemoteAddrs: true})
		for i, remote := range []net.Addr{addr("first"), hostileAddr{misbehave}, nil, (*net.TCPAddr)(nil), addr("last")} {
			near, far := libnettest.Pipe()
			defer far.Close()
			s, err := srv.NewSession(fromSomewhere{near, remote})
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 1 {
				defer s.Close()
			}
		}
		for _, path := range []string{"/", "/connz?sort=id", "/connz?sort=id&limit=1&offset=1", "/varz", "/metrics"} {
			w := within(t, 3*time.Second, h, request("GET", path))
			if w.Code != http.StatusOK {
				t.Errorf("%s: %d %q", path, w.Code, w.Body)
			}
			if path == "/connz?sort=id" && !strings.Contains(w.Body.String(), `"first"`) {
				t.Errorf("the address before it is not shown: %s", w.Body)
			}
		}
		answers(t, h)
	})
}

func TestAnAddressThatPanicsHidesNoOther(t *testing.T) {
	for _, name := range []string{"panics", "panics with nil", "panics with what panics", "ends its goroutine"} {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{RemoteAddrs: true})
		for _, remote := range []net.Addr{addr("first"), hostileAddr{badly[name]}, hostileAddr{badly[name]}, addr("last")} {
			near, far := libnettest.Pipe()
			defer far.Close()
			if _, err := srv.NewSession(fromSomewhere{near, remote}); err != nil {
				t.Fatal(err)
			}
		}
		if c := getJSON[monitor.Connz](t, h, "/connz?sort=id"); c.Sessions[0].Remote != "first" || c.Sessions[1].Remote != "" || c.Sessions[3].Remote != "last" {
			t.Errorf("%s: %+v", name, c.Sessions)
		}
	}
}

func TestAnAddressIsShownUpToALength(t *testing.T) {
	srv := newServer(t)
	h := monitor.Handler(srv, monitor.Options{RemoteAddrs: true})
	for _, remote := range []addr{addr(strings.Repeat("é", 10<<20)), "\xff\xfe \x00 broken"} {
		near, far := libnettest.Pipe()
		defer far.Close()
		if _, err := srv.NewSession(fromSomewhere{near, remote}); err != nil {
			t.Fatal(err)
		}
	}
	c := getJSON[monitor.Connz](t, h, "/connz?sort=id")
	if long := c.Sessions[0].Remote; len(long) > 300 || !strings.HasPrefix(long, "éé") || strings.Contains(long, "�") {
		t.Errorf("%d bytes: %.20q", len(long), long)
	}
	if page := get(t, h, "/"); len(page) > 100<<10 || strings.Contains(page, "\xff") {
		t.Errorf("the page has %d bytes", len(page))
	}
}

// hostileReason is a reason to close a session with that does what it likes when it is looked at.
type hostileReason struct {
	looked    *atomic.Int64
	misbehave func()
}

func (r hostileReason) Error() string { return "hostile" }

func (r hostileReason) Is(error) bool {
	if r.looked.Add(1) > 100 { // libnet looks first
		r.misbehave()
	}
	return false
}

func TestAReasonThatMisbehavesKeepsNobody(t *testing.T) {
	eachBadly(t, func(t *testing.T, misbehave func()) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{})
		s, _ := adopt(t, srv)
		var looked atomic.Int64
		_ = s.CloseWithError(hostileReason{&looked, misbehave})
		looked.Store(1000)
		for _, path := range []string{"/", "/connz?state=closed"} {
			w := within(t, 3*time.Second, h, request("GET", path))
			if w.Code != http.StatusOK {
				t.Errorf("%s: %d %q", path, w.Code, w.Body)
			}
		}
		answers(t, h)
	})
}

// speaker is an error that does what it likes when its text is asked for, but libnet's log may have it.
type speaker struct {
	asked     *atomic.Bool
	misbehave func()
}

func (e speaker) Error() string {
	if e.asked.Load() {
		e.misbehave()
	}
	return "late"
}

func TestAnErrorWhoseTextMisbehavesKeepsNobody(t *testing.T) {
	eachBadly(t, func(t *testing.T, misbehave func()) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{ErrorTexts: true})
		var asked atomic.Bool
		for _, err := range []error{speaker{&asked, misbehave}, errors.New("the last")} { // the latest is asked first
			s, _ := adopt(t, srv)
			_ = s.CloseWithError(err)
			<-s.Done()
			time.Sleep(time.Second)
		}
		asked.Store(true)
		for _, path := range []string{"/", "/connz?state=closed"} {
			w := within(t, 3*time.Second, h, request("GET", path))
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "the last") {
				t.Errorf("%s: %d %q", path, w.Code, w.Body)
			}
		}
		answers(t, h)
	})
}

// addressless is a listener whose Addr does what it likes.
type addressless struct {
	net.Listener
	addr func() net.Addr
}

func (l addressless) Addr() net.Addr { return l.addr() }

func TestAListenerWhoseAddressMisbehavesIsShownWithoutIt(t *testing.T) {
	eachBadly(t, func(t *testing.T, misbehave func()) {
		for name, addr := range map[string]func() net.Addr{
			"Addr":       func() net.Addr { misbehave(); return nil },
			"its String": func() net.Addr { return hostileAddr{misbehave} },
			"nil":        func() net.Addr { return nil },
		} {
			srv := libnet.NewServer(addressless{libnettest.NewListener(), addr}, protocol, 8)
			srv.Logger = slog.New(slog.DiscardHandler)
			h := monitor.Handler(srv, monitor.Options{})
			for _, path := range []string{"/varz", "/", "/metrics"} {
				w := within(t, 3*time.Second, h, request("GET", path))
				if w.Code != http.StatusOK {
					t.Errorf("%s, %s: %d %q", name, path, w.Code, w.Body)
				}
			}
			// The monitor looks by itself, too, on a goroutine where a panic would end the process.
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- monitor.Options{Authorize: anybody}.Serve(ctx, libnettest.NewListener(), srv) }()
			time.Sleep(10 * time.Second)
			cancel()
			began := time.Now()
			if err := <-ended; err != nil || time.Since(began) > 3*time.Second {
				t.Errorf("%s: it ended with %v after %v", name, err, time.Since(began))
			}
			srv.Stop()
		}
	})
}

func TestACloseCallbackThatMisbehavesKeepsNobody(t *testing.T) {
	eachBadly(t, func(t *testing.T, misbehave func()) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{Authorize: anybody})
		s, _ := adopt(t, srv)
		s.OnClose(misbehave)
		w := within(t, 11*time.Second, h, request("POST", "/close", withForm(fmt.Sprintf("id=%d", s.ID())), sameOrigin))
		if w.Code != http.StatusSeeOther || !s.IsClosed() {
			t.Errorf("%d %q", w.Code, w.Body)
		}
		answers(t, h)
	})
}

func TestABodyIsBoundedBeforeTheAuthoriserReadsIt(t *testing.T) {
	var read int64
	h := monitor.Handler(newServer(t), monitor.Options{Authorize: func(r *http.Request) bool {
		read, _ = io.Copy(io.Discard, r.Body)
		return false
	}})
	for _, method := range []string{"POST", "GET"} {
		r := request(method, "/close")
		r.Body = io.NopCloser(io.LimitReader(zeros{}, 64<<20))
		if serve(h, r); read > 4<<10 {
			t.Errorf("%s: %d bytes were read", method, read)
		}
	}
	r := request("POST", "/close", sameOrigin)
	r.Body = nil
	if w := serve(monitor.Handler(newServer(t), monitor.Options{Authorize: anybody}), r); w.Code != http.StatusBadRequest {
		t.Errorf("without a body: %d", w.Code)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestNoParameterCostsMoreThanItsAnswer(t *testing.T) {
	srv := newServer(t)
	crowd(t, srv, 200)
	h := monitor.Handler(srv, monitor.Options{Authorize: anybody})
	long := strings.Repeat("9", 60_000)
	for _, path := range []string{"/connz", "/", "/varz", "/metrics", "/readyz", "/healthz"} {
		for _, name := range []string{"offset", "limit", "sort", "state", "id", long} {
			for _, value := range []string{"", "0", "-1", "1e9", "2000000000", "2147483647", "2147483648", "9223372036854775807", "99999999999999999999", "%00", "%ff", "NaN", "rate", long} {
				for _, query := range []string{name + "=" + value, name + "=" + value + "&" + name + "=" + value, name, name + "=" + value + ";x"} {
					r := request("GET", path)
					r.URL.RawQuery = query
					w := serve(h, r)
					if w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
						t.Errorf("%s?%.40s: %d", path, query, w.Code)
					}
					if w.Code == http.StatusBadRequest && w.Body.Len() > 1<<10 {
						t.Errorf("%s?%.40s: an error of %d bytes", path, query, w.Body.Len())
					}
				}
			}
		}
	}
}

func TestAPageBeyondTheLastSessionAllocatesNothingForThem(t *testing.T) {
	srv := newServer(t)
	crowd(t, srv, 5000)
	h := monitor.Handler(srv, monitor.Options{})
	get(t, h, "/connz?limit=1") // what is kept for later looks
	for _, query := range []string{"offset=2000000000", "offset=5000", "state=closed&offset=64", "state=closing&offset=2147483647&limit=1000"} {
		least := uint64(1 << 40)
		for range 5 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c := getJSON[monitor.Connz](t, h, "/connz?"+query)
			runtime.ReadMemStats(&after)
			least = min(least, after.TotalAlloc-before.TotalAlloc)
			if len(c.Sessions) != 0 || !strings.Contains(query, "state") && c.Total != 5000 {
				t.Fatalf("%s: %d of %d sessions", query, len(c.Sessions), c.Total)
			}
		}
		if least > 100<<10 {
			t.Errorf("%s: allocated %d bytes", query, least)
		}
	}
}

func TestARefusalIsShort(t *testing.T) {
	h := monitor.Handler(newServer(t), monitor.Options{})
	for _, host := range []string{strings.Repeat("a", 1<<20), strings.Repeat("\xff", 1<<20)} {
		if w := serve(h, request("GET", "/", withHost(host))); w.Code != http.StatusForbidden || w.Body.Len() > 1<<10 {
			t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
		}
	}
	if w := serve(h, request("GET", "/"+strings.Repeat("x", 1<<20))); w.Code != http.StatusNotFound || w.Body.Len() > 1<<10 {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestAMonitorOfAServerThatWasNotMadePanicsAtOnce(t *testing.T) {
	for name, srv := range map[string]*libnet.Server{"nil": nil, "zero": new(libnet.Server)} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, "libnet: ") {
					t.Errorf("%s: %q", name, text)
				}
			}()
			monitor.Handler(srv, monitor.Options{})
			t.Errorf("%s: no panic", name)
		}()
	}
}
