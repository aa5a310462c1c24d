// Package wiretest has what tests need that play a server by hand, or look at what a client sends.
package wiretest

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

var requests = map[uint32]func() proto.Message{
	wire.CmdAccessServer: func() proto.Message { return new(wire.ReqAccessServer) },
	wire.CmdLogin:        func() proto.Message { return new(wire.ReqLogin) },
	wire.CmdPing:         func() proto.Message { return new(wire.ReqPing) },
	wire.CmdSendP2P:      func() proto.Message { return new(wire.ReqSendP2PMsg) },
	wire.CmdSendGroup:    func() proto.Message { return new(wire.ReqSendGroupMsg) },
	wire.CmdSync:         func() proto.Message { return new(wire.ReqSyncMsg) },
	wire.CmdJoinGroup:    func() proto.Message { return new(wire.ReqJoinGroup) },
	wire.CmdLeaveGroup:   func() proto.Message { return new(wire.ReqLeaveGroup) },
	wire.CmdPresence:     func() proto.Message { return new(wire.ReqPresence) },
	wire.CmdWhoAmI:       func() proto.Message { return new(wire.ReqWhoAmI) },
	wire.CmdHistory:      func() proto.Message { return new(wire.ReqHistory) },
	wire.CmdMembers:      func() proto.Message { return new(wire.ReqMembers) },
}

// Request decodes what a client sends.
func Request(payload []byte) (cmd uint32, msg proto.Message, err error) {
	if cmd, err = wire.Peek(payload); err != nil {
		return 0, nil, err
	}
	kind, ok := requests[cmd]
	if !ok {
		return cmd, nil, fmt.Errorf("%w: %d", wire.ErrUnknown, cmd)
	}
	msg = kind()
	return cmd, msg, proto.Unmarshal(payload, msg)
}
