package access

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

const (
	// maxPresence is how many users one request may ask for, and presenceAtOnce how many of them are asked for at the
	// same time.
	maxPresence    = 100
	presenceAtOnce = 16

	// maxMembers is how many members an answer lists: as numbers of 10 bytes they fit.
	maxMembers = 1000
)

// serve returns the answer to a request of a user, and what to do when it is sent, if anything.
func (c *client) serve(ctx context.Context, cmd uint32, msg proto.Message) (answer proto.Message, then func()) {
	switch req := msg.(type) {
	case *wire.ReqLogin:
		return c.loginAgain(req), nil
	case *wire.ReqPing:
		return wire.OK(cmd), nil
	case *wire.ReqSendP2PMsg:
		return c.sendP2P(ctx, req)
	case *wire.ReqSendGroupMsg:
		return c.sendGroup(ctx, req)
	case *wire.ReqSyncMsg:
		return c.sync(ctx, req)
	case *wire.ReqHistory:
		return c.history(ctx, req), nil
	case *wire.ReqJoinGroup:
		return c.join(ctx, req), nil
	case *wire.ReqLeaveGroup:
		return c.leave(ctx, req), nil
	case *wire.ReqPresence:
		return c.presence(ctx, req), nil
	case *wire.ReqWhoAmI:
		return &wire.ResWhoAmI{
			Cmd: cmd, UID: c.user, Server: c.server.o.Cluster.ID(), GroupIDs: slices.Sorted(maps.Keys(c.groups)),
		}, nil
	case *wire.ReqMembers:
		return c.members(ctx, req), nil
	}
	return wire.Refuse(cmd, wire.CodeRefused, "not served here"), nil // the gateway's
}

// failed logs what went wrong, which the client is not told, and returns the answer.
func (c *client) failed(cmd uint32, cause error) proto.Message {
	switch {
	case errors.Is(cause, history.ErrTooLong):
		return wire.Refuse(cmd, wire.CodeRefused, "message too long")
	case errors.Is(cause, history.ErrTooManyGroups):
		return wire.Refuse(cmd, wire.CodeRefused, "in too many groups")
	case errors.Is(cause, errNoGroup):
		return wire.Refuse(cmd, wire.CodeRefused, "no such group")
	}
	c.server.log.Error("access: request failed", "cmd", cmd, "user", c.user, "err", cause)
	return wire.Refuse(cmd, wire.CodeServer, "not possible at the moment, try again")
}

// loginAgain answers a client that repeats its login. A session never becomes another user's.
func (c *client) loginAgain(req *wire.ReqLogin) proto.Message {
	if req.UID != c.user || c.server.o.Tokens.Check(req.UID, req.Token) != nil {
		return wire.Fail(wire.CmdLogin, wire.CodeWrongToken, "logged in already")
	}
	return wire.OK(wire.CmdLogin)
}

func (c *client) sendP2P(ctx context.Context, req *wire.ReqSendP2PMsg) (answer proto.Message, then func()) {
	if req.TargetUID <= 0 {
		return wire.Refuse(req.Cmd, wire.CodeRefused, "no such user"), nil
	}
	version, err := c.store(ctx, history.Message{Target: req.TargetUID, ClientID: req.MsgID, Text: req.Msg})
	if version > 0 {
		// Stored for the receiver, also if the sender has to repeat it. The notification may get lost, the message not.
		then = func() { _ = c.server.o.Cluster.Post(userName(req.TargetUID), wire.Encode(wire.Notify(version))) }
	}
	if err != nil {
		return c.failed(req.Cmd, err), then
	}
	return &wire.ResSendP2PMsg{
		Cmd: req.Cmd, SourceUID: c.user, TargetUID: req.TargetUID, MsgID: req.MsgID, Msg: req.Msg,
	}, then
}

func (c *client) sendGroup(ctx context.Context, req *wire.ReqSendGroupMsg) (answer proto.Message, then func()) {
	if _, ok := c.groups[req.GroupID]; !ok { // clients of old cannot join
		if err := c.joinGroup(ctx, req.GroupID); err != nil {
			return c.failed(req.Cmd, err), nil
		}
	}
	version, err := c.store(ctx, history.Message{Group: req.GroupID, ClientID: req.MsgID, Text: req.Msg})
	if err != nil {
		return c.failed(req.Cmd, err), nil
	}
	return &wire.ResSendGroupMsg{Cmd: req.Cmd}, func() {
		_ = c.server.o.Cluster.Broadcast(groupName(req.GroupID), wire.Encode(wire.Notify(version)))
	}
}

// store stores a message of this user, whatever the request says about its source.
func (c *client) store(ctx context.Context, m history.Message) (version int64, err error) {
	if m.ID, err = c.server.o.NextID(); err != nil {
		return 0, err
	}
	m.Source = c.user
	return c.server.o.History.Store(ctx, m)
}

func (c *client) read(ctx context.Context, after int64, own bool) (history.Page, error) {
	page, err := c.server.o.History.Read(ctx, history.Query{User: c.user, After: after, Groups: c.groups, Own: own})
	if err == nil && page.Next < after { // the store has lost something, perhaps memberships as well
		var groups map[int64]int64
		if groups, err = c.server.o.History.Groups(ctx, c.user); err == nil {
			c.groups = groups
		}
	}
	return page, err
}

