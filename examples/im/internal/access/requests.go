package access

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/quota"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/mux"
)

const (
	// maxPresence is how many users one request may ask for, and presenceAtOnce how many of them are asked for at the
	// same time.
	maxPresence    = 100
	presenceAtOnce = 16

	// maxMembers is how many members an answer lists: as numbers of 10 bytes they fit.
	maxMembers = 1000
)

func (c *client) ping(context.Context, *wire.ReqPing) (*wire.Error, error) {
	return wire.OK(wire.CmdPing), nil
}

func (c *client) sendP2P(ctx context.Context, req *wire.ReqSendP2PMsg) (*wire.ResSendP2PMsg, error) {
	if req.TargetUID <= 0 {
		return nil, refused("no such user")
	}
	version, err := c.store(ctx, history.Message{Target: req.TargetUID, ClientID: req.MsgID, Text: req.Msg})
	if version > 0 {
		// Stored for the receiver, also if the sender has to repeat it. The notification may get lost, the message not.
		c.then = func() { _ = c.server.o.Cluster.Post(userName(req.TargetUID), wire.Encode(wire.Notify(version))) }
	}
	if err != nil {
		return nil, err
	}
	return &wire.ResSendP2PMsg{ErrStr: wire.TextOK}, nil
}

func (c *client) sendGroup(ctx context.Context, req *wire.ReqSendGroupMsg) (*wire.ResSendGroupMsg, error) {
	if _, ok := c.groups[req.GroupID]; !ok { // clients of old cannot join
		if err := c.joinGroup(ctx, req.GroupID); err != nil {
			return nil, err
		}
	}
	version, err := c.store(ctx, history.Message{Group: req.GroupID, ClientID: req.MsgID, Text: req.Msg})
	if err != nil {
		return nil, err
	}
	c.then = func() { _ = c.server.o.Cluster.Broadcast(groupName(req.GroupID), wire.Encode(wire.Notify(version))) }
	return &wire.ResSendGroupMsg{ErrStr: wire.TextOK}, nil
}

// store stores a message of this user, whatever the request says about its source.
func (c *client) store(ctx context.Context, m history.Message) (version int64, err error) {
	if m.ID, err = c.server.o.NextID(); err != nil {
		m.ID = 0 // nobody numbers messages now: their versions do
	}
	m.Source = c.user
	taking := quota.Message{Box: boxOf(m), Bytes: bytesOf(m), Once: m.Identity()}
	if c.account != nil {
		if err := c.account.Check(ctx, taking); err != nil {
			return 0, err
		}
	}
	version, err = c.server.o.History.Store(ctx, m)
	if err == nil {
		c.server.count.stored.Add(1)
	}
	if version > 0 && c.account != nil {
		c.account.Stored(taking, version)
	}
	return version, err
}

// mayWrite returns an error for a user who joins and leaves too fast: it costs all servers more than a message.
func (c *client) mayWrite(ctx context.Context) error {
	if c.account == nil {
		return nil
	}
	return c.account.Write(ctx)
}

// boxOf names the place in which a message is stored.
func boxOf(m history.Message) string {
	if m.Group != 0 {
		return "g" + strconv.FormatInt(m.Group, 10)
	}
	return "u" + strconv.FormatInt(m.Target, 10)
}

// storedOverhead is about what the store adds to a message.
const storedOverhead = 200

// bytesOf is about what a message takes of the store; of a direct one there are two.
func bytesOf(m history.Message) int {
	bytes := len(m.Text) + len(m.ClientID) + storedOverhead
	if m.Group == 0 {
		bytes *= 2
	}
	return bytes
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
func (c *client) sync(ctx context.Context, req *wire.ReqSyncMsg) (*wire.ResSyncMsg, error) {
	page, err := c.read(ctx, req.CurrentID, false)
	if err != nil {
		return nil, err
	}
	res := &wire.ResSyncMsg{ErrStr: wire.TextOK, CurrentID: page.Next}
	for _, r := range page.Records {
		res.Msgs = append(res.Msgs, &wire.SyncMsg{ // a group's message, too, is to this user, as in the original
			SourceUID: r.SourceUID, TargetUID: c.user, GroupID: r.GroupID, MsgType: r.MsgType, MsgID: ownID(r), Msg: r.Msg,
		})
	}
	if page.More {
		// The newest is not known, but it is no older. Without room for this there are others in the queue.
		c.then = func() { _ = c.session.Send(wire.Encode(wire.Notify(page.Next + 1))) }
	}
	return res, nil
}

// ownID is the id that the sender gave: none where the history has put its own.
func ownID(r *wire.Record) string {
	if r.MsgID == strconv.FormatInt(r.ID, 10) {
		return ""
	}
	return r.MsgID
}

func (c *client) history(ctx context.Context, req *wire.ReqHistory) (*wire.ResHistory, error) {
	page, err := c.read(ctx, req.CurrentID, true)
	if err != nil {
		return nil, err
	}
	return &wire.ResHistory{CurrentID: page.Next, More: page.More, Records: page.Records}, nil
}

func (c *client) join(ctx context.Context, req *wire.ReqJoinGroup) (*wire.ResJoinGroup, error) {
	if err := c.joinGroup(ctx, req.GroupID); err != nil {
		return nil, err
	}
	return &wire.ResJoinGroup{GroupID: req.GroupID, CurrentID: c.groups[req.GroupID]}, nil
}

// joinGroup makes the user a member and has the session notified, unless that is so already.
func (c *client) joinGroup(ctx context.Context, group int64) error {
	if group <= 0 {
		return refused("no such group")
	}
	if _, ok := c.groups[group]; ok {
		return nil
	}
	if err := c.mayWrite(ctx); err != nil {
		return err
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

func (c *client) leave(ctx context.Context, req *wire.ReqLeaveGroup) (*wire.ResLeaveGroup, error) {
	if _, ok := c.groups[req.GroupID]; ok {
		if err := c.mayWrite(ctx); err != nil {
			return nil, err
		}
		if err := c.server.o.History.Leave(ctx, c.user, req.GroupID); err != nil {
			return nil, err
		}
		delete(c.groups, req.GroupID)
		if err := c.server.o.Cluster.Leave(c.session, groupName(req.GroupID)); err != nil {
			return nil, err
		}
	}
	return &wire.ResLeaveGroup{GroupID: req.GroupID}, nil
}

func (c *client) members(ctx context.Context, req *wire.ReqMembers) (*wire.ResMembers, error) {
	if _, ok := c.groups[req.GroupID]; !ok {
		return nil, refused("for members only")
	}
	users, more, err := c.server.o.History.Members(ctx, req.GroupID, maxMembers)
	if err != nil {
		return nil, err
	}
	return &wire.ResMembers{GroupID: req.GroupID, UIDs: users, More: more}, nil
}

func (c *client) whoAmI(context.Context, *wire.ReqWhoAmI) (*wire.ResWhoAmI, error) {
	return &wire.ResWhoAmI{
		UID: c.user, Server: c.server.o.Cluster.ID(), GroupIDs: slices.Sorted(maps.Keys(c.groups)),
	}, nil
}

// accessServer is the gateway's to serve.
func (c *client) accessServer(context.Context, *wire.ReqAccessServer) (*wire.ResSelectAccessServerForClient, error) {
	return nil, mux.ErrNoReply
}

func (c *client) presence(ctx context.Context, req *wire.ReqPresence) (*wire.ResPresence, error) {
	if len(req.UIDs) > maxPresence {
		return nil, refused("too many users at once")
	}
	res := &wire.ResPresence{Users: make([]*wire.UserPresence, len(req.UIDs))}
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
	return res, nil
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
