package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/reconnect"
)

// logIn is what each new session begins with.
func (c *Client) logIn(_ context.Context, s *libnet.Session) error {
	c.newest, c.syncing, c.replaced = 0, false, time.Time{}
	if err := s.Send(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: c.o.User, Token: c.o.Token()}); err != nil {
		return err
	}
	for {
		payload, err := s.Receive()
		if err != nil {
			return err
		}
		_, msg, err := wire.Answer(payload)
		if err != nil {
			return err
		}
		answer, ok := msg.(*wire.Error)
		if !ok || answer.Cmd != wire.CmdLogin {
			continue // a notification that was quicker than the answer; the sync to come covers it
		}
		switch answer.ErrCode {
		case wire.CodeOK:
			return c.loggedIn(s)
		case wire.CodeNoToken, wire.CodeWrongToken:
			err = fmt.Errorf("%w: %s", ErrRefused, answer.ErrStr)
			c.stop(err)
			return err
		case wire.CodeReplaced:
			c.stop(ErrReplaced)
			return ErrReplaced
		}
		return fmt.Errorf("client: login: %d %s", answer.ErrCode, answer.ErrStr)
	}
}

// loggedIn asks for what was missed, and sends what has not been answered.
func (c *Client) loggedIn(s *libnet.Session) error {
	if err := c.sync(s); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	waiting := c.calls[:0]
	for _, call := range c.calls {
		if !call.abandoned {
			waiting = append(waiting, call)
		}
	}
	clear(c.calls[len(waiting):])
	c.calls = waiting
	for _, call := range c.calls {
		c.transmitLocked(s, call)
	}
	c.session = s
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// state is told by the link what becomes of the session.
func (c *Client) state(change reconnect.Change) {
	switch change.State {
	case reconnect.Connected:
		c.tell(*c.server.Load())
	case reconnect.Waiting, reconnect.Closed:
		c.mu.Lock()
		was := c.session != nil
		c.session = nil
		if was {
			close(c.changed)
			c.changed = make(chan struct{})
		}
		c.mu.Unlock()
		if was {
			c.tell("")
		}
		if time.Since(c.replaced) < replacedSoon {
			c.stop(ErrReplaced)
		}
	}
}

func (c *Client) tell(server string) {
	if c.o.OnState != nil {
		c.o.OnState(server)
	}
}

// receive handles what the server sends.
func (c *Client) receive(s *libnet.Session, payload []byte) {
	cmd, msg, err := wire.Answer(payload)
	if errors.Is(err, wire.ErrUnknown) {
		return // of a server that is newer than this
	}
	if err == nil {
		err = c.handle(s, cmd, msg)
	}
	if err != nil {
		_ = s.CloseWithError(err)
	}
}

func (c *Client) handle(s *libnet.Session, cmd uint32, msg proto.Message) error {
	switch answer := msg.(type) {
	case *wire.ResNotify:
		c.newest = max(c.newest, answer.CurrentID)
		return c.syncIfBehind(s)
	case *wire.ResSyncMsg:
		c.syncing = false
		if answer.ErrCode != wire.CodeOK && answer.ErrCode != wire.CodeNoData {
			c.askLater(s)
			return nil
		}
		if !c.deliver(answer) && c.newest > c.current.Load() {
			c.newest = 0 // nothing is newer, whatever was said
			c.askLater(s)
		}
		return c.syncIfBehind(s)
	case *wire.Error:
		switch {
		case cmd == wire.CmdPing:
			return c.sync(s) // finds what a notification that got lost was about
		case cmd == wire.CmdError && c.toldOf(answer.ErrCode):
			return nil
		}
	}
	c.answered(cmd, msg)
	return nil
}

// toldOf reports whether a code says why the session is about to end, and so belongs to no request.
func (c *Client) toldOf(code uint32) bool {
	switch code {
	case wire.CodeReplaced:
		c.replaced = time.Now()
	case wire.CodeElsewhere, wire.CodeWrongToken: // the next attempt asks the gateway, and for another token
	default:
		return false
	}
	return true
}

// replacedSoon is how soon a session ends that was replaced. One that goes on was not: of two logins at the same time
// either hears of the other.
const replacedSoon = 2 * time.Second

// askLater has the server pinged soon, whose answer leads to another sync.
func (c *Client) askLater(s *libnet.Session) {
	time.AfterFunc(askAgain/2+rand.N(askAgain), func() { _ = s.Send(c.ping(s)) })
}

// askAgain is how long after a sync that was of no use another follows, on average.
const askAgain = time.Second

func (c *Client) ping(*libnet.Session) any { return &wire.ReqPing{Cmd: wire.CmdPing, UID: c.o.User} }

// deliver hands out a page, and says whether it brought Current forward. The page follows on from Current: there is
// only one sync at a time.
func (c *Client) deliver(page *wire.ResSyncMsg) bool {
	for _, m := range page.Msgs {
		if c.o.OnMessage == nil || m.GroupID != 0 && m.SourceUID == c.o.User {
			continue
		}
		target := m.TargetUID
		if m.GroupID != 0 {
			target = 0
		}
		c.o.OnMessage(Message{Source: m.SourceUID, Target: target, Group: m.GroupID, ID: m.MsgID, Text: m.Msg})
	}
	// It goes back when the server has lost what came last, because what is stored from now on has those versions anew.
	return c.current.Swap(page.CurrentID) < page.CurrentID
}

func (c *Client) syncIfBehind(s *libnet.Session) error {
	if c.newest > c.current.Load() {
		return c.sync(s)
	}
	return nil
}

func (c *Client) sync(s *libnet.Session) error {
	if c.syncing {
		return nil
	}
	c.syncing = true
	return s.Send(&wire.ReqSyncMsg{Cmd: wire.CmdSync, UID: c.o.User, CurrentID: c.current.Load()})
}
