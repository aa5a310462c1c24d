package stress

import (
	"context"
	"errors"

	"github.com/libnet-go/libnet"
)

// end does what the plan says ends the round.
func (r *round) end() {
	switch r.End {
	case "server shutdown":
		ctx, cancel := context.WithTimeout(context.Background(), r.EndWithin)
		defer cancel()
		r.checkShutdown("Server.Shutdown", r.srv.Shutdown(ctx))
		return
	case "server stop":
		r.srv.Stop()
		return
	}
	for i := range r.servers {
		r.busy.Go(func() { r.endOne(r.servers[i], r.clients[i], r.conns[i]) })
	}
}

func (r *round) endOne(server, client *end, conn clientConn) {
	switch r.End {
	case "close":
		_ = server.Close()
	case "shutdown":
		r.shutdown(server)
	case "peer closes":
		_ = client.Close()
	case "peer shuts down":
		r.shutdown(client)
	case "both shut down":
		r.busy.Go(func() { r.shutdown(client) })
		r.shutdown(server)
	case "peer half-closes":
		conn.halfClose()
	case "peer resets":
		conn.reset()
	}
}

// shutdown shuts a session down. Where that returns nil, nothing was lost.
func (r *round) shutdown(e *end) {
	ctx, cancel := context.WithTimeout(context.Background(), r.EndWithin)
	defer cancel()
	before := e.Stats().Discarded
	err := e.Shutdown(ctx)
	r.checkShutdown(e.name, err)
	if after := e.Stats().Discarded; err == nil && after != before && r.OnFull != libnet.DropOldest && e.Err() == libnet.ErrSessionClosed {
		r.t.Errorf("%s: Shutdown returned nil; %d messages were discarded before it, %d in the end", e.name, before, after)
	}
}

func (r *round) checkShutdown(what string, err error) {
	var left *libnet.ShutdownError
	if err != nil && !errors.As(err, &left) {
		r.t.Errorf("%s: Shutdown returned %v", what, err)
	}
}
