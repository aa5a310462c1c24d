package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/mux"
	"github.com/libnet-go/libnet/reconnect"
)

// converse is chat -as: what is typed is done, what happens is printed, and a connection that breaks is made anew.
func converse(ctx context.Context, address string, login *Login, stdin io.Reader, stdout io.Writer) error {
	m := clientRoutes(stdout)
	dialer := &libnet.Dialer{Protocol: codec.New(codec.Uint32BE, m)}
	dialer.SendQueue, dialer.IdleTimeout = 64, limits.IdleTimeout // the server pings more often
	var room atomic.Value                                         // of a string: where to be, also after the connection broke
	room.Store("lobby")
	link := &reconnect.Client{
		Handler: m,
		Dial:    func(ctx context.Context) (*libnet.Session, error) { return dialer.Dial(ctx, "tcp", address) },
		OnConnect: func(ctx context.Context, s *libnet.Session) error { // before anything else is sent on a new session
			err := call(ctx, m.SyncPeer(s), "login", login)
			if err == nil {
				err = call(ctx, m.SyncPeer(s), "join", &Join{room.Load().(string)})
			}
			if refused := new(mux.Error); errors.As(err, &refused) {
				return reconnect.Permanent(err) // the next attempt would be refused, too
			}
			return err
		},
	}
	link.Start()
	defer context.AfterFunc(ctx, func() { link.Close() })()
	go func() {
		for lines := bufio.NewScanner(stdin); lines.Scan(); {
			if err := obey(ctx, m.Through(link), lines.Text(), &room, stdout); err != nil {
				fmt.Fprintln(stdout, "not done:", err)
			}
		}
		link.Shutdown(ctx)
	}()
	if <-link.Done(); errors.Is(link.Err(), libnet.ErrSessionClosed) {
		return nil // by one of the above
	}
	return link.Err()
}

// clientRoutes handles what the server sends by itself.
func clientRoutes(stdout io.Writer) *mux.Mux {
	m := mux.New(mux.JSON)
	printed[Members](m, "members", stdout)
	printed[Joined](m, "joined", stdout)
	printed[Left](m, "left", stdout)
	printed[Said](m, "said", stdout)
	printed[Whispered](m, "whispered", stdout)
	mux.On(m, "ping", func(_ context.Context, s *libnet.Session, _ *struct{}) error {
		return s.Send(mux.Message{Kind: "pong"})
	})
	mux.On(m, "farewell", func(_ context.Context, s *libnet.Session, e *Farewell) error {
		return s.CloseWithError(reconnect.Permanent(errors.New(e.Reason))) // and do not come back
	})
	return m
}

// obey does what a line says. While there is no connection it waits for one.
func obey(ctx context.Context, server mux.Peer, line string, room *atomic.Value, stdout io.Writer) (err error) {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "/join":
		if err = call(ctx, server, "join", &Join{rest}); err == nil {
			room.Store(rest)
		}
		return err
	case "/who":
		members, err := mux.Call[struct{}, Members](ctx, server, "who", nil)
		if err == nil {
			fmt.Fprintln(stdout, members)
		}
		return err
	case "/w":
		to, text, _ := strings.Cut(rest, " ")
		return call(ctx, server, "whisper", &Whisper{to, text})
	}
	return call(ctx, server, "say", &Say{line})
}

// call is mux.Call for a request whose reply has no body.
func call[Req any](ctx context.Context, server mux.Peer, k mux.Kind, req *Req) error {
	_, err := mux.Call[Req, struct{}](ctx, server, k, req)
	return err
}

func printed[E any](m *mux.Mux, k mux.Kind, stdout io.Writer) {
	mux.On(m, k, func(_ context.Context, _ *libnet.Session, e *E) error {
		fmt.Fprintln(stdout, e)
		return nil
	})
}
