package access_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/token"
)

// TestALegacyClientsConversationIsTheSameToTheByte is what a client of the public FishChatServer2 code says and hears.
// User 7's token is the MD5 of "7salt".
func TestALegacyClientsConversationIsTheSameToTheByte(t *testing.T) {
	r := newRig(t)
	s := r.start(func(o *access.Options) {
		tokens, err := token.New(token.NewKey(), "salt")
		if err != nil {
			t.Fatal(err)
		}
		o.Tokens = tokens
	})
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(imtest.Patience)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ name, says, hears string }{
		{"login with its token", // 1 cmd 20001, 3 UID 7, 4 token
			"0028 08a19c01 1807 2220" + hex.EncodeToString([]byte("845e33d9953f736be227314bfdefb817"))[:64],
			"0008 08a19c01 1a026f6b"},
		{"ping", "0006 08a29c01 1807", "0008 08a29c01 1a026f6b"},
		{"a message to itself", // the first of the stream: version 1
			"0010 08a39c01 1807 2007 2a0131 3203686579",
			"0008 08a39c01 22026f6b" +
				"000a 08a79c01 22026f6b 2801"}, // 20007, currentID 1
		{"sync", "0006 08a69c01 1807",
			"001d 08a69c01 22026f6b 2801 3211 0807 1007 2203703270 2a0131 3203686579"},
		{"nothing newer", "0008 08a69c01 1807 2001",
			"000a 08a69c01 22026f6b 2801"},
		{"a message to a group", // it cannot join; version 2
			"0010 08a59c01 1807 2009 2a0132 3203616c6c",
			"0008 08a59c01 22026f6b" +
				"000a 08a79c01 22026f6b 2802"},
		{"sync of its own message in a group", "0008 08a69c01 1807 2001",
			"0021 08a69c01 22026f6b 2802 3215 0807 1007 1809 220567726f7570 2a0132 3203616c6c"},
		{"what is no message", "0002 ffff", // 90001, code 90001, "server error"
			"0016 0891bf05 1091bf05 1a0c" + hex.EncodeToString([]byte("server error"))},
		{"an acknowledgement, which the original ignores as well, and a message without an id", // 20004; version 3
			"0004 08a49c01" + "000b 08a39c01 2007 3203686579",
			"0008 08a39c01 22026f6b" + "000a 08a79c01 22026f6b 2803"},
		{"sync of that", "0008 08a69c01 1807 2002",
			"001a 08a69c01 22026f6b 2803 320e 0807 1007 2203703270 3203686579"},
		{"a login as somebody else", // its token is wrong: 93002
			"0028 08a19c01 1808 2220" + hex.EncodeToString([]byte("845e33d9953f736be227314bfdefb817"))[:64],
			"001b 08a19c01 10cad605 1a11" + hex.EncodeToString([]byte("calc token failed"))},
	} {
		t.Run(step.name, func(t *testing.T) {
			if _, err := conn.Write(unhex(t, step.says)); err != nil {
				t.Fatal(err)
			}
			want := unhex(t, step.hears)
			got := make([]byte, len(want))
			if n, err := io.ReadFull(conn, got); err != nil {
				t.Fatalf("heard %x, then %v; want %x", got[:n], err, want)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("heard %x\nwant  %x", got, want)
			}
		})
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
