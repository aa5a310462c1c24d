package monitor_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/libnet-go/libnet/monitor"
)

var allPaths = []string{
	"/", "/varz", "/connz", "/metrics", "/healthz", "/readyz", "/style.css", "/script.js", "/icon.svg", "/close", "/nothing",
}

func TestAMonitorAnswersItsOwnMachineOnlyUnlessAuthorized(t *testing.T) {
	srv := newServer(t)
	closed, open := monitor.Handler(srv, monitor.Options{}), monitor.Handler(srv, monitor.Options{Authorize: anybody})
	for _, addr := range []net.Addr{outside, &net.TCPAddr{IP: net.IPv6unspecified, Port: 7001}, &net.IPAddr{}, nil} {
		for _, path := range allPaths {
			r := request("GET", path, arrivedAt(addr))
			if w := serve(closed, r); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "Options.Authorize") {
				t.Errorf("%s at %v: %d %q", path, addr, w.Code, w.Body)
			}
		}
	}
	if w := serve(open, request("GET", "/varz", arrivedAt(outside), withHost("192.0.2.7:7001"))); w.Code != http.StatusOK {
		t.Errorf("with an authoriser: %d %q", w.Code, w.Body)
	}
	for _, addr := range []net.Addr{
		loopback, &net.TCPAddr{IP: net.IPv6loopback, Port: 7001}, &net.TCPAddr{IP: net.IPv4(127, 8, 8, 8), Port: 7001},
		&net.UnixAddr{Name: "/run/monitor", Net: "unix"},
	} {
		if w := serve(closed, request("GET", "/varz", arrivedAt(addr))); w.Code != http.StatusOK {
			t.Errorf("at %v: %d %q", addr, w.Code, w.Body)
		}
	}
}

func TestAMonitorHasOnlyNamesThatNobodyElseCanPointAtIt(t *testing.T) {
	srv := newServer(t)
	o := monitor.Options{Authorize: anybody, Hosts: []string{"monitor.example", "proxy.example:8443", "192.0.2.99", ""}}
	h := monitor.Handler(srv, o)
	for host, ok := range map[string]bool{
		"127.0.0.1:7001":       true,
		"127.1.2.3:7001":       true,
		"[::1]:7001":           true,
		"localhost:7001":       true,
		"LOCALHOST:7001":       true,
		"localhost.:7001":      true,
		"192.0.2.7:7001":       true, // the address that the request came in at
		"monitor.example":      true,
		"Monitor.Example:9":    true,
		"proxy.example:8443":   true,
		"192.0.2.99:1":         true,
		"":                     false,
		":7001":                false,
		"127.0.0.1":            false,
		"localhost":            false,
		"localhost:7002":       false,
		"127.0.0.1:80":         false,
		"192.0.2.8:7001":       false,
		"evil.example":         false,
		"evil.example:7001":    false,
		"localhost.evil:7001":  false,
		"127.0.0.1.evil:7001":  false,
		"proxy.example":        false,
		"proxy.example:7001":   false,
		"x@localhost:7001":     false,
		"localhost:7001/x":     false,
		"monitor.example.evil": false,
		"2130706433:7001":      false,
	} {
		for _, path := range allPaths[:len(allPaths)-2] {
			w := serve(h, request("GET", path, arrivedAt(outside), withHost(host)))
			if ok && w.Code != http.StatusOK || !ok && w.Code != http.StatusForbidden {
				t.Errorf("%s of host %q: %d", path, host, w.Code)
			}
		}
	}
	at80 := arrivedAt(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80})
	if w := serve(h, request("GET", "/varz", at80, withHost("localhost"))); w.Code != http.StatusOK {
		t.Errorf("at port 80, where browsers name none: %d", w.Code)
	}
	if w := serve(h, request("GET", "/varz", at80, withHost("localhost:7001"))); w.Code != http.StatusForbidden {
		t.Errorf("at port 80, of another: %d", w.Code)
	}
}

func TestEverythingIsGetOrHead(t *testing.T) {
	h := monitor.Handler(newServer(t), monitor.Options{Authorize: anybody})
	for _, path := range allPaths[:len(allPaths)-2] {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"} {
			r := request("GET", path)
			r.Method = method
			if w := serve(h, r); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q", method, path, w.Code, w.Header().Get("Allow"))
			}
		}
		if w := serve(h, request("HEAD", path)); w.Code != http.StatusOK || w.Header().Get("Content-Length") == "" {
			t.Errorf("HEAD %s: %d", path, w.Code)
		}
	}
}

func TestEveryAnswerTellsBrowsersWhatTheyMustNotDo(t *testing.T) {
	refuses := monitor.Options{Authorize: func(*http.Request) bool { return false }}
	for _, h := range []http.Handler{
		monitor.Handler(newServer(t), monitor.Options{}), monitor.Handler(newServer(t), refuses),
	} {
		for _, path := range allPaths {
			for _, r := range []*http.Request{
				request("GET", path), request("POST", path), request("GET", path, withHost("evil.example")),
				request("GET", path, arrivedAt(outside)), request("GET", path, withHeader("Origin", "http://evil.example")),
				request("GET", path, withHeader("Sec-Fetch-Site", "cross-site")),
			} {
				forbids(t, r, serve(h, r).Header())
			}
		}
	}
}

