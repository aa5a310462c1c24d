package access

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/examples/im/internal/quota"
	"github.com/libnet-go/libnet/examples/im/internal/token"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/mux"
)

// A client is what the server knows of a session, whose State it is. It belongs to whoever serves the session's
// message.
type client struct {
	server  *Server
	session *libnet.Session
	user    int64           // 0 before the login
	groups  map[int64]int64 // the user's groups, and the version at which he joined each
	account *quota.Account  // what the user has stored lately; nil: nobody counts
	in      atomic.Bool     // logged in
	until   *time.Timer     // ends the session: without a login in time, and with its token
	then    func()          // to be done when the request is answered, also for a client that is gone
}

// errRefused ends a session whose login was refused, after the answer.
var errRefused = errors.New("access: login refused")

// errTooManyLogins is why a login was refused whose token nobody has looked at.
var errTooManyLogins = errors.New("access: too many logins from this address")

// onSession gives each session LoginTimeout to log in.
func (s *Server) onSession(session *libnet.Session) error {
	if s.cut.Load() {
		return ErrCut
	}
	c := &client{server: s, session: session}
	c.until = time.AfterFunc(s.o.LoginTimeout, c.timeIsUp)
	session.OnClose(func() { c.until.Stop() })
	session.State = c
	return nil
}

// timeIsUp ends a session that has not logged in, or whose token has ended.
func (c *client) timeIsUp() {
	if !c.in.Load() {
		_ = c.session.CloseWithError(ErrNoLogin)
		return
	}
	_ = c.session.Send(wire.Encode(wire.Fail(wire.CmdError, wire.CodeWrongToken, wire.TextWrongToken)))
	endBehind(c.server.ctx, c.session, ErrTokenEnded)
}

// lasts has the session end with its token.
func (c *client) lasts(left time.Duration) {
	c.in.Store(true)
	c.until.Reset(left)
	if c.session.IsClosed() {
		c.until.Stop() // its end may have come before the Reset
	}
}

// serve is called for each message.
func (s *Server) serve(session *libnet.Session, payload []byte) {
	if !s.begin() {
		return
	}
	defer s.requests.Done()
	wire.Serve(s.mux, session, payload)
	c := session.State.(*client)
	if then := c.then; then != nil {
		c.then = nil
		then()
	}
	c.settle()
}

// dismiss is what a client is told that is not let in. Its session ends behind the answer, which it gets to read.
func (c *client) dismiss(code uint32, text string) error {
	c.then = func() { endBehind(c.server.ctx, c.session, errRefused) }
	return &mux.Error{Code: code, Text: text}
}

// logIn serves a client that has not logged in. One with a wrong token may try again, for as long as LoginTimeout
// allows.
func (c *client) logIn(ctx context.Context, req *wire.ReqLogin) (*wire.Error, error) {
	if c.user != 0 {
		return c.logInAgain(req)
	}
	if !c.server.logins.Allow(c.session.RemoteAddr()) {
		return nil, c.refuse(wire.CodeServer, wire.TextServer, req.UID, errTooManyLogins)
	}
	left, err := c.server.o.Tokens.Check(req.UID, req.Token)
	if err != nil {
		c.logRefused(req.UID, err)
		return nil, notLetIn(err)
	}
	switch err := c.admit(ctx, req.UID); {
	case errors.Is(err, cluster.ErrReplaced):
		return nil, c.refuse(wire.CodeReplaced, replacedText, req.UID, err)
	case err != nil:
		return nil, c.refuse(wire.CodeServer, wire.TextServer, req.UID, err)
	}
	c.lasts(left)
	c.server.count.logins.Add(1)
	return wire.OK(wire.CmdLogin), nil
}

// logInAgain serves a client that repeats its login, perhaps with a token that lasts longer. A session never becomes
// another user's.
func (c *client) logInAgain(req *wire.ReqLogin) (*wire.Error, error) {
	left, err := c.server.o.Tokens.Check(req.UID, req.Token)
	if req.UID != c.user || err != nil {
		return nil, &mux.Error{Code: wire.CodeWrongToken, Text: wire.TextWrongToken}
	}
	c.lasts(left)
	return wire.OK(wire.CmdLogin), nil
}

