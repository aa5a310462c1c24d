package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/ws"
)

// dialSession connects with libnet's own client.
func (c *crowd) dialSession(ctx context.Context, st *station) (*libnet.Session, error) {
	d := &libnet.Dialer{Protocol: protocol()}
	d.SendQueue, d.Logger, d.Linger = 16, quiet, time.Second
	if st.tls {
		d.TLSConfig = insecure
	}
	address := c.addresses[st.name]
	switch {
	case webSockets(st) && st.tls:
		return ws.Dial(ctx, "wss://"+address, d, nil)
	case webSockets(st):
		return ws.Dial(ctx, "ws://"+address, d, nil)
	case st.network != "":
		return d.Dial(ctx, st.network, address)
	}
	return d.Dial(ctx, "tcp", address)
}

// useSession sends, receives the answers, and leaves in one of several ways.
func useSession(c *crowd, st *station) {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	s, err := c.dialSession(ctx, st)
	if err != nil {
		c.fault("%s: Dial: %w", st.name, err)
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	sent, last := uint64(0), uint64(0)
	for range 1 + rand.IntN(5) {
		for range 1 + rand.IntN(10) {
			if err = s.SendContext(ctx, numbered(sent+1, size())); err != nil {
				break
			}
			sent++
		}
		if last, err = c.receiveUpTo(s, st, last, sent); err != nil || !c.pace.wait(ctx) {
			break
		}
	}
	if err != nil {
		c.fault("%s: session: %w", st.name, err)
	}
	c.leave(s, st, sent)
}

func (c *crowd) receiveUpTo(s *libnet.Session, st *station, last, sent uint64) (uint64, error) {
	for last < sent {
		msg, err := s.Receive()
		if err != nil {
			return last, err
		}
		c.received(st)
		if n := numberOf(msg); n != 0 {
			c.inOrder(st, last, n)
			last = n
		}
	}
	return last, nil
}

// leave ends s and checks its account.
func (c *crowd) leave(s *libnet.Session, st *station, sent uint64) {
	for range rand.IntN(10) { // some for which no answer is waited
		if s.Send(numbered(sent+1, size())) == nil {
			sent++
		}
	}
	var err error
	switch rand.IntN(3) {
	case 0:
		_ = s.Close()
	case 1:
		_ = s.CloseWithError(errors.New("as it likes"))
	default:
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err = s.Shutdown(ctx)
		cancel()
	}
	<-s.Done()
	stats := s.Stats()
	if stats.MessagesOut+stats.Discarded != sent || stats.Queued != 0 {
		c.faults.add("%s: client sent %d, %+v", st.name, sent, stats)
	}
	var undelivered *libnet.ShutdownError
	if errors.As(err, &undelivered) && undelivered.Undelivered > stats.Discarded {
		c.faults.add("%s: %v, but %d discarded", st.name, err, stats.Discarded)
	}
}
