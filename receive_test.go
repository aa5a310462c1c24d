package libnet_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/libnet-go/libnet/internal/testkit"
)

func TestMessagesThatArriveTogetherAreTheCallersToChange(t *testing.T) {
	near, far := testkit.ConnectTCP(t)
	s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 0), near)
	var want []string
	var wire []byte
	for i := range 200 {
		msg := strings.Repeat(fmt.Sprint(i, " "), i%90)
		want = append(want, msg)
		wire = binary.BigEndian.AppendUint32(wire, uint32(len(msg)))
		wire = append(wire, msg...)
	}
	if _, err := far.Write(wire); err != nil {
		t.Fatal(err)
	}
	var got [][]byte
	for range want {
		msg, err := s.Receive()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, msg)
		_ = append(msg, "grown into the next one"...)
	}
	for i, msg := range got {
		if string(msg) != want[i] {
			t.Fatalf("message %d has become %q; want %q", i, msg, want[i])
		}
		copy(msg, bytes.Repeat([]byte{0}, len(msg)))
	}
}

// What a handler sends is written in three ways: by the first reply to the last message that has arrived, before the
// receiver waits, and with what comes after. None may overtake another.
func TestRepliesKeepTheirOrderHoweverManyAMessageGets(t *testing.T) {
	near, far := testkit.ConnectTCP(t)
	s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 1024), near)
	go func() {
		for n := uint32(0); ; {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			for range msg[0] {
				if err := s.Send(binary.BigEndian.AppendUint32(nil, n)); err != nil {
					t.Errorf("Send: %v", err)
					return
				}
				n++
			}
		}
	}()
	client := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 0), far)
	for round, next := 0, uint32(0); round < 300; round++ {
		messages, replies := 1+round%3, byte(round%4)
		for range messages {
			testkit.MustSend(t, client, []byte{replies})
		}
		for range messages * int(replies) {
			msg, err := client.Receive()
			if err != nil || binary.BigEndian.Uint32(msg) != next {
				t.Fatalf("round %d: received %v, %v; want reply %d", round, msg, err, next)
			}
			next++
		}
	}
}
