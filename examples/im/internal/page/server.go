package page

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/limit"
)

// Server serves the page at an address of its own.
type Server struct {
	// Immutable after Serve.
	URL string // where a browser finds the page

	http *http.Server
	done chan struct{} // closed when nothing is served any more
}

// Serve serves the page on l, which it closes in the end.
func Serve(l net.Listener, o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	scheme := "http"
	if o.TLS != nil {
		scheme, l = "https", tls.NewListener(l, o.TLS)
	}
	s := &Server{URL: scheme + "://" + placeOf(l.Addr().String(), o.Hosts), done: make(chan struct{})}
	s.http = &http.Server{
		Handler:           Handler(o),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		ConnState:         limit.HTTP(0, o.MaxPerAddress),
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug), // browsers' faults
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			o.Logger.Error("the page is no longer served", "error", err)
		}
	}()
	return s
}

// Shutdown answers the requests that are under way, for as long as ctx allows.
func (s *Server) Shutdown(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
}

// placeOf is what follows the scheme in the page's URL: a name that the page answers to.
func placeOf(listening string, hosts []string) string {
	host, port, _ := net.SplitHostPort(listening)
	switch {
	case len(hosts) > 0:
		host = hosts[0]
	case net.ParseIP(host).IsUnspecified():
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port) + "/"
}
