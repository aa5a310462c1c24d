package page_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/examples/im/internal/wire/wiretest"
)

// theScriptsEncodingIsProtobufs compares wire.js with package wire, message by message.
func theScriptsEncodingIsProtobufs(t *testing.T, browser context.Context) {
	m := startMessenger(t, "access-1")
	b := m.open(browser, "nobody")
	b.visit(m.URL)

	const text = "ä\u0000😀<b>"
	for _, test := range []struct {
		script string // the fields, as the page's scripts give them
		want   proto.Message
	}{
		{`{cmd: 20001, UID: 9223372036854775807n, token: "t"}`, &wire.ReqLogin{Cmd: wire.CmdLogin, UID: math.MaxInt64, Token: "t"}},
		{`{cmd: 20002, UID: -1n}`, &wire.ReqPing{Cmd: wire.CmdPing, UID: -1}},
		{fmt.Sprintf(`{cmd: 20003, sourceUID: 300n, targetUID: -9223372036854775808n, msgID: "", msg: %s}`, quote(text)),
			&wire.ReqSendP2PMsg{Cmd: wire.CmdSendP2P, SourceUID: 300, TargetUID: math.MinInt64, Msg: text}},
		{`{cmd: 20005, sourceUID: 1n, groupID: 127n, msgID: "a", msg: "x".repeat(20000)}`,
			&wire.ReqSendGroupMsg{Cmd: wire.CmdSendGroup, SourceUID: 1, GroupID: 127, MsgID: "a", Msg: strings.Repeat("x", 20000)}},
		{`{cmd: 20008, UID: 0n, groupID: 128n}`, &wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, GroupID: 128}},
		{`{cmd: 20009, UID: 1n, groupID: 2n}`, &wire.ReqLeaveGroup{Cmd: wire.CmdLeaveGroup, UID: 1, GroupID: 2}},
		{`{cmd: 20010, UID: 1n, UIDs: [0n, 5n, -5n]}`, &wire.ReqPresence{Cmd: wire.CmdPresence, UID: 1, UIDs: []int64{0, 5, -5}}},
		{`{cmd: 20011}`, &wire.ReqWhoAmI{Cmd: wire.CmdWhoAmI}},
		{`{cmd: 20012, UID: 1n, currentID: 99n}`, &wire.ReqHistory{Cmd: wire.CmdHistory, UID: 1, CurrentID: 99}},
		{`{cmd: 20013, UID: 1n, groupID: 3n}`, &wire.ReqMembers{Cmd: wire.CmdMembers, UID: 1, GroupID: 3}},
	} {
		encoded := eval[string](b, fmt.Sprintf(`import("./wire.js").then(({ encode }) => {
			const fields = %s;
			return btoa(Array.from(encode(fields.cmd, fields), (byte) => String.fromCharCode(byte)).join(""));
		})`, test.script))
		payload, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		_, got, err := wiretest.Request(payload)
		if err != nil || !proto.Equal(got, test.want) {
			t.Errorf("%s became %v (%v), want %v", test.script, got, err, test.want)
		}
	}

	for _, test := range []struct {
		answer proto.Message
		want   string // as JSON, with numbers of 64 bits as strings
	}{
		{wire.Fail(wire.CmdLogin, wire.CodeWrongToken, text), `{"cmd":20001,"errCode":93002,"errStr":` + quote(text) + `}`},
		{wire.OK(wire.CmdPing), `{"cmd":20002,"errCode":0,"errStr":"ok"}`},
		{wire.Fail(wire.CmdError, wire.CodeReplaced, ""), `{"cmd":90001,"errCode":93003,"errStr":""}`},
		{wire.Refuse(wire.CmdSendGroup, wire.CodeRefused, "no"), `{"cmd":20005,"errCode":94001,"errStr":"no"}`},
		{&wire.ResSendP2PMsg{Cmd: wire.CmdSendP2P, CmdStr: "skipped", SourceUID: -7, TargetUID: math.MaxInt64, MsgID: "i", Msg: "m"},
			`{"cmd":20003,"errCode":0,"errStr":"","sourceUID":"-7","targetUID":"9223372036854775807","msgID":"i","msg":"m"}`},
		{wire.Notify(1 << 60), `{"cmd":20007,"errCode":0,"errStr":"ok","currentID":"1152921504606846976"}`},
		{&wire.ResJoinGroup{Cmd: wire.CmdJoinGroup, GroupID: 1, CurrentID: 2}, `{"cmd":20008,"errCode":0,"errStr":"","groupID":"1","currentID":"2"}`},
		{&wire.ResLeaveGroup{Cmd: wire.CmdLeaveGroup, GroupID: 1}, `{"cmd":20009,"errCode":0,"errStr":"","groupID":"1"}`},
		{&wire.ResPresence{Cmd: wire.CmdPresence, Users: []*wire.UserPresence{{UID: 1, Presence: wire.Presence_ONLINE, Server: "s"}, {}}},
			`{"cmd":20010,"errCode":0,"errStr":"","users":[{"UID":"1","presence":1,"server":"s"},{"UID":"0","presence":0,"server":""}]}`},
		{&wire.ResWhoAmI{Cmd: wire.CmdWhoAmI, UID: 1, Server: "s", GroupIDs: []int64{0, 300, -1}},
			`{"cmd":20011,"errCode":0,"errStr":"","UID":"1","server":"s","groupIDs":["0","300","-1"]}`},
		{&wire.ResHistory{Cmd: wire.CmdHistory, CurrentID: 9, More: true, Records: []*wire.Record{
			{SourceUID: 1, TargetUID: 2, GroupID: 3, MsgType: wire.TypeP2P, MsgID: "i", Msg: text, ID: 4, Version: 5, Time: 6},
		}}, `{"cmd":20012,"errCode":0,"errStr":"","currentID":"9","more":true,"records":[{"sourceUID":"1","targetUID":"2","groupID":"3",` +
			`"msgType":"p2p","msgID":"i","msg":` + quote(text) + `,"ID":"4","version":"5","time":"6"}]}`},
		{&wire.ResMembers{Cmd: wire.CmdMembers, GroupID: 1, UIDs: []int64{2}, More: true},
			`{"cmd":20013,"errCode":0,"errStr":"","groupID":"1","UIDs":["2"],"more":true}`},
	} {
		got := eval[string](b, fmt.Sprintf(`import("./wire.js").then(({ decode }) =>
			JSON.stringify(decode(Uint8Array.from(atob(%q), (c) => c.charCodeAt(0))), (_, v) => typeof v === "bigint" ? String(v) : v))`,
			base64.StdEncoding.EncodeToString(wire.Encode(test.answer))))
		if normal(t, got) != normal(t, test.want) {
			t.Errorf("%v became\n%s, want\n%s", test.answer, got, test.want)
		}
	}
}

