package monitor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/usercode"
)

// Bounds of the monitor's own HTTP server: no request needs nearly as long, or as much.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = time.Minute
	maxHeaderBytes = 16 << 10

	// closeTimeout is how long answers under way may take when the monitor ends.
	closeTimeout = time.Second
)

// ListenAndServe is [Options.ListenAndServe] with no options: for this machine only, without addresses.
func ListenAndServe(ctx context.Context, addr string, server *libnet.Server) error {
	return Options{}.ListenAndServe(ctx, addr, server)
}

// ListenAndServe shows server at addr, a TCP address as in "127.0.0.1:7001", until ctx ends; then it returns
// nil. Let ctx outlive the server's Shutdown, for /readyz to tell of it. Without Options.Authorize an address
// that is not loopback is an error, and so is one without a host, which would be all of the machine's.
func (o Options) ListenAndServe(ctx context.Context, addr string, server *libnet.Server) error {
	l, err := o.Listen(addr)
	if err != nil {
		return err
	}
	return o.Serve(ctx, l, server)
}

// Listen is the first half of [Options.ListenAndServe], for those who want to know the port that became of a
// port 0, or to fail early.
func (o Options) Listen(addr string) (net.Listener, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	resolved, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("libnet: monitor: %w", err)
	}
	if err := o.mayListen(resolved); err != nil {
		return nil, err
	}
	l, err := net.ListenTCP("tcp", resolved)
	if err != nil {
		return nil, fmt.Errorf("libnet: monitor: %w", err)
	}
	return l, nil
}

// Serve is the second half of [Options.ListenAndServe], on a listener that it closes in any case. It refuses one that
// Listen would have. It does not wait for longer than a second for a Close of the listener's, and says so where that
// has not returned.
func (o Options) Serve(ctx context.Context, l net.Listener, server *libnet.Server) error {
	if usercode.IsNil(l) {
		return errors.New("libnet: monitor: Serve without a listener")
	}
	err := o.check()
	if err == nil {
		addr, _ := usercode.Answer(l.Addr)
		err = o.mayListen(addr)
	}
	if err != nil {
		_, _ = usercode.Answer(l.Close)
		return err
	}
	m := newMonitorFor(l, server, o)
	web := boundedServer(m)
	ctx, cancel := context.WithCancel(usercode.Context(ctx, "monitor.Serve"))
	defer cancel()
	looked := make(chan struct{})
	go func() { defer close(looked); m.keepLooking(ctx) }()
	stopped := make(chan struct{})
	go func() { defer close(stopped); stopWith(ctx, web) }()
	listener := newUserListener(l)
	err = web.Serve(listener)
	cancel()
	<-stopped
	<-looked
	_ = listener.Close() // or wait for who does
	switch {
	case err != http.ErrServerClosed:
	case listener.unclosed:
		return errUnclosed
	default:
		return nil
	}
	return fmt.Errorf("libnet: monitor: %w", err)
}

// newMonitorFor is newMonitor that closes l where there is no monitor: a server that is none makes it panic.
func newMonitorFor(l net.Listener, server *libnet.Server, o Options) (m *monitor) {
	defer func() {
		if m == nil {
			_, _ = usercode.Answer(l.Close)
		}
	}()
	return newMonitor(server, o)
}

// boundedServer is a server of h that waits for no client for ever.
func boundedServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
}

func (o Options) mayListen(addr net.Addr) error {
	if o.Authorize == nil && !isLoopback(addr) {
		return fmt.Errorf("libnet: monitor: %s is not loopback, so others could reach it: use a loopback address, or set Options.Authorize", usercode.Text(addr))
	}
	return nil
}

// stopWith ends web with ctx. A request that takes longer is cut off.
func stopWith(ctx context.Context, web *http.Server) {
	<-ctx.Done()
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if web.Shutdown(bound) != nil {
		_ = web.Close()
	}
}

// keepLooking fills the history while nobody asks.
func (m *monitor) keepLooking(ctx context.Context) {
	for {
		m.look(nil)
		timer := time.NewTimer(m.past.due())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}
