package cluster_test

import (
	"bytes"
	"math"
	"strconv"
	"testing"

	"github.com/libnet-go/libnet/cluster"
)

// Another node may be of another version, or broken: what it sends is refused or understood, and never more.
func FuzzWhatNodesSend(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", "12345678", "\x00\x02", "\x02\x02", "12345678kicked", "h12345678knowdone\x05", "h12345678knowdone\x85\x00", "i12345678", "i1234567", "i123456789",
		"\x00\x00\x00\x01", "\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03", "\xff\xff\xff\xff",
		"12345678A1 dQ", "12345678 dQ", "12345678A1",
		"\x00\x02Zwmhello", "\x00\x02Zw", "\x00\x00c",
		"z.1", "1.", "1y2p0ij32e8e7.zik0zj", ".", "-1.-1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for what, again := range map[string]func([]byte) ([]byte, error){
			"kick": cluster.AppendKick, "heartbeat": cluster.AppendHeartbeat, "question to a group": cluster.AppendQuestion,
			"fate": cluster.AppendFate,
		} {
			if out, err := again(data); err == nil && !bytes.Equal(out, data) {
				t.Errorf("%q is the %s %q", data, what, out)
			}
		}
		for what, again := range map[string]func([]byte) ([]byte, error){"delivery": cluster.AppendDelivery, "count": cluster.AppendCount} {
			out, err := again(data)
			if err != nil {
				continue
			}
			if once, err := again(out); err != nil || !bytes.Equal(once, out) || len(out) != len(data) {
				t.Errorf("%q is the %s %q, and that is %q, %v", data, what, out, once, err)
			}
		}
		if number, target, ok := cluster.ParseReply(string(data)); ok {
			again := strconv.FormatUint(number, 36) + "." + strconv.FormatInt(int64(target), 36)
			if n, to, ok := cluster.ParseReply(again); n != number || to != target || !ok {
				t.Errorf("%q is the reply %d, %d, and %q is %d, %d, %t", data, number, target, again, n, to, ok)
			}
		}
	})
}

func FuzzAnnouncement(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a","instance":"A1","started":1,"clock":2,"state":1,"users":3,"peers":[{"id":"b","instance":"B","age_ms":4}]}`,
		`{"id":"a","instance":">"}`, `{"id":"a","instance":"A","state":9}`, `{"id":"a","instance":"A","peers":[{"id":"b","instance":"B","age_ms":-1}]}`,
		`{"id":"a","instance":"A","users":-1}`, `{"id":"a","instance":"A","users":9223372036854775807}`,
		`{"node":"a","session":1,"since":"2026-01-02T03:04:05Z","addr":"x"}`, `[]`, ``, `[{"node":"a","run":"A","session":1,"users":["u"]}]`, `[null]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = cluster.ParsePresence(data) // nothing of it is used but shown
		_, _ = cluster.ParseMembers(data)
		a, err := cluster.ParseAnnouncement(data)
		if err != nil {
			return
		}
		checkNode(t, a.ID, a.Instance)
		if a.Users < 0 || a.Users > math.MaxInt32 {
			t.Errorf("a node with %d users was accepted", a.Users)
		}
		for _, p := range a.Peers {
			checkNode(t, p.ID, p.Instance)
		}
	})
}

// checkNode wants an instance that can be part of a subject.
func checkNode(t *testing.T, id, instance string) {
	if id == "" || len(id) > cluster.MaxName || instance == "" || len(instance) > 64 {
		t.Errorf("a node %q, %q was accepted", id, instance)
	}
	for _, c := range instance {
		if c == '.' || c == '*' || c == '>' || c <= ' ' {
			t.Errorf("the instance %q was accepted", instance)
		}
	}
}
