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

// TestALegacyClientsConversationIsTheSameToTheByte is what a client of the public FishChatServer2 code says and hears. User
// 7's token is the MD5 of "7salt".
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
			"0004 08a19c01"},
		{"ping", "0006 08a29c01 1807", "0004 08a29c01"},
		{"a message to itself", // the first of the stream: version 1
			"0010 08a39c01 1807 2007 2a0131 3203686579",
			"0010 08a39c01 2807 3007 3a0131 4203686579" +
				"0006 08a79c01 2801"}, // 20007, currentID 1
		{"sync", "0006 08a69c01 1807",
			"0019 08a69c01 2801 3211 0807 1007 2203703270 2a0131 3203686579"},
		{"nothing newer", "0008 08a69c01 1807 2001",
			"0019 08a69c01 18f9c605 220d" + hex.EncodeToString([]byte("nothing newer")) + "2801"},
		{"a message to a group", // it cannot join; version 2
			"0010 08a59c01 1807 2009 2a0132 3203616c6c",
			"0004 08a59c01" +
				"0006 08a79c01 2802"},
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
