package access

import (
	"context"
	"sync"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

const (
	// awayAtOnce is how many sessions are ended at the same time; each has linger to take what is queued for it.
	awayAtOnce = 512
	// awayTimeout bounds how long it takes to end all.
	awayTimeout = 10 * time.Second
)

// SetCut says that the server cannot serve anybody now, or that it can again. While it cannot, it takes no sessions,
// and those that it has are told to ask the gateway for another server, get what is queued for them, and end: within 10
// s, and at once when ctx ends. It returns when they have.
func (s *Server) SetCut(ctx context.Context, cut bool) {
	s.cut.Store(cut)
	if !cut {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, awayTimeout)
	defer cancel()
	elsewhere := wire.Encode(wire.Fail(wire.CmdError, wire.CodeElsewhere, "ask the gateway for another server"))
	room := make(chan struct{}, awayAtOnce)
	var ending sync.WaitGroup
	for session := range s.libnet.Manager().All() {
		room <- struct{}{}
		ending.Go(func() {
			defer func() { <-room }()
			_ = session.Send(elsewhere)
			endBehind(ctx, session, ErrCut)
		})
	}
	ending.Wait()
}

// endBehind ends a session behind what is queued for it, which its client has linger to read.
func endBehind(ctx context.Context, session *libnet.Session, reason error) {
	ctx, cancel := context.WithTimeout(ctx, linger)
	defer cancel()
	_ = session.ShutdownWithError(ctx, reason)
	_ = session.CloseWithError(reason)
}
