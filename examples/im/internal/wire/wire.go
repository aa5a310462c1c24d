// Package wire is the protocol between clients, the gateway and the access servers: protobuf messages
// whose field 1 is the command, framed by a length of 2 bytes. im.proto describes them.
//
//	m := wire.NewMux()                                              // routes a server's requests
//	wire.Serve(m, session, payload)                                  // serves one
//	err := session.Send(&wire.ReqPing{Cmd: wire.CmdPing, UID: user}) // a client sends one
//	cmd, msg, err := wire.Answer(payload)                            // and reads what comes
package wire

//go:generate protoc --go_out=. --go_opt=paths=source_relative im.proto

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// Commands. An answer carries the command of its request.
const (
	CmdAccessServer uint32 = 10001
	CmdLogin        uint32 = 20001
	CmdPing         uint32 = 20002
	CmdSendP2P      uint32 = 20003
	CmdSendGroup    uint32 = 20005
	CmdSync         uint32 = 20006
	CmdNotify       uint32 = 20007
	CmdJoinGroup    uint32 = 20008
	CmdLeaveGroup   uint32 = 20009
	CmdPresence     uint32 = 20010
	CmdWhoAmI       uint32 = 20011
	CmdHistory      uint32 = 20012
	CmdMembers      uint32 = 20013
	CmdError        uint32 = 90001
)

// Error codes. Those from CodeReplaced on are additions.
const (
	CodeOK             uint32 = 0
	CodeServer         uint32 = 90001
	CodeNoData         uint32 = 91001
	CodeNoAccessServer uint32 = 92001
	CodeNoToken        uint32 = 93001
	CodeWrongToken     uint32 = 93002
	CodeReplaced       uint32 = 93003 // in an Error 90001: the user has logged in elsewhere, and this session ends
	CodeElsewhere      uint32 = 93004 // in an Error 90001: this session ends, the gateway knows a better server
	CodeRefused        uint32 = 94001 // the request is at fault: to repeat it is no use
	CodeFull           uint32 = 94002 // there is no room for the message, and will not be soon
	CodeTooFast        uint32 = 94003 // the sender has to wait a moment, and then repeat the message
)

// What errStr says beside a code: the texts of the original server, which its clients may compare.
const (
	TextOK             = "ok"
	TextServer         = "server error"
	TextNoAccessServer = "no accessServer"
	TextNoToken        = "no token"
	TextWrongToken     = "calc token failed"
)

// MaxMessage is the longest message in bytes, in either direction: what a length of 2 bytes can say.
const MaxMessage = 1<<16 - 1

// Values of SyncMsg.MsgType and Record.MsgType.
const (
	TypeP2P   = "p2p"
	TypeGroup = "group"
)

// ErrMalformed is wrapped by the errors of [Answer] for a payload that is no message with a command. Who sent it does
// not speak this protocol.
var ErrMalformed = errors.New("wire: malformed message")

// ErrUnknown is wrapped by the errors of [Answer] for a command that it does not know.
var ErrUnknown = errors.New("wire: unknown command")

var answers = map[uint32]func() proto.Message{
	CmdAccessServer: func() proto.Message { return new(ResSelectAccessServerForClient) },
	CmdLogin:        func() proto.Message { return new(Error) },
	CmdPing:         func() proto.Message { return new(Error) },
	CmdSendP2P:      func() proto.Message { return new(ResSendP2PMsg) },
	CmdSendGroup:    func() proto.Message { return new(ResSendGroupMsg) },
	CmdSync:         func() proto.Message { return new(ResSyncMsg) },
	CmdNotify:       func() proto.Message { return new(ResNotify) },
	CmdJoinGroup:    func() proto.Message { return new(ResJoinGroup) },
	CmdLeaveGroup:   func() proto.Message { return new(ResLeaveGroup) },
	CmdPresence:     func() proto.Message { return new(ResPresence) },
	CmdWhoAmI:       func() proto.Message { return new(ResWhoAmI) },
	CmdHistory:      func() proto.Message { return new(ResHistory) },
	CmdMembers:      func() proto.Message { return new(ResMembers) },
	CmdError:        func() proto.Message { return new(Error) },
}

