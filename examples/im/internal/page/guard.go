package page

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guard is what every request passes before it is served: the Host header, the origin of what is not a
// plain read, and the headers that tell the browser what the page must not do.
func guard(o Options, next http.Handler) http.Handler {
	hosts := o.hosts()
	policy := strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'",
		"style-src 'self'",
		"img-src 'self'",
		"connect-src 'self' " + o.connectSources(),
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
		// No string becomes HTML or script, whoever wrote the code that tries.
		"require-trusted-types-for 'script'",
		"trusted-types 'none'",
	}, "; ")

	sameOrigin := http.NewCrossOriginProtection()
	next = sameOrigin.Handler(next)

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		// The files are small and change with the program: always ask.
		header.Set("Cache-Control", "no-cache")

		if !slices.Contains(hosts, hostname(r.Host)) {
			http.Error(w, "this server does not go by that name", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostname is the Host header without port and without the brackets of an IPv6 address.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// fromHere reports whether a request came in from this machine, by the addresses of its connection: what its headers
// say, anybody can write.
func fromHere(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}
