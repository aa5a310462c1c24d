package access_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/token"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

var record = flag.Bool("record", false, "write the conversation down instead of comparing it")

// recorded has every kind of message in both directions, a frame a line: what clients say after ">", what they hear
// after "<".
const recorded = "testdata/conversation.txt"

// A step is something that a client says, and how many frames it hears then.
type step struct {
	name  string
	says  any // a proto.Message, or a []byte that is none
	hears int
	ends  bool // the session, behind that
}

// legacyToken is user 7's, of the salt "salt".
const legacyToken = "845e33d9953f736be227314bfdefb817"

var login = step{name: "login", says: &wire.ReqLogin{Cmd: wire.CmdLogin, UID: 7, Token: legacyToken}, hears: 1}

// notText is a message to user 7 in bytes that are no UTF-8.
var notText = []byte("\x08\xa3\x9c\x01\x20\x07\x32\x02\xc3\x28")

// asGuest is what somebody says who has not logged in, in one session.
var asGuest = []step{
	{"login without a token", &wire.ReqLogin{Cmd: wire.CmdLogin, UID: 7}, 1, false},
	{"login with a wrong token", &wire.ReqLogin{Cmd: wire.CmdLogin, UID: 8, Token: legacyToken}, 1, false},
	{"access server", &wire.ReqAccessServer{Cmd: wire.CmdAccessServer}, 0, false},
	{"ping", &wire.ReqPing{Cmd: wire.CmdPing, UID: 7}, 1, false},
	{"message", &wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, SourceUID: 7, TargetUID: 7, MsgID: "a", Msg: "hey"}, 1, false},
	{"message to a group", &wire.ReqSendGroupMsg{Cmd: wire.CmdSendGroup, GroupID: 9, MsgID: "a", Msg: "hey"}, 1, false},
	{"sync", &wire.ReqSyncMsg{Cmd: wire.CmdSync, UID: 7}, 1, false},
	{"history", &wire.ReqHistory{Cmd: wire.CmdHistory, UID: 7}, 1, false},
	{"join", &wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, UID: 7, GroupID: 9}, 1, false},
	{"leave", &wire.ReqLeaveGroup{Cmd: wire.CmdLeaveGroup, UID: 7, GroupID: 9}, 1, false},
	{"presence", &wire.ReqPresence{Cmd: wire.CmdPresence, UID: 7, UIDs: []int64{7}}, 1, false},
	{"who am I", &wire.ReqWhoAmI{Cmd: wire.CmdWhoAmI}, 1, false},
	{"members", &wire.ReqMembers{Cmd: wire.CmdMembers, UID: 7, GroupID: 9}, 1, false},
	{"notification", wire.Notify(1), 0, false},
	{"unknown command", &wire.Command{Cmd: 4711}, 0, false},
	{"nothing", []byte{}, 0, false},
	{"noise", []byte{0xff, 0xff}, 1, false},
	{"no command", &wire.ReqPing{UID: 7}, 0, false},
	{"an error", wire.Fail(wire.CmdError, 1, "x"), 0, false},
	{"login without a token, once more", &wire.ReqLogin{Cmd: wire.CmdLogin, UID: 7}, 1, false},
}

// asUser is what user 7 says in one session.
var asUser = []step{
	login,
	{"login again", login.says, 1, false},
	{"login as another", &wire.ReqLogin{Cmd: wire.CmdLogin, UID: 8, Token: legacyToken}, 1, false},
	{"ping", &wire.ReqPing{Cmd: wire.CmdPing, CmdStr: "c", UID: 7}, 1, false},
	{"message to oneself", &wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, SourceUID: 8, TargetUID: 7, MsgID: "a", Msg: "hey"}, 2, false},
	{"message without an id", &wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 7, Msg: "hey"}, 2, false},
	{"message to nobody", &wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, Msg: "hey"}, 1, false},
	{"message too long", &wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 7, Msg: strings.Repeat("x", history.MaxText+1)}, 1, false},
	{"message that is not stored", &wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, TargetUID: 7, MsgID: "b", Msg: "fire"}, 1, false},
	{"message to a group", &wire.ReqSendGroupMsg{Cmd: wire.CmdSendGroup, GroupID: 9, MsgID: "c", Msg: "all"}, 2, false},
	{"message to no group", &wire.ReqSendGroupMsg{Cmd: wire.CmdSendGroup, GroupID: -9, Msg: "all"}, 1, false},
	{"join", &wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, UID: 7, GroupID: 11}, 1, false},
	{"join no group", &wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, UID: 7}, 1, false},
	{"who am I", &wire.ReqWhoAmI{Cmd: wire.CmdWhoAmI}, 1, false},
	{"leave", &wire.ReqLeaveGroup{Cmd: wire.CmdLeaveGroup, UID: 7, GroupID: 11}, 1, false},
	{"members", &wire.ReqMembers{Cmd: wire.CmdMembers, UID: 7, GroupID: 9}, 1, false},
	{"members of another group", &wire.ReqMembers{Cmd: wire.CmdMembers, UID: 7, GroupID: 11}, 1, false},
	{"presence", &wire.ReqPresence{Cmd: wire.CmdPresence, UID: 7, UIDs: []int64{7, 8}}, 1, false},
	{"presence of too many", &wire.ReqPresence{Cmd: wire.CmdPresence, UIDs: make([]int64, 101)}, 1, false},
	{"sync", &wire.ReqSyncMsg{Cmd: wire.CmdSync, UID: 7}, 1, false},
	{"sync, nothing newer", &wire.ReqSyncMsg{Cmd: wire.CmdSync, UID: 7, CurrentID: 3}, 1, false},
	{"sync, more to come", &wire.ReqSyncMsg{Cmd: wire.CmdSync, UID: 7, CurrentID: manyPages}, 2, false},
	{"history", &wire.ReqHistory{Cmd: wire.CmdHistory, UID: 7}, 1, false},
	{"history, more to come", &wire.ReqHistory{Cmd: wire.CmdHistory, UID: 7, CurrentID: manyPages}, 1, false},
	{"access server", &wire.ReqAccessServer{Cmd: wire.CmdAccessServer}, 0, false},
	{"notification", wire.Notify(1), 0, false},
	{"unknown command", &wire.Command{Cmd: 4711}, 0, false},
	{"not text", notText, 1, false},
	{"ping after all that", &wire.ReqPing{Cmd: wire.CmdPing, UID: 7}, 1, false},
}

