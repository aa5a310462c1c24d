package wire_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/examples/im/internal/wire/wiretest"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// golden are frames of existing clients and of the servers that they talk to, put together by hand from the table of
// fields: length, then tag and value for each field. They must never change.
var golden = []struct {
	name    string
	msg     proto.Message
	frame   string // in hex; blanks are for the reader
	request bool
}{
	{"ReqAccessServer", &wire.ReqAccessServer{Cmd: 10001, CmdStr: "c"},
		"0006 08914e 120163", true},
	{"ResSelectAccessServerForClient", &wire.ResSelectAccessServerForClient{Cmd: 10001, CmdStr: "c", ErrCode: 92001, ErrStr: "e", Addr: "h:1"},
		"0012 08914e 120163 18e1ce05 220165 2a03683a31", false},
	{"ReqLogin", &wire.ReqLogin{Cmd: 20001, CmdStr: "c", UID: 300, Token: "t"},
		"000d 08a19c01 120163 18ac02 220174", true},
	{"Error of a login", &wire.Error{Cmd: 20001, ErrCode: 93002, ErrStr: "e"},
		"000b 08a19c01 10cad605 1a0165", false},
	{"Error of a login that went well", &wire.Error{Cmd: 20001},
		"0004 08a19c01", false},
	{"ReqPing", &wire.ReqPing{Cmd: 20002, CmdStr: "c", UID: 1},
		"0009 08a29c01 120163 1801", true},
	{"Error of a ping", &wire.Error{Cmd: 20002},
		"0004 08a29c01", false},
	{"ReqSendP2PMsg", &wire.ReqSendP2PMsg{Cmd: 20003, CmdStr: "c", SourceUID: 1, TargetUID: 2, MsgID: "i", Msg: "m"},
		"0011 08a39c01 120163 1801 2002 2a0169 32016d", true},
	{"ResSendP2PMsg", &wire.ResSendP2PMsg{Cmd: 20003, CmdStr: "c", ErrCode: 90001, ErrStr: "e", SourceUID: 1, TargetUID: 2, MsgID: "i", Msg: "m"},
		"0018 08a39c01 120163 1891bf05 220165 2801 3002 3a0169 42016d", false},
	{"ReqSendGroupMsg", &wire.ReqSendGroupMsg{Cmd: 20005, CmdStr: "c", SourceUID: 1, GroupID: 9, MsgID: "i", Msg: "m"},
		"0011 08a59c01 120163 1801 2009 2a0169 32016d", true},
	{"ResSendGroupMsg", &wire.ResSendGroupMsg{Cmd: 20005, CmdStr: "c", ErrCode: 90001, ErrStr: "e"},
		"000e 08a59c01 120163 1891bf05 220165", false},
	{"ReqSyncMsg", &wire.ReqSyncMsg{Cmd: 20006, CmdStr: "c", UID: 1, CurrentID: 300},
		"000c 08a69c01 120163 1801 20ac02", true},
	{"ResSyncMsg", &wire.ResSyncMsg{Cmd: 20006, CmdStr: "c", ErrCode: 91001, ErrStr: "e", CurrentID: 300, Msgs: []*wire.SyncMsg{
		{SourceUID: 1, TargetUID: 2, MsgType: "p2p", MsgID: "i", Msg: "m"},
		{SourceUID: 1, GroupID: 9, MsgType: "group", MsgID: "i", Msg: "m"},
	}},
		"0035 08a69c01 120163 18f9c605 220165 28ac02" +
			"320f 0801 1002 2203703270 2a0169 32016d" +
			"3211 0801 1809 220567726f7570 2a0169 32016d", false},
	{"ResNotify", &wire.ResNotify{Cmd: 20007, CmdStr: "c", ErrCode: 90001, ErrStr: "e", CurrentID: 300},
		"0011 08a79c01 120163 1891bf05 220165 28ac02", false},
	{"Error for what cannot be served", &wire.Error{Cmd: 90001, ErrCode: 90001, ErrStr: "e"},
		"000b 0891bf05 1091bf05 1a0165", false},
	{"a negative id", &wire.ReqPing{Cmd: 20002, UID: -1},
		"000f 08a29c01 18ffffffffffffffffff01", true},
}

