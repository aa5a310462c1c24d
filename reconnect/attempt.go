package reconnect

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/libnet-go/libnet"
)

// What an attempt fails with that no error of anybody's says.
var (
	errNoSession = fmt.Errorf("%w: Dial returned no session", libnet.ErrPanic)
	errExited    = fmt.Errorf("%w: a callback ended its goroutine", libnet.ErrPanic)
)

// attempt connects and stays with the session until it ends.
func (c *Client) attempt(r *loop) {
	r.last = outcome{err: errExited} // unless the callbacks return
	c.tell(Change{State: Connecting})
	s, err := c.connect(r.lifetime.ctx)
	if err != nil {
		r.last.err = err
		return
	}
	c.runSession(r, s)
}

// connect makes a session and has OnConnect prepare it.
func (c *Client) connect(ctx context.Context) (s *libnet.Session, err error) {
	if bound := resolve(c.AttemptTimeout, defaultAttemptTimeout); bound > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, bound)
		defer cancel()
	}
	defer c.watchOver(ctx)()
	s, err = c.dial(ctx)
	if err != nil {
		return nil, err
	}
	err = errExited // unless OnConnect returns
	defer func() {
		if err != nil {
			_ = s.CloseWithError(err)
			<-s.Done()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = s.CloseWithError(ctx.Err()) })
	prepared := c.prepare(ctx, s)
	if !stop() && !isPermanent(prepared) {
		prepared = ctx.Err()
	}
	err = prepared
	return s, err
}

// overdue is how long after their context's end Dial and OnConnect may go on before a line in the log says so.
const overdue = 5 * time.Second

// watchOver logs that a callback is still at work although ctx has ended, which holds the client up. It is over when
// stop is called.
func (c *Client) watchOver(ctx context.Context) (stop func()) {
	returned := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		late := time.NewTimer(overdue)
		defer late.Stop()
		select {
		case <-returned:
		case <-late.C:
			c.log(slog.LevelError, "libnet: Dial or OnConnect goes on though its context has ended")
		}
	})
	return func() {
		unwatch()
		close(returned)
	}
}

// dial returns an open session or an error.
func (c *Client) dial(ctx context.Context) (s *libnet.Session, err error) {
	defer c.recovered("Dial", &err)
	s, err = c.Dial(ctx)
	switch {
	case err != nil && s != nil:
		_ = s.CloseWithError(err)
	case err != nil:
	case s == nil || s.ID() == 0:
		err = errNoSession
	case s.IsClosed():
		err = fmt.Errorf("libnet: Dial returned a session that has ended: %w", s.Err())
	}
	return s, err
}

func (c *Client) prepare(ctx context.Context, s *libnet.Session) (err error) {
	if c.OnConnect == nil {
		return nil
	}
	defer c.recovered("OnConnect", &err)
	return c.OnConnect(ctx, s)
}

// runSession receives until s ends. What is held goes out meanwhile: a peer may have to be read from before
// it reads.
func (c *Client) runSession(r *loop, s *libnet.Session) {
	stop := context.AfterFunc(r.lifetime.ctx, func() { _ = s.Close() })
	defer stop()
	begin := time.Now()
	k := c.sessionUp(s)
	returned := false
	defer func() {
		if !returned { // a callback has ended this goroutine
			_ = s.CloseWithError(errExited)
		}
		c.sessionGone(k)
		<-s.Done()
		<-k.sent
		c.account(k)
		r.last = outcome{time.Since(begin), s.Stats().MessagesIn > 0, s.Err()}
	}()
	c.tell(Change{State: Connected, Session: s})
	c.receive(s)
	returned = true
}

// keptBuffer is the largest receive buffer that is kept for the next message.
const keptBuffer = 64 << 10

// receive returns when s is closed, or closing: what is queued may still be on its way.
func (c *Client) receive(s *libnet.Session) {
	var buf []byte
	for {
		var err error
		if buf, err = c.next(s, buf); err == nil {
			err = c.handle(s, buf)
		}
		if err != nil {
			c.endOpen(s, err)
			return
		}
		if cap(buf) > keptBuffer {
			buf = nil
		}
	}
}

// endOpen ends s for err if nobody has begun to: a Shutdown that is under way goes on.
func (c *Client) endOpen(s *libnet.Session, err error) {
	if !s.IsClosed() {
		_ = s.CloseWithError(err)
	}
}

// next panics inside where Dial returned a session that another receives from, such as one of ServeMessages.
func (c *Client) next(s *libnet.Session, buf []byte) (msg []byte, err error) {
	defer c.recovered("Receive", &err)
	return s.ReceiveInto(buf)
}

func (c *Client) handle(s *libnet.Session, msg []byte) (err error) {
	if c.Handler == nil {
		return nil
	}
	defer c.recovered("Handler", &err)
	c.Handler.ServeMessage(s, msg)
	return nil
}
