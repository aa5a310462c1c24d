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
)

// A call is a request whose answer somebody waits for. The server answers a session's requests in their order, so the
// first answer of a command belongs to the first call with it.
type call struct {
	cmd     uint32
	request proto.Message
	answer  chan proto.Message // takes one; closed without it when the client ends

	// Guarded by Client.mu.
	sent      time.Time // on the session that is up
	abandoned bool      // nobody waits any more
}

// errBusy is returned when more calls wait than the session's queue has room for.
var errBusy = errors.New("client: too many requests at once")

// errSilent is the reason of a session on which no answer came in time.
var errSilent = errors.New("client: no answer")

// Send sends text to a user until the server has acknowledged that it is stored: it is repeated, and stored once,
// through lost connections and servers. Without ctx's end it goes on for ever; after it the message may or may not
// be stored. Other errors: ErrFull, ErrRefused, ErrReplaced, ErrClosed.
func (c *Client) Send(ctx context.Context, user int64, text string) error {
	_, err := c.do(ctx, &wire.ReqSendP2PMsg{
		Cmd: wire.CmdSendP2P, SourceUID: c.o.User, TargetUID: user, MsgID: c.newID(), Msg: text,
	})
	return err
}

// SendGroup sends text to a group, as Send does.
func (c *Client) SendGroup(ctx context.Context, group int64, text string) error {
	_, err := c.do(ctx, &wire.ReqSendGroupMsg{
		Cmd: wire.CmdSendGroup, SourceUID: c.o.User, GroupID: group, MsgID: c.newID(), Msg: text,
	})
	return err
}

func (c *Client) newID() string { return fmt.Sprintf("%s-%d", c.name, c.number.Add(1)) }

// Join makes the user a member of a group: what is said there from now on comes to OnMessage, wherever he logs in.
// Errors as those of Send.
func (c *Client) Join(ctx context.Context, group int64) error {
	_, err := c.do(ctx, &wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, UID: c.o.User, GroupID: group})
	return err
}

// Leave ends the membership. Errors as those of Send.
func (c *Client) Leave(ctx context.Context, group int64) error {
	_, err := c.do(ctx, &wire.ReqLeaveGroup{Cmd: wire.CmdLeaveGroup, UID: c.o.User, GroupID: group})
	return err
}

// Presence says of each user whether, and where, he is online; of at most 100. Errors as those of Send.
func (c *Client) Presence(ctx context.Context, users ...int64) ([]*wire.UserPresence, error) {
	answer, err := c.do(ctx, &wire.ReqPresence{Cmd: wire.CmdPresence, UID: c.o.User, UIDs: users})
	if err != nil {
		return nil, err
	}
	return answer.(*wire.ResPresence).Users, nil
}

// WhoAmI says which access server holds the user, and what groups he is in. Errors as those of Send.
func (c *Client) WhoAmI(ctx context.Context) (*wire.ResWhoAmI, error) {
	answer, err := c.do(ctx, &wire.ReqWhoAmI{Cmd: wire.CmdWhoAmI})
	if err != nil {
		return nil, err
	}
	return answer.(*wire.ResWhoAmI), nil
}

// Members lists a group's members, of which the user must be one; at most 1,000. Errors as those of Send.
func (c *Client) Members(ctx context.Context, group int64) ([]int64, error) {
	answer, err := c.do(ctx, &wire.ReqMembers{Cmd: wire.CmdMembers, UID: c.o.User, GroupID: group})
	if err != nil {
		return nil, err
	}
	return answer.(*wire.ResMembers).UIDs, nil
}

// Bounds of the delay before a request that the server failed to serve is repeated.
const (
	minRetry = 50 * time.Millisecond
	maxRetry = time.Second
)

// do repeats a request until the server says yes or never.
func (c *Client) do(ctx context.Context, request proto.Message) (proto.Message, error) {
	for retry := minRetry; ; retry = min(2*retry, maxRetry) {
		answer, err := c.once(ctx, request)
		if err == nil {
			switch code, text := result(answer); code {
			case wire.CodeOK:
				return answer, nil
			case wire.CodeServer, wire.CodeTooFast:
			case wire.CodeFull:
				return nil, fmt.Errorf("%w: %s", ErrFull, text)
			default:
				return nil, fmt.Errorf("%w: %d %s", ErrRefused, code, text)
			}
		} else if !errors.Is(err, errBusy) {
			return nil, err
		}
		select {
		case <-time.After(rand.N(retry)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// result reads the two fields that all answers have.
func result(answer proto.Message) (code uint32, text string) {
	m := answer.ProtoReflect()
	fields := m.Descriptor().Fields()
	return uint32(m.Get(fields.ByName("errCode")).Uint()), m.Get(fields.ByName("errStr")).String()
}

// once sends a request, again on each new session, until there is an answer. On a session that does not give one in
// time it gives up.
func (c *Client) once(ctx context.Context, request proto.Message) (proto.Message, error) {
	cmd := uint32(request.ProtoReflect().Get(request.ProtoReflect().Descriptor().Fields().ByName("cmd")).Uint())
	call := &call{cmd: cmd, request: request, answer: make(chan proto.Message, 1)}
	if err := c.begin(call); err != nil {
		return nil, err
	}
	slow := time.NewTicker(c.o.Timeout)
	defer slow.Stop()
	for {
		select {
		case answer, ok := <-call.answer:
			if !ok {
				return nil, c.Err()
			}
			return answer, nil
		case <-slow.C:
			c.endIfSilent(call)
		case <-ctx.Done():
			c.mu.Lock()
			call.abandoned = true
			c.mu.Unlock()
			return nil, ctx.Err()
		}
	}
}

// endIfSilent ends a session that has owed an answer for too long.
func (c *Client) endIfSilent(call *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil && time.Since(call.sent) >= c.o.Timeout {
		_ = c.session.CloseWithError(errSilent)
	}
}

func (c *Client) begin(call *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if len(c.calls) >= maxCalls {
		return errBusy
	}
	c.calls = append(c.calls, call)
	if c.session != nil {
		c.transmitLocked(c.session, call)
	}
	return nil
}

// transmitLocked sends a call; if it cannot, the next session is given it.
func (c *Client) transmitLocked(s *libnet.Session, call *call) {
	call.sent = time.Now()
	if err := s.Send(call.request); err != nil {
		_ = s.CloseWithError(err)
	}
}

// answered gives an answer to whom it belongs, if to anybody.
func (c *Client) answered(cmd uint32, msg proto.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, call := range c.calls {
		if cmd != call.cmd && cmd != wire.CmdError {
			continue
		}
		c.calls = append(c.calls[:i], c.calls[i+1:]...)
		if cmd == wire.CmdError { // of a server that cannot decode it
			_, text := result(msg)
			msg = wire.Refuse(call.cmd, wire.CodeRefused, text)
		}
		call.answer <- msg
		return
	}
}

// dropLocked tells all who wait that the client has ended.
func (c *Client) dropLocked() {
	for _, call := range c.calls {
		close(call.answer)
	}
	c.calls = nil
}