// sync answers with a page. Clients of old know of no further pages: another notification has them ask.
func (c *client) sync(ctx context.Context, req *wire.ReqSyncMsg) (answer proto.Message, then func()) {
	page, err := c.read(ctx, req.CurrentID, false)
	if err != nil {
		return c.failed(req.Cmd, err), nil
	}
	res := &wire.ResSyncMsg{Cmd: req.Cmd, CurrentID: page.Next}
	for _, r := range page.Records {
		res.Msgs = append(res.Msgs, &wire.SyncMsg{
			SourceUID: r.SourceUID, TargetUID: r.TargetUID, GroupID: r.GroupID, MsgType: r.MsgType, MsgID: r.MsgID, Msg: r.Msg,
		})
	}
	if len(res.Msgs) == 0 {
		res.ErrCode, res.ErrStr = wire.CodeNoData, "nothing newer"
	}
	if page.More {
		// The newest is not known, but it is no older. Without room for this there are others in the queue.
		then = func() { _ = c.session.Send(wire.Notify(page.Next + 1)) }
	}
	return res, then
}

func (c *client) history(ctx context.Context, req *wire.ReqHistory) proto.Message {
	page, err := c.read(ctx, req.CurrentID, true)
	if err != nil {
		return c.failed(req.Cmd, err)
	}
	return &wire.ResHistory{Cmd: req.Cmd, CurrentID: page.Next, More: page.More, Records: page.Records}
}

func (c *client) join(ctx context.Context, req *wire.ReqJoinGroup) proto.Message {
	if err := c.joinGroup(ctx, req.GroupID); err != nil {
		return c.failed(req.Cmd, err)
	}
	return &wire.ResJoinGroup{Cmd: req.Cmd, GroupID: req.GroupID, CurrentID: c.groups[req.GroupID]}
}

var errNoGroup = errors.New("access: group ids are positive")

// joinGroup makes the user a member and has the session notified, unless that is so already.
func (c *client) joinGroup(ctx context.Context, group int64) error {
	if group <= 0 {
		return errNoGroup
	}
	if _, ok := c.groups[group]; ok {
		return nil
	}
	// First the notifications, then the membership: no message of the group goes without one.
	if err := c.server.o.Cluster.Join(c.session, groupName(group)); err != nil {
		return err
	}
	err := c.server.o.Cluster.Sync(ctx)
	if err == nil {
		c.groups[group], err = c.server.o.History.Join(ctx, c.user, group, len(c.groups))
	}
	if err != nil {
		delete(c.groups, group)
		_ = c.server.o.Cluster.Leave(c.session, groupName(group))
	}
	return err
}

func (c *client) leave(ctx context.Context, req *wire.ReqLeaveGroup) proto.Message {
	if _, ok := c.groups[req.GroupID]; ok {
		if err := c.server.o.History.Leave(ctx, c.user, req.GroupID); err != nil {
			return c.failed(req.Cmd, err)
		}
		delete(c.groups, req.GroupID)
		if err := c.server.o.Cluster.Leave(c.session, groupName(req.GroupID)); err != nil {
			return c.failed(req.Cmd, err)
		}
	}
	return &wire.ResLeaveGroup{Cmd: req.Cmd, GroupID: req.GroupID}
}

func (c *client) members(ctx context.Context, req *wire.ReqMembers) proto.Message {
	if _, ok := c.groups[req.GroupID]; !ok {
		return wire.Refuse(req.Cmd, wire.CodeRefused, "for members only")
	}
	users, more, err := c.server.o.History.Members(ctx, req.GroupID, maxMembers)
	if err != nil {
		return c.failed(req.Cmd, err)
	}
	return &wire.ResMembers{Cmd: req.Cmd, GroupID: req.GroupID, UIDs: users, More: more}
}

func (c *client) presence(ctx context.Context, req *wire.ReqPresence) proto.Message {
	if len(req.UIDs) > maxPresence {
		return wire.Refuse(req.Cmd, wire.CodeRefused, "too many users at once")
	}
	res := &wire.ResPresence{Cmd: req.Cmd, Users: make([]*wire.UserPresence, len(req.UIDs))}
	room := make(chan struct{}, presenceAtOnce)
	var asking sync.WaitGroup
	for i, user := range req.UIDs {
		room <- struct{}{}
		asking.Go(func() {
			defer func() { <-room }()
			res.Users[i] = c.presenceOf(ctx, user)
		})
	}
	asking.Wait()
	return res
}

// presenceOf says offline only when the cluster does, and not when it cannot tell.
func (c *client) presenceOf(ctx context.Context, user int64) *wire.UserPresence {
	sessions, err := c.server.o.Cluster.Online(ctx, userName(user))
	switch {
	case len(sessions) > 0:
		return &wire.UserPresence{UID: user, Presence: wire.Presence_ONLINE, Server: sessions[0].Node}
	case err == nil, errors.Is(err, cluster.ErrOffline):
		return &wire.UserPresence{UID: user, Presence: wire.Presence_OFFLINE}
	}
	return &wire.UserPresence{UID: user}
}