func frame(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryMessageOfTheTableHasItsBytes(t *testing.T) {
	for name, protocol := range map[string]libnet.Protocol{"wire": wire.Protocol(), "codec.Protobuf": codec.Protobuf()} {
		appender := protocol.NewCodec(new(bytes.Buffer)).(libnet.FrameAppender)
		for _, test := range golden {
			got, err := appender.AppendFrame(nil, test.msg)
			if want := frame(t, test.frame); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %s: %x, %v; want %x", name, test.name, got, err, want)
			}
		}
	}
}

func TestEveryMessageOfTheTableIsReadFromItsBytes(t *testing.T) {
	for _, test := range golden {
		decode := wire.Answer
		if test.request {
			decode = wiretest.Request
		}
		payload := frame(t, test.frame)[2:]
		cmd, msg, err := decode(payload)
		if err != nil || !proto.Equal(msg, test.msg) {
			t.Errorf("%s: %d, %v, %v; want %v", test.name, cmd, msg, err, test.msg)
		}
		if peeked, err := wire.Peek(payload); err != nil || peeked != cmd {
			t.Errorf("%s: peeked %d, %v; want %d", test.name, peeked, err, cmd)
		}
	}
}

func TestAPayloadIsSentAsItIs(t *testing.T) {
	appender := wire.Protocol().NewCodec(new(bytes.Buffer)).(libnet.FrameAppender)
	msg := wire.Notify(300)
	want, err := appender.AppendFrame(nil, msg)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := appender.AppendFrame(nil, wire.Encode(msg)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("as a payload %x, %v; as a message %x", got, err, want)
	}
	if _, err := appender.AppendFrame(nil, make([]byte, wire.MaxMessage+1)); !errors.Is(err, libnet.ErrFrameTooLarge) {
		t.Errorf("a payload too large: %v", err)
	}
	if _, err := appender.AppendFrame(nil, 7); !errors.Is(err, libnet.ErrEncode) {
		t.Errorf("no message at all: %v", err)
	}
}

func TestWhatIsNoMessageIsMalformedAndWhatIsNotKnownIsUnknown(t *testing.T) {
	for name, test := range map[string]struct {
		payload string
		want    error
	}{
		"nothing":                  {"", wire.ErrMalformed},
		"no command":               {"120163", wire.ErrMalformed},
		"command 0":                {"0800", wire.ErrMalformed},
		"half a command":           {"08a1", wire.ErrMalformed},
		"noise":                    {"ffffffffffff", wire.ErrMalformed},
		"a field cut short":        {"08a19c01 1a05", wire.ErrMalformed},
		"a string that is no text": {"08a19c01 1a02c328", wire.ErrMalformed},
		"a command as a string":    {"0a0161", wire.ErrMalformed},
		"a command to come":        {"08ffff01", wire.ErrUnknown},
		"a group's end":            {"08a19c01 0c", wire.ErrMalformed},
	} {
		if _, msg, err := wire.Answer(frame(t, test.payload)); !errors.Is(err, test.want) || msg != nil {
			t.Errorf("%s: %v, %v; want %v", name, msg, err, test.want)
		}
	}
}