// whatIsNoMessageIsOneErrorToTheScripts damages messages in all ways, and wire.js must say WireError and nothing else.
func whatIsNoMessageIsOneErrorToTheScripts(t *testing.T, browser context.Context) {
	m := startMessenger(t, "access-1")
	b := m.open(browser, "nobody")
	b.visit(m.URL)
	whole := wire.Encode(&wire.ResHistory{Cmd: wire.CmdHistory, CurrentID: math.MaxInt64, Records: []*wire.Record{{Msg: "text", ID: -1}}})
	random := rand.New(rand.NewPCG(1, 2))
	damaged := [][]byte{nil, {0}, {0x08}, {0x08, 0x01}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	for n := range whole {
		damaged = append(damaged, whole[:n])
	}
	for range 3000 {
		bytes := append([]byte(nil), whole...)
		for range 1 + random.IntN(3) {
			bytes[random.IntN(len(bytes))] = byte(random.Uint32())
		}
		damaged = append(damaged, bytes)
	}
	list, err := json.Marshal(damaged) // base64, and null for nil
	if err != nil {
		t.Fatal(err)
	}
	counts := eval[map[string]int](b, fmt.Sprintf(`import("./wire.js").then(({ decode, WireError }) => {
		const counts = { fine: 0, refused: 0, other: 0 };
		for (const text of %s) {
			try {
				decode(Uint8Array.from(atob(text ?? ""), (c) => c.charCodeAt(0)));
				counts.fine++;
			} catch (error) {
				counts[error instanceof WireError ? "refused" : "other"]++;
			}
		}
		return counts;
	})`, list))
	if counts["other"] != 0 || counts["refused"] < len(whole)/2 || counts["fine"] == 0 {
		t.Errorf("of %d damaged messages: %v", len(damaged), counts)
	}
}

// quote is text as a literal of JSON and of JavaScript.
func quote(text string) string {
	literal, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(literal)
}

// normal is JSON in one form.
func normal(t testing.TB, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
