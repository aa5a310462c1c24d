package access

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/examples/im/internal/token"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

// A client is what the server knows of a session, whose State it is. It belongs to whoever serves the session's message.
type client struct {
	server  *Server
	session *libnet.Session
	user    int64           // 0 before the login
	groups  map[int64]int64 // the user's groups, and the version at which he joined each
	login   *time.Timer     // ends the session
}

// errRefused ends a session whose login was refused, after the answer.
var errRefused = errors.New("access: login refused")

// onSession gives each session LoginTimeout to log in.
func (s *Server) onSession(session *libnet.Session) error {
	c := &client{server: s, session: session}
	c.login = time.AfterFunc(s.o.LoginTimeout, func() { _ = session.CloseWithError(ErrNoLogin) })
	session.OnClose(func() { c.login.Stop() })
	session.State = c
	return nil
}

// serve is called for each message.
func (s *Server) serve(session *libnet.Session, payload []byte) {
	if !s.begin() {
		return
	}
	defer s.requests.Done()
	c := session.State.(*client)
	if err := c.request(payload); err != nil {
		c.end(err)
	}
}

// end closes the session for a reason of this side. A client that was told something gets to read it.
func (c *client) end(reason error) {
	if errors.Is(reason, errRefused) {
		ctx, cancel := context.WithTimeout(c.server.ctx, linger)
		defer cancel()
		_ = c.session.Shutdown(ctx)
	}
	_ = c.session.CloseWithError(reason)
}

// request answers one message of the client. An error ends the session.
func (c *client) request(payload []byte) error {
	ctx, cancel := context.WithTimeout(c.server.ctx, c.server.o.RequestTimeout)
	defer cancel()
	cmd, msg, err := wire.Request(payload)
	switch {
	case errors.Is(err, wire.ErrMalformed):
		return err // without an answer, which would be more than it cost to ask
	case c.user == 0:
		return c.logIn(ctx, cmd, msg)
	case err != nil:
		return c.answer(wire.Fail(wire.CmdError, wire.CodeServer, fmt.Sprintf("command %d is not served", cmd)))
	}
	answer, then := c.serve(ctx, cmd, msg)
	err = c.answer(answer)
	if then != nil {
		then() // also for a client that is gone: others wait for it
	}
	return err
}

// answer has a time of its own: it says also that the request's has run out.
func (c *client) answer(msg proto.Message) error {
	ctx, cancel := context.WithTimeout(c.server.ctx, c.server.o.RequestTimeout)
	defer cancel()
	return c.session.SendContext(ctx, msg)
}

// logIn answers a client that has not logged in. It gets one try, but for failures that are not its own.
func (c *client) logIn(ctx context.Context, cmd uint32, msg proto.Message) error {
	req, ok := msg.(*wire.ReqLogin)
	if !ok {
		return errors.Join(errRefused, c.answer(wire.Refuse(cmd, wire.CodeNoToken, "log in first")))
	}
	switch err := c.server.o.Tokens.Check(req.UID, req.Token); {
	case errors.Is(err, token.ErrMissing):
		return c.refuse(wire.CodeNoToken, "no token", req.UID, err)
	case err != nil:
		return c.refuse(wire.CodeWrongToken, "wrong token", req.UID, err)
	}
	switch err := c.admit(ctx, req.UID); {
	case errors.Is(err, cluster.ErrReplaced):
		return c.refuse(wire.CodeReplaced, replacedText, req.UID, err)
	case err != nil:
		return c.refuse(wire.CodeServer, "not possible at the moment, try again", req.UID, err)
	}
	return c.answer(wire.OK(wire.CmdLogin))
}

const replacedText = "logged in elsewhere"

// refuse answers a login, and ends the session: one that is bound by half would be worse than none.
func (c *client) refuse(code uint32, text string, user int64, cause error) error {
	c.server.log.Warn("access: login refused", "user", user, "peer", c.session.RemoteAddr(), "err", cause)
	return errors.Join(errRefused, cause, c.answer(wire.Fail(wire.CmdLogin, code, text)))
}

// admit makes the session the user's, whose token has been checked.
func (c *client) admit(ctx context.Context, user int64) error {
	groups, err := c.server.o.History.Groups(ctx, user)
	if err != nil {
		return err
	}
	name := userName(user)
	for group := range groups { // first: Bind returns when these, too, are known everywhere
		if err := c.server.o.Cluster.Join(c.session, groupName(group)); err != nil {
			return err
		}
	}
	c.warnOthers(ctx, name)
	if err := c.server.o.Cluster.Bind(ctx, c.session, name); err != nil {
		return err
	}
	c.login.Stop()
	c.user, c.groups = user, groups
	return nil
}

// warnOthers tells a session that the cluster is about to close for this one why, or its client would come back at once and
// replace this one. Closing discards what is queued, so the session is given a moment to write it, and its client one to
// read it. It is waited for also because a message to a user goes to whoever is bound when it arrives.
func (c *client) warnOthers(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, warning)
	defer cancel()
	if c.server.o.Cluster.Send(ctx, name, wire.Encode(wire.Fail(wire.CmdError, wire.CodeReplaced, replacedText))) != nil {
		return // nobody is there
	}
	select {
	case <-time.After(reading):
	case <-ctx.Done():
	}
}

const (
	// warning bounds what a login waits for the sake of another session, and reading is what it gives that one.
	warning = time.Second
	reading = 100 * time.Millisecond
)

func userName(user int64) string   { return strconv.FormatInt(user, 10) }
func groupName(group int64) string { return strconv.FormatInt(group, 10) }