// Answer decodes what the gateway or an access server sends. The message keeps nothing of payload. With an error that
// wraps [ErrUnknown] the command is returned as well.
func Answer(payload []byte) (cmd uint32, msg proto.Message, err error) {
	if cmd, err = Peek(payload); err != nil {
		return 0, nil, err
	}
	kind, ok := answers[cmd]
	if !ok {
		return cmd, nil, fmt.Errorf("%w: %d", ErrUnknown, cmd)
	}
	msg = kind()
	if err := proto.Unmarshal(payload, msg); err != nil {
		return cmd, nil, fmt.Errorf("%w: command %d: %v", ErrMalformed, cmd, err)
	}
	return cmd, msg, nil
}

// Peek returns the command alone. Its error wraps [ErrMalformed], also when there is no command; the rest of
// the payload has then, or may have, any form.
func Peek(payload []byte) (cmd uint32, err error) {
	cmd, ok := command(payload)
	switch {
	case !ok:
		return 0, fmt.Errorf("%w: no protobuf message", ErrMalformed)
	case cmd == 0:
		return 0, fmt.Errorf("%w: no command", ErrMalformed)
	}
	return cmd, nil
}

// command is field 1 of a message, 0 where it is not set; not ok says that this is no protobuf message.
func command(payload []byte) (cmd uint32, ok bool) {
	for rest := payload; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return 0, false
		}
		rest = rest[n:]
		if number == 1 && kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(rest)
			if n < 0 {
				return 0, false
			}
			cmd = uint32(v) // protobuf itself truncates, and the last value counts
			rest = rest[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(number, kind, rest); n < 0 {
			return 0, false
		}
		rest = rest[n:]
	}
	return cmd, true
}

// Encode returns msg as a payload, to be sent on a session of [Protocol] or by the cluster. It panics for a string that
// is not UTF-8, which only the program's own mistake could bring here: what is received with one is refused.
func Encode(msg proto.Message) []byte {
	payload, err := proto.Marshal(msg)
	if err != nil {
		panic(fmt.Sprintf("wire: %T: %v", msg, err))
	}
	return payload
}

// OK is the answer to a login or ping that went well.
func OK(cmd uint32) *Error { return &Error{Cmd: cmd, ErrStr: TextOK} }

// Fail is the answer to a login, to a ping, or to what cannot be served.
func Fail(cmd, code uint32, text string) *Error {
	return &Error{Cmd: cmd, ErrCode: code, ErrStr: text}
}

// Refuse is an answer to cmd, of the form that its clients expect, that says why there is no other. For a command that
// has no answer it is an Error with [CmdError].
func Refuse(cmd, code uint32, text string) proto.Message {
	kind, ok := answers[cmd]
	if !ok || cmd == CmdNotify {
		return Fail(CmdError, code, text)
	}
	msg := kind()
	m := msg.ProtoReflect()
	fields := m.Descriptor().Fields()
	m.Set(fields.ByName("cmd"), protoreflect.ValueOfUint32(cmd))
	m.Set(fields.ByName("errCode"), protoreflect.ValueOfUint32(code))
	m.Set(fields.ByName("errStr"), protoreflect.ValueOfString(text))
	return msg
}

// Notify tells a client that there are messages up to version.
func Notify(version int64) *ResNotify {
	return &ResNotify{Cmd: CmdNotify, ErrStr: TextOK, CurrentID: version}
}

// Protocol is that of all sessions: the same bytes as codec.Protobuf's. Send takes a protobuf message, or a
// []byte that is one already.
func Protocol() libnet.Protocol { return protocol }

var protocol = framed(marshaler{codec.Proto})

func framed(m codec.Marshaler) libnet.Protocol {
	return codec.New(codec.Uint16BE, m).MaxMessage(MaxMessage)
}

type marshaler struct{ codec.Marshaler }

func (m marshaler) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	if payload, ok := msg.([]byte); ok {
		return append(dst, payload...), nil
	}
	return m.Marshaler.AppendMarshal(dst, msg)
}
