package access

import (
	"context"
	"errors"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/quota"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/mux"
)

// newMux says who serves what.
func (s *Server) newMux() *mux.Mux {
	m := wire.NewMux(s.told, s.bounded, s.loggedIn)
	m.Logger = s.log
	handle(m, wire.CmdLogin, (*client).logIn)
	handle(m, wire.CmdPing, (*client).ping)
	handle(m, wire.CmdSendP2P, (*client).sendP2P)
	handle(m, wire.CmdSendGroup, (*client).sendGroup)
	handle(m, wire.CmdSync, (*client).sync)
	handle(m, wire.CmdHistory, (*client).history)
	handle(m, wire.CmdJoinGroup, (*client).join)
	handle(m, wire.CmdLeaveGroup, (*client).leave)
	handle(m, wire.CmdMembers, (*client).members)
	handle(m, wire.CmdPresence, (*client).presence)
	handle(m, wire.CmdWhoAmI, (*client).whoAmI)
	handle(m, wire.CmdAccessServer, (*client).accessServer)
	return m
}

// handle has f serve a command, for the client that sent it.
func handle[Req, Resp any](m *mux.Mux, cmd uint32, f func(*client, context.Context, *Req) (*Resp, error)) {
	mux.Handle(m, wire.Kind(cmd), func(ctx context.Context, s *libnet.Session, req *Req) (*Resp, error) {
		return f(s.State.(*client), ctx, req)
	})
}

// told logs what went wrong, which the client is not told, and says what it is told instead.
func (s *Server) told(next mux.Handler) mux.Handler {
	return func(ctx context.Context, r mux.Request) (any, error) {
		answer, err := next(ctx, r)
		var refusal *mux.Error
		switch {
		case err == nil || errors.As(err, &refusal) || errors.Is(err, mux.ErrNoReply):
			return answer, err
		case errors.Is(err, history.ErrTooLong):
			return nil, refused("message too long")
		case errors.Is(err, history.ErrTooManyGroups):
			return nil, refused("in too many groups")
		case errors.Is(err, quota.ErrTooFast):
			return nil, &mux.Error{Code: wire.CodeTooFast, Text: "too many messages at once, try again"}
		}
		if why := noRoom(err); why != "" {
			return nil, &mux.Error{Code: wire.CodeFull, Text: why}
		}
		s.count.failed.Add(1)
		s.failed.say("access: request failed", "cmd", r.Kind, "user", r.Session.State.(*client).user, "err", err)
		return nil, &mux.Error{Code: wire.CodeServer, Text: wire.TextServer}
	}
}

// noRoom is what a client is told whose message has no room; "" for other errors.
func noRoom(err error) string {
	switch {
	case errors.Is(err, history.ErrFull):
		return "the receiver has too many messages, try again later"
	case errors.Is(err, history.ErrStoreFull):
		return "the store is full, try again later"
	case errors.Is(err, quota.ErrShare):
		return "the receiver has too many of your messages, try again later"
	case errors.Is(err, quota.ErrTooMuch):
		return "you have too much in the store, try again later"
	}
	return ""
}

// refused is what a client is told whose request is at fault.
func refused(why string) *mux.Error { return &mux.Error{Code: wire.CodeRefused, Text: why} }

// bounded gives a request its time. It outlives its session, because others wait for what is said, and ends with the
// server.
func (s *Server) bounded(next mux.Handler) mux.Handler {
	return func(_ context.Context, r mux.Request) (any, error) {
		ctx, cancel := context.WithTimeout(s.ctx, s.o.RequestTimeout)
		defer cancel()
		return next(ctx, r)
	}
}

// loggedIn lets pass a login, and who has logged in.
func (s *Server) loggedIn(next mux.Handler) mux.Handler {
	login, elsewhere := wire.Kind(wire.CmdLogin), wire.Kind(wire.CmdAccessServer)
	return func(ctx context.Context, r mux.Request) (any, error) {
		if c := r.Session.State.(*client); c.user == 0 && r.Kind != login && r.Kind != elsewhere {
			return nil, &mux.Error{Code: wire.CodeNoToken, Text: wire.TextNoToken}
		}
		return next(ctx, r)
	}
}