func TestARefusalHasTheFormOfItsAnswer(t *testing.T) {
	for cmd, want := range map[uint32]proto.Message{
		wire.CmdLogin:        &wire.Error{Cmd: 20001, ErrCode: 90001, ErrStr: "no"},
		wire.CmdSendP2P:      &wire.ResSendP2PMsg{Cmd: 20003, ErrCode: 90001, ErrStr: "no"},
		wire.CmdSync:         &wire.ResSyncMsg{Cmd: 20006, ErrCode: 90001, ErrStr: "no"},
		wire.CmdMembers:      &wire.ResMembers{Cmd: 20013, ErrCode: 90001, ErrStr: "no"},
		wire.CmdAccessServer: &wire.ResSelectAccessServerForClient{Cmd: 10001, ErrCode: 90001, ErrStr: "no"},
		wire.CmdNotify:       &wire.Error{Cmd: 90001, ErrCode: 90001, ErrStr: "no"},
		4711:                 &wire.Error{Cmd: 90001, ErrCode: 90001, ErrStr: "no"},
	} {
		if got := wire.Refuse(cmd, wire.CodeServer, "no"); !proto.Equal(got, want) {
			t.Errorf("%d: %v, want %v", cmd, got, want)
		}
	}
	for cmd := range uint32(30_000) {
		wire.Refuse(cmd, wire.CodeServer, "no") // must not panic for want of a field
	}
}

func FuzzDecode(f *testing.F) {
	for _, test := range golden {
		f.Add(frame(f, test.frame)[2:])
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		before := bytes.Clone(payload)
		cmd, msg, err := wire.Answer(payload)
		if (msg == nil) == (err == nil) {
			t.Fatalf("message %v with error %v", msg, err)
		}
		if err != nil && !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, wire.ErrUnknown) {
			t.Fatal(err)
		}
		if !bytes.Equal(payload, before) {
			t.Fatal("the payload was changed")
		}
		if err != nil {
			return
		}
		if peeked, err := wire.Peek(payload); err != nil || peeked != cmd {
			t.Fatalf("peeked %d, %v; decoded %d", peeked, err, cmd)
		}
		common := new(wire.Command)
		if err := proto.Unmarshal(payload, common); err != nil || common.Cmd != cmd {
			t.Fatalf("command %d; protobuf says %d, %v", cmd, common.Cmd, err)
		}
		_, again, err := wire.Answer(wire.Encode(msg))
		if err != nil || !proto.Equal(again, msg) {
			t.Fatalf("%v comes back as %v, %v", msg, again, err)
		}
	})
}

func ExampleNewMux() {
	m := wire.NewMux()
	mux.Handle(m, wire.Kind(wire.CmdJoinGroup),
		func(_ context.Context, _ *libnet.Session, req *wire.ReqJoinGroup) (*wire.ResJoinGroup, error) {
			if req.GroupID <= 0 {
				return nil, &mux.Error{Code: wire.CodeRefused, Text: "no such group"}
			}
			return &wire.ResJoinGroup{GroupID: req.GroupID}, nil
		})
	server, err := libnet.Serve("tcp", "127.0.0.1:0", wire.MuxProtocol(m), 16)
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan error, 1)
	go func() {
		ended <- server.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, payload []byte) { wire.Serve(m, s, payload) }))
	}()
	defer func() { server.Stop(); <-ended }()

	s, err := libnet.Connect("tcp", server.Listener().Addr().String(), wire.Protocol(), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	for _, request := range []any{
		&wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, GroupID: 9},
		&wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, GroupID: -9},
		&wire.ReqPing{Cmd: wire.CmdPing}, // is not answered
		[]byte("noise"),
	} {
		if err := s.Send(request); err != nil {
			fmt.Println(err)
			return
		}
	}
	for range 3 {
		payload, err := s.Receive()
		if err != nil {
			fmt.Println(err)
			return
		}
		switch _, msg, err := wire.Answer(payload); answer := msg.(type) {
		case *wire.ResJoinGroup:
			fmt.Printf("%d %d %q\n", answer.GroupID, answer.ErrCode, answer.ErrStr)
		case *wire.Error:
			fmt.Printf("%d %d %q\n", answer.Cmd, answer.ErrCode, answer.ErrStr)
		default:
			fmt.Println(err)
		}
	}
	// Output:
	// 9 0 ""
	// 0 94001 "no such group"
	// 90001 90001 "server error"
}