// manyPages is a version at which the store of this test has one more page, always.
const manyPages = 1000

func TestAConversationIsWhatWasRecordedToTheByte(t *testing.T) {
	r := newRig(t)
	s := r.start(scripted(t))
	var heard strings.Builder
	play(t, s, &heard, "guest", asGuest...)
	play(t, s, &heard, "user", asUser...)
	replaced := play(t, s, &heard, "replaced", login)
	play(t, s, &heard, "who replaces", login)
	replaced.hear(1, true)
	if *record {
		if err := os.WriteFile(recorded, []byte(heard.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	compare(t, heard.String())
}

// scripted has a server say the same in every run.
func scripted(t *testing.T) func(*access.Options) {
	return func(o *access.Options) {
		tokens, err := token.New(token.NewKey(), "salt")
		if err != nil {
			t.Fatal(err)
		}
		whole := o.History
		o.Tokens = tokens
		o.History = brokenHistory{
			History: whole,
			store: func(ctx context.Context, m history.Message) (int64, error) {
				if m.Text == "fire" {
					return 0, errors.New("disk on fire")
				}
				return whole.Store(ctx, m)
			},
			read: func(ctx context.Context, q history.Query) (history.Page, error) {
				if q.After == manyPages {
					return history.Page{Next: manyPages + 1, More: true}, nil
				}
				page, err := whole.Read(ctx, q)
				for _, record := range page.Records {
					record.Time = 1
				}
				return page, err
			},
		}
	}
}

// A listener is a client that writes down what it says and hears.
type listener struct {
	t     *testing.T
	conn  net.Conn
	notes *strings.Builder
}

// play has a client of its own take some steps.
func play(t *testing.T, s *server, notes *strings.Builder, who string, steps ...step) *listener {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(imtest.Patience))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	l := &listener{t, conn, notes}
	for _, step := range steps {
		fmt.Fprintf(notes, "%s: %s\n", who, step.name)
		l.say(step.says)
		l.hear(step.hears, step.ends)
	}
	return l
}

func (l *listener) say(msg any) {
	l.t.Helper()
	payload, ok := msg.([]byte)
	if !ok {
		payload = wire.Encode(msg.(proto.Message))
	}
	l.note(">", payload)
	if _, err := l.conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(payload))), payload...)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *listener) hear(frames int, ends bool) {
	l.t.Helper()
	for range frames {
		var length [2]byte
		if _, err := io.ReadFull(l.conn, length[:]); err != nil {
			l.t.Fatalf("%v, after\n%s", err, l.notes)
		}
		payload := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(l.conn, payload); err != nil {
			l.t.Fatalf("%v, after\n%s", err, l.notes)
		}
		l.note("<", payload)
	}
	if !ends {
		return
	}
	rest, err := io.ReadAll(l.conn)
	if len(rest) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		l.t.Fatalf("%x, %v instead of the end, after\n%s", rest, err, l.notes)
	}
	fmt.Fprintln(l.notes, "< end")
}

// note keeps a long payload's beginning and end.
func (l *listener) note(direction string, payload []byte) {
	const long = 200
	text := fmt.Sprintf("%x", payload)
	if len(payload) > long {
		text = fmt.Sprintf("%x… %d bytes", payload[:long], len(payload))
	}
	fmt.Fprintln(l.notes, direction, text)
}

// compare finds the first line that differs from the record.
func compare(t *testing.T, heard string) {
	t.Helper()
	file, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	want, got := strings.Split(string(file), "\n"), strings.Split(heard, "\n")
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Fatalf("line %d of %s differs:\n%s", i+1, recorded, strings.Join(got[max(0, i-3):min(i+1, len(got))], "\n"))
		}
	}
}