// forbids checks what the headers of r's answer forbid a browser.
func forbids(t *testing.T, r *http.Request, header http.Header) {
	t.Helper()
	csp := header.Get("Content-Security-Policy")
	for _, want := range []string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'",
	} {
		if !strings.Contains(csp, want) {
			t.Errorf("%s %s: the policy %q lacks %s", r.Method, r.URL, csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") {
		t.Errorf("%s %s: the policy: %s", r.Method, r.URL, csp)
	}
	if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Referrer-Policy") != "same-origin" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %s: %v", r.Method, r.URL, header)
	}
	if r.Header.Get("Sec-Fetch-Site") != "" && header.Get("Cross-Origin-Opener-Policy") != "same-origin" {
		t.Errorf("%s %s: %v", r.Method, r.URL, header)
	}
	for name := range header {
		if strings.HasPrefix(name, "Access-Control-") || name == "Set-Cookie" {
			t.Errorf("%s %s has the header %s", r.Method, r.URL, name)
		}
	}
}

func TestTheAuthoriserIsAskedAboutEverythingButProbes(t *testing.T) {
	h := monitor.Handler(newServer(t), monitor.Options{Authorize: monitor.BasicAuth("ops", "secret")})
	logged := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	for _, path := range allPaths {
		probe := path == "/healthz" || path == "/readyz"
		for _, r := range []*http.Request{
			request("GET", path), request("GET", path, logged("ops", "wrong")), request("GET", path, logged("ops", "")),
			request("GET", path, logged("", "secret")), request("GET", path, withHeader("Authorization", "Bearer secret")),
		} {
			w := serve(h, r)
			if probe != (w.Code == http.StatusOK) || !probe && w.Code != http.StatusUnauthorized {
				t.Errorf("%s: %d", path, w.Code)
			}
			if !probe && !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("%s: no challenge", path)
			}
		}
		if w := serve(h, request("GET", path, logged("ops", "secret"))); w.Code == http.StatusUnauthorized {
			t.Errorf("%s with the password: %d", path, w.Code)
		}
	}
}

func TestAPrefixIsNoObstacle(t *testing.T) {
	h := http.StripPrefix("/monitor", monitor.Handler(newServer(t), monitor.Options{}))
	for _, path := range []string{"/monitor", "/monitor/", "/monitor/varz", "/monitor/style.css"} {
		if w := serve(h, request("GET", path)); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	for _, link := range []string{`href="/`, `src="/`, `action="/`, "//"} {
		if page := get(t, h, "/monitor/"); strings.Contains(page, link) {
			t.Errorf("the page has %s in it, which leads out of the prefix", link)
		}
	}
}

func TestPagesOfOtherOriginsMayOnlyLinkHere(t *testing.T) {
	h := monitor.Handler(newServer(t), monitor.Options{})
	for site, destinations := range map[string]map[string]int{
		"cross-site":  {"document": 200, "": 403, "empty": 403, "script": 403, "image": 403, "iframe": 403, "object": 403},
		"same-site":   {"document": 200, "": 403, "empty": 403, "style": 403, "frame": 403},
		"same-origin": {"document": 200, "empty": 200, "script": 200, "style": 200, "image": 200},
		"none":        {"document": 200}, // typed
		"":            {"": 200},         // no browser
	} {
		for destination, want := range destinations {
			for _, path := range []string{"/", "/connz", "/readyz", "/script.js"} {
				r := request("GET", path, withHeader("Sec-Fetch-Site", site), withHeader("Sec-Fetch-Dest", destination))
				if w := serve(h, r); w.Code != want {
					t.Errorf("%s of %q as %q: %d; want %d", path, site, destination, w.Code, want)
				}
			}
		}
	}
}

func TestAWrongPathIsToldTheRightOnes(t *testing.T) {
	w := serve(monitor.Handler(newServer(t), monitor.Options{}), request("GET", "/metric"))
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), " /metrics ") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestAPortThatBrowsersLeaveOutIsTheSchemesOwn(t *testing.T) {
	srv := newServer(t)
	h := monitor.Handler(srv, monitor.Options{Authorize: anybody, Hosts: []string{
		"https.example:443", "http.example:80", "odd.example:8443", "2001:db8::1", "[2001:db8::2]:443", "Dotted.Example.",
	}})
	overTLS := func(r *http.Request) { r.TLS = &tls.ConnectionState{} }
	plain := func(*http.Request) {}
	for _, test := range []struct {
		port   int
		scheme func(*http.Request)
		host   string
		ok     bool
	}{
		{443, overTLS, "127.0.0.1", true},
		{443, overTLS, "127.0.0.1:443", true},
		{443, overTLS, "[::1]", true},
		{443, overTLS, "LocalHost.", true},
		{443, overTLS, "192.0.2.7", true},
		{443, overTLS, "127.0.0.1:80", false},
		{443, overTLS, "evil.example", false},
		{443, plain, "127.0.0.1", false}, // plain HTTP at 443 would have named it
		{443, plain, "127.0.0.1:443", true},
		{80, plain, "127.0.0.1", true},
		{80, plain, "[::1]", true},
		{80, plain, "127.0.0.1:80", true},
		{80, plain, "127.0.0.1:", true},
		{80, overTLS, "127.0.0.1", false},
		{80, overTLS, "127.0.0.1:80", true},
		{7001, overTLS, "127.0.0.1", false},
		{7001, overTLS, "127.0.0.1:443", false},
		{7001, overTLS, "127.0.0.1:7001", true},
		{7001, overTLS, "[::1]:7001", true},
		{7001, plain, "[::FFFF:127.0.0.1]:7001", true},
		{7001, plain, "[::ffff:192.0.2.7]:7001", true},
		{7001, plain, "[0:0:0:0:0:0:0:1]:7001", true},
		{7001, plain, "[::1%25lo]:7001", true},
		{7001, plain, "127.0.0.1.:7001", true},
		{7001, plain, "127.0.0.1:0", false},
		{7001, plain, "127.0.0.1:07001", false},
		{7001, plain, "127.0.0.1:7001:7001", false},
		{7001, plain, "127.0.0.1:99999999999999999999", false},
		{7001, plain, "0.0.0.0:7001", false},
		{7001, plain, "[::]:7001", false},
		{7001, plain, "[::1", false},
		{7001, plain, "::1:7001", false},
		{7001, plain, "https.example", true},
		{7001, plain, "HTTPS.EXAMPLE:443", true},
		{7001, plain, "http.example", true},
		{7001, plain, "odd.example", false},
		{7001, plain, "odd.example:8443", true},
		{7001, plain, "[2001:db8::1]:9", true},
		{7001, plain, "[2001:db8::2]", true},
		{7001, plain, "[2001:db8::2]:9", false},
		{7001, plain, "dotted.example", true},
		{7001, plain, "dotted.example.", true},
	} {
		local := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: test.port}
		r := request("GET", "/varz", arrivedAt(local), withHost(test.host))
		test.scheme(r)
		if w := serve(h, r); (w.Code == http.StatusOK) != test.ok {
			t.Errorf("host %q at port %d, over TLS: %v: %d", test.host, test.port, r.TLS != nil, w.Code)
		}
	}
}

