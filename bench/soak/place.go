package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/bench/internal/selfsigned"
)

var quiet = slog.New(slog.DiscardHandler)

// A place has all stations.
type place struct {
	secure *tls.Config
	folder string // of the Unix sockets, while the stations live
	mu     sync.Mutex
	lives  []*life
}

// start begins a life of each station and returns the addresses.
func (p *place) start() (addresses map[string]string, err error) {
	if p.secure == nil {
		if p.secure, err = selfsigned.Config(); err != nil {
			return nil, err
		}
	}
	if p.folder, err = os.MkdirTemp("", "soak"); err != nil {
		return nil, err
	}
	addresses = map[string]string{}
	for i := range stations {
		st := &stations[i]
		listener, err := st.listen(p.folder)
		if err != nil {
			return nil, err
		}
		l := &life{station: st, server: st.server(listener, p.secure), served: make(chan struct{})}
		l.run()
		p.mu.Lock()
		p.lives = append(p.lives, l)
		p.mu.Unlock()
		addresses[st.name] = listener.Addr().String()
	}
	return addresses, nil
}

func (p *place) open() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lives {
		n += l.server.Stats().Open
	}
	return n
}

// shutdownTime is less than peers that never read would take to run into their timeouts: some are cut off.
const shutdownTime = 2 * time.Second

// stop shuts all stations down at once and returns their accounts.
func (p *place) stop() []account {
	accounts := make([]account, len(p.lives))
	var wg sync.WaitGroup
	for i, l := range p.lives {
		wg.Go(func() { accounts[i] = l.stop() })
	}
	wg.Wait()
	p.mu.Lock()
	p.lives = nil
	p.mu.Unlock()
	_ = os.RemoveAll(p.folder)
	return accounts
}

// handlerTime bounds the wait for handlers, which only end.
const handlerTime = 5 * time.Second

func (l *life) stop() account {
	before := l.server.Stats()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	began := time.Now()
	err := l.server.Shutdown(ctx)
	took := time.Since(began)
	idle := l.awaitHandlers()
	if err != nil {
		l.awaitClosed()
	}
	a := l.account(before)
	a.Took = took
	var undelivered *libnet.ShutdownError
	switch {
	case errors.As(err, &undelivered):
		a.Undelivered, a.Forced = undelivered.Undelivered, undelivered.Forced
	case err != nil:
		a.fault("Shutdown: %v", err)
	}
	if !idle {
		a.fault("handlers are at work %v after Shutdown", handlerTime)
	}
	return a
}

// awaitHandlers waits until serve has returned and no handler is at work, of event mode either, which no Serve waits
// for.
func (l *life) awaitHandlers() bool {
	bound := time.After(handlerTime)
	select {
	case <-l.served:
	case <-bound:
		return false
	}
	for l.working.Load() > 0 {
		select {
		case <-bound:
			return false
		case <-time.After(time.Millisecond):
		}
	}
	return true
}

// cutTime is for sessions that Shutdown has cut off at the end of its time: it no longer waits for their close
// callbacks.
const cutTime = time.Second

func (l *life) awaitClosed() {
	for end := time.Now().Add(cutTime); l.server.Stats().Open > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}
