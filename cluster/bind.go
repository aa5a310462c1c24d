package cluster

import (
	"context"

	"github.com/libnet-go/libnet"
)

// Bind makes s the session of user, and closes all others that the user has, on whichever nodes they are, with
// [ErrReplaced], after what is queued for them and within Options.Farewell. When it returns nil, messages to the user
// that are sent from then on reach s, from every node that this one can reach. It unbinds when s closes. Binding a
// session to its user again changes nothing; two goroutines should not do so at once, for one that fails unbinds for
// both. A session may be bound to several users.
//
// Bind takes the caller's word for who the user is: check the login before. A session without a queue
// (Config.SendQueue 0) takes one message at a time, further ones are [ErrBlocked] until it is written: give
// sessions a queue.
//
// Errors: [ErrReplaced] when a later login was quicker, and s is then closed; [ErrDraining]; [ErrInvalidName];
// [ErrDisconnected]; [ErrClosed]; ctx's; the reason of s's end when it is closed. After an error s is bound
// to nothing new. Without a deadline in ctx, Options.Timeout bounds the call.
func (n *Node) Bind(ctx context.Context, s *libnet.Session, user string) error {
	return n.bind(ctx, s, user, nil)
}

func (n *Node) bind(ctx context.Context, s *libnet.Session, user string, data map[string]string) error {
	token, err := n.mayBind(s, user)
	if err != nil {
		return err
	}
	if !n.conn.IsConnected() {
		return ErrDisconnected
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	d := n.dispatcher
	b := newBinding(token, s)
	b.data = data
	current, err := d.insert(b)
	switch {
	case err != nil:
		b.forget()
		return err
	case current != b:
		b.forget()
		d.describe(current, data)
		return n.register(ctx, d, current)
	}
	stop := s.OnClose(func() { d.remove(b, sessionClosed(s)) })
	if err := n.register(ctx, d, b); err != nil {
		stop() // or a login that is tried again and again would leave a callback each time
		return err
	}
	return nil
}

func (n *Node) mayBind(s *libnet.Session, name string) (token string, err error) {
	if s == nil {
		panic("cluster: nil session")
	}
	if err := n.accepting(); err != nil {
		return "", err
	}
	if s.IsClosed() {
		return "", sessionClosed(s)
	}
	return checkedToken(name)
}

func sessionClosed(s *libnet.Session) error {
	if err := s.Err(); err != nil {
		return err
	}
	return libnet.ErrSessionClosed
}

// Sync returns when every node that this one can reach sees the users and groups that were bound and joined
// here before, and when everything sent and posted here before was handled or lost. Errors:
// [ErrDisconnected]; [ErrClosed]; ctx's. Without a deadline in ctx, Options.Timeout bounds the call.
func (n *Node) Sync(ctx context.Context) error {
	if err := n.open(); err != nil {
		return err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	for {
		if _, err := n.barrier(ctx); err != nil { // behind it, all refusals of posts are in
			return err
		}
		if waited, err := n.posts.wait(ctx); err != nil || !waited {
			return err
		}
	}
}
