package monitor

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// setHeaders tells browsers what they must not do with an answer. It concerns errors, too.
func setHeaders(h http.Header, r *http.Request) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // no-referrer would make a form's Origin null
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.Header.Get("Sec-Fetch-Site") != "" { // over plain HTTP from elsewhere it would be an error in the console
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
	h.Set("Cache-Control", "no-store")
}

// admit answers the requests that must not be served, and reports whether this one may be.
func (m *monitor) admit(w http.ResponseWriter, r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	switch {
	case isForeign(r):
		http.Error(w, "This monitor answers no pages of other origins.", http.StatusForbidden)
		return false
	case m.Authorize == nil && !isLoopback(local):
		http.Error(w, "This monitor answers its own machine only: it has no Options.Authorize.", http.StatusForbidden)
		return false
	case !m.isHost(r, local):
		http.Error(w, fmt.Sprintf("This monitor is not known as %.100q. Options.Hosts can add a name.", r.Host), http.StatusForbidden)
		return false
	case m.Authorize != nil && !isProbe(r):
		return m.authorize(w, r)
	}
	return true
}

func (m *monitor) authorize(w http.ResponseWriter, r *http.Request) bool {
	switch ok, err := option(m, "Options.Authorize", func() bool { return m.Authorize(r) }); {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return false
	case !ok:
		w.Header().Set("WWW-Authenticate", `Basic realm="libnet monitor", charset="UTF-8"`)
		http.Error(w, "Who are you?", http.StatusUnauthorized)
		return false
	}
	return true
}

// isProbe holds for what load balancers ask, who have no password.
func isProbe(r *http.Request) bool { return r.URL.Path == "/healthz" || r.URL.Path == "/readyz" }

// isLoopback holds for addresses that only this machine can reach. An address that is not known is none.
func isLoopback(addr net.Addr) bool {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return a != nil && a.IP.IsLoopback()
	case *net.UnixAddr:
		return a != nil
	}
	return false
}

// isHost reports whether a request is for a name of this monitor's. A name that somebody else's DNS can point here
// is none; an address is no such name. What a proxy says of itself, in X-Forwarded-Host and the like, anybody can say.
func (m *monitor) isHost(r *http.Request, local net.Addr) bool {
	if r.Host == "" && !r.ProtoAtLeast(1, 1) {
		return true // HTTP/1.0 need not name a host, and no browser speaks it: a health check
	}
	name, port := splitHost(r.Host)
	for _, allowed := range m.Hosts {
		n, p := splitHost(allowed)
		if n != "" && strings.EqualFold(n, name) && (p == "" || p == port || port == "" && (p == "80" || p == "443")) {
			return true
		}
	}
	addr, _ := netip.ParseAddr(name)
	loopback := strings.EqualFold(name, "localhost") || addr.IsLoopback()
	tcp, ok := local.(*net.TCPAddr)
	if !ok || tcp == nil {
		return loopback
	}
	self := addr.IsValid() && unzoned(addr) == unzoned(tcp.AddrPort().Addr())
	return (port == strconv.Itoa(tcp.Port) || port == "" && tcp.Port == defaultPort(r)) && (loopback || self)
}

func unzoned(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// defaultPort is what a browser leaves out.
func defaultPort(r *http.Request) int {
	if r.TLS != nil {
		return 443
	}
	return 80
}

// splitHost is net.SplitHostPort for what may have no port. The brackets of an IPv6 address go; one without them is
// an address, too, in Options.Hosts.
func splitHost(host string) (name, port string) {
	if _, err := netip.ParseAddr(host); err == nil {
		return host, ""
	}
	u := url.URL{Host: host}
	return strings.TrimSuffix(u.Hostname(), "."), u.Port()
}

// isForeign reports whether a page of another origin's makes this request. Such a page could not read the answer, but
// keep the monitor busy, and tell from the time how much there is. What it may do is link here.
func isForeign(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Dest") != "document"
}

// isSameOrigin reports whether a request came from a page of this monitor's own. Browsers that do not say
// so in Sec-Fetch-Site name the page's origin.
func isSameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}