// notLetIn is what a client is told of its token.
func notLetIn(err error) error {
	if errors.Is(err, token.ErrMissing) {
		return &mux.Error{Code: wire.CodeNoToken, Text: wire.TextNoToken}
	}
	return &mux.Error{Code: wire.CodeWrongToken, Text: wire.TextWrongToken}
}

const replacedText = "logged in elsewhere"

// refuse ends a session whose login has failed: one that is bound by half would be worse than none.
func (c *client) refuse(code uint32, text string, user int64, cause error) error {
	c.logRefused(user, cause)
	return c.dismiss(code, text)
}

func (c *client) logRefused(user int64, cause error) {
	c.server.count.refused(cause)
	c.server.denied.say("access: login refused", "user", user, "peer", c.session.RemoteAddr(), "err", cause)
}

// slowLogin is from when on the log says what a login waited for.
const slowLogin = time.Second

// A stopwatch says how long the steps of something took.
type stopwatch struct{ last time.Time }

func (w *stopwatch) lap() time.Duration {
	now := time.Now()
	took := now.Sub(w.last)
	w.last = now
	return took.Round(time.Millisecond)
}

// admit makes the session the user's, whose token has been checked.
func (c *client) admit(ctx context.Context, user int64) error {
	began := time.Now()
	watch := stopwatch{began}
	var groupsTook, warningTook time.Duration
	defer func() {
		if bindTook := watch.lap(); time.Since(began) > slowLogin {
			c.server.slow.say("access: a login took long", "user", user, "groups", groupsTook, "warning", warningTook, "bind", bindTook)
		}
	}()
	groups, err := c.server.o.History.Groups(ctx, user)
	if err != nil {
		return err
	}
	groupsTook = watch.lap()
	name := userName(user)
	for group := range groups { // first: Bind returns when these, too, are known everywhere
		if err := c.server.o.Cluster.Join(c.session, groupName(group)); err != nil {
			return err
		}
	}
	c.warnOthers(ctx, name)
	warningTook = watch.lap()
	if err := c.server.o.Cluster.Bind(ctx, c.session, name); err != nil {
		return err
	}
	c.user, c.groups = user, groups
	c.openAccount()
	return nil
}

// settleTimeout bounds the recording of what a session has stored.
const settleTimeout = 3 * time.Second

// settle has it recorded, now and then. The user's next message does not wait for that.
func (c *client) settle() {
	if c.account == nil || !c.account.Due() || !c.server.begin() {
		return
	}
	account := c.account
	go func() {
		defer c.server.requests.Done()
		ctx, cancel := context.WithTimeout(c.server.ctx, settleTimeout)
		defer cancel()
		_ = account.Settle(ctx) // or a later one, or the session's end
	}()
}

// openAccount has what the session stores counted, and recorded at its end.
func (c *client) openAccount() {
	if c.server.o.Quotas == nil {
		return
	}
	account := c.server.o.Quotas.Account(c.user)
	c.account = account
	c.session.OnClose(func() {
		if !c.server.begin() {
			return
		}
		go func() { // it asks the store, which OnClose must not wait for
			defer c.server.requests.Done()
			ctx, cancel := context.WithTimeout(context.WithoutCancel(c.server.ctx), settleTimeout)
			defer cancel()
			if err := account.Close(ctx); err != nil {
				c.server.log.Warn("access: what a user has stored is not recorded", "user", c.user, "err", err)
			}
		}()
	})
}

// warning bounds what a login waits for the sake of another session.
const warning = time.Second

// warnOthers tells a session that the cluster is about to end for this one why, or its client would come back at once
// and replace this one. What is queued for such a session is delivered, and this is queued when Send returns.
func (c *client) warnOthers(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, warning)
	defer cancel()
	_ = c.server.o.Cluster.Send(ctx, name, wire.Encode(wire.Fail(wire.CmdError, wire.CodeReplaced, replacedText)))
}

func userName(user int64) string   { return strconv.FormatInt(user, 10) }
func groupName(group int64) string { return strconv.FormatInt(group, 10) }
