package libnettest

import (
	"context"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/libnet-go/libnet"
)

const (
	// endPatience is how long the shutdown behind a test may take.
	endPatience = 10 * time.Second

	// clientsFirst is how long the clients' ends may take before the server is shut down. A handler that receives ends
	// with its client, and has had all that one sent; one that does not receive notices nothing.
	clientsFirst = 200 * time.Millisecond
)

// end is the test's cleanup.
func (c *Clients) end(served <-chan error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	clients, _ := c.all()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		shutDown(ctx, clients)
	}()
	waitFor(ended, clientsFirst)
	err := c.srv.Shutdown(ctx)
	<-ended
	if !c.mayLose.Load() {
		c.checkLost(err)
	}
	if err := <-served; !is(err, libnet.ErrServerClosed) {
		c.t.Errorf("libnettest: serving ended with: %v", err)
	}
	c.checkHandlers()
}

// all returns all sessions.
func (c *Clients) all() (clients, served []*libnet.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions, c.served
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
func (c *Clients) checkLost(shutdown error) {
	c.t.Helper()
	if shutdown != nil {
		c.t.Errorf("libnettest: %v", shutdown)
	}
	if n := c.srv.Stats().Panics; n > 0 {
		c.t.Errorf("libnettest: %d panics in the server's handlers, codecs or callbacks: its log has them", n)
	}
	clients, served := c.all()
	c.checkSessions("the clients", clients)
	if shutdown == nil { // else it has told
		c.checkSessions("the server", served)
	}
}

func (c *Clients) checkSessions(side string, sessions []*libnet.Session) {
	c.t.Helper()
	var lost, dropped uint64
	for _, s := range sessions {
		stats := s.Stats()
		dropped += stats.Dropped
		if !isPeers(s.Err()) {
			lost += stats.Discarded
		}
	}
	if lost > 0 {
		c.t.Errorf("libnettest: %s lost %d messages that Send had taken: Shutdown delivers them, Close does not", side, lost)
	}
	if dropped > 0 {
		c.t.Logf("libnettest: %s did not receive %d bytes that had arrived", side, dropped)
	}
}

// isPeers reports whether a session's peer has ended it.
func isPeers(reason error) bool {
	for _, of := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if is(reason, of) {
			return true
		}
	}
	return false
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
