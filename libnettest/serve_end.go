package libnettest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/libnet-go/libnet"
)

const (
	// endPatience is how long the shutdown behind a test may take.
	endPatience = 10 * time.Second

	// clientsFirst is how long the clients' ends may take before the server is shut down. A handler that receives ends with
	// its client, and has had all that one sent; one that does not receive notices nothing.
	clientsFirst = 200 * time.Millisecond
)

// end is the test's cleanup.
func (c *Clients) end(served <-chan error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	clients := c.all()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		shutDown(ctx, clients)
	}()
	waitFor(ended, clientsFirst)
	err := c.srv.Shutdown(ctx)
	<-ended
	if !c.mayLose.Load() {
		c.checkLost(err, clients)
	}
	if err := <-served; !errors.Is(err, libnet.ErrServerClosed) {
		c.t.Errorf("libnettest: serving ended with: %v", err)
	}
	c.checkHandlers()
}

func (c *Clients) all() []*libnet.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions
}

// shutDown shuts all sessions down at once. What they lose, their counters say.
func shutDown(ctx context.Context, sessions []*libnet.Session) {
	var all sync.WaitGroup
	for _, s := range sessions {
		all.Go(func() { _ = s.Shutdown(ctx) })
	}
	all.Wait()
}

// waitFor waits until c is closed, or for d.
func waitFor(c <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c:
	case <-timer.C:
	}
}

// checkLost fails the test for what was lost, and notes what was not received.
func (c *Clients) checkLost(shutdown error, clients []*libnet.Session) {
	c.t.Helper()
	stats := c.srv.Stats()
	switch {
	case shutdown != nil:
		c.t.Errorf("libnettest: %v", shutdown)
	case stats.Discarded > 0:
		c.t.Errorf("libnettest: %d messages were lost that the server's Send had taken: Shutdown delivers them, Close does not", stats.Discarded)
	}
	if stats.Panics > 0 {
		c.t.Errorf("libnettest: %d panics in the server's handlers, codecs or callbacks: its log has them", stats.Panics)
	}
	if stats.Dropped > 0 {
		c.t.Logf("libnettest: the server's handler did not receive %d bytes that had arrived", stats.Dropped)
	}
	for i, s := range clients {
		stats := s.Stats()
		if stats.Discarded > 0 {
			c.t.Errorf("libnettest: %d messages were lost that the Send of client %d had taken: Shutdown delivers them, Close does not", stats.Discarded, i+1)
		}
		if stats.Dropped > 0 {
			c.t.Logf("libnettest: client %d did not receive %d bytes that had arrived", i+1, stats.Dropped)
		}
	}
}

// checkHandlers waits for the handlers.
func (c *Clients) checkHandlers() {
	c.t.Helper()
	for end := time.Now().Add(leakGrace); c.handlers.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			c.t.Errorf("libnettest: %d handlers have not returned %v after the server's shutdown", c.handlers.Load(), leakGrace)
			return
		}
	}
}

type countedHandler struct {
	clients *Clients
	handler libnet.Handler
}

func (h countedHandler) ServeSession(s *libnet.Session) {
	h.clients.handlers.Add(1)
	defer h.clients.handlers.Add(-1)
	h.handler.ServeSession(s)
}

type countedMessages struct {
	clients *Clients
	handler libnet.MessageHandler
}

func (h countedMessages) ServeMessage(s *libnet.Session, msg []byte) {
	h.clients.handlers.Add(1)
	defer h.clients.handlers.Add(-1)
	h.handler.ServeMessage(s, msg)
}