func TestAHealthCheckOfHTTP10NeedNameNoHost(t *testing.T) {
	h := monitor.Handler(newServer(t), monitor.Options{})
	old := func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.0", 1, 0 }
	for _, path := range []string{"/readyz", "/healthz", "/metrics"} {
		if w := serve(h, request("GET", path, withHost(""), old)); w.Code != http.StatusOK {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
		if w := serve(h, request("GET", path, withHost(""))); w.Code != http.StatusForbidden {
			t.Errorf("%s by HTTP/1.1: %d", path, w.Code)
		}
		if w := serve(h, request("GET", path, withHost("evil.example"), old)); w.Code != http.StatusForbidden {
			t.Errorf("%s of another host: %d", path, w.Code)
		}
		if w := serve(h, request("GET", path, withHost(""), old, arrivedAt(outside))); w.Code != http.StatusForbidden {
			t.Errorf("%s from another machine: %d", path, w.Code)
		}
	}
}

// Anybody can say so: what a proxy adds opens nothing, and closes nothing.
func TestWhatAProxySaysOfARequestChangesNothing(t *testing.T) {
	h := monitor.Handler(newServer(t), monitor.Options{})
	for name, value := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Host": "127.0.0.1:7001",
		"X-Forwarded-Proto": "https", "X-Forwarded-Port": "7001", "Forwarded": "for=127.0.0.1;host=127.0.0.1:7001",
	} {
		said := withHeader(name, value)
		for _, r := range []*http.Request{
			request("GET", "/varz", said, arrivedAt(outside)), request("GET", "/varz", said, withHost("evil.example")),
			request("GET", "/varz", said, withHost("127.0.0.1")), request("GET", "/varz", said, withHeader("Sec-Fetch-Site", "cross-site")),
		} {
			if w := serve(h, r); w.Code != http.StatusForbidden {
				t.Errorf("%s lets %s in: %d", name, r.Host, w.Code)
			}
		}
		if w := serve(h, request("GET", "/varz", withHeader(name, "evil.example"))); w.Code != http.StatusOK {
			t.Errorf("%s keeps a request out: %d", name, w.Code)
		}
	}
}

func TestAnAddressThatIsNilIsNoLoopback(t *testing.T) {
	h := monitor.Handler(newServer(t), monitor.Options{})
	for _, local := range []net.Addr{(*net.TCPAddr)(nil), (*net.UnixAddr)(nil), addr("127.0.0.1:7001"), nil} {
		if w := serve(h, request("GET", "/varz", arrivedAt(local))); w.Code != http.StatusForbidden {
			t.Errorf("%T: %d", local, w.Code)
		}
	}
}
