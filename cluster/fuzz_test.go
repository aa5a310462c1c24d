package cluster_test

import (
	"fmt"
	"testing"

	"github.com/libnet-go/libnet/cluster"
)

// Another node may be of another version, or broken: what it sends is refused or understood, and never more.
func FuzzWhatNodesSend(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", "12345678", "12345678123456781", "\x00\x0212345678", "\x02\x0212345678", "12345678kicked",
		`{"id":"a","instance":"A1","started":1,"clock":2,"state":1,"users":3,"peers":[{"id":"b","instance":"B","age_ms":4}]}`,
		`{"id":"a","instance":">"}`, `{"node":"a","session":1,"since":"2026-01-02T03:04:05Z","addr":"x"}`,
		"z.1", "1.", "1y2p0ij32e8e7.zik0zj", ".", "-1.-1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := cluster.ParsePong(data); err == nil {
			if text := fmt.Sprintf("%+v", p); text == "" {
				t.Error("no pong")
			}
		}
		if c, err := cluster.ParseClaim(data); err == nil && len(fmt.Sprint(c)) > len(data)*4+64 {
			t.Errorf("a claim of %d bytes became %+v", len(data), c)
		}
		if _, reason, err := cluster.ParseKick(data); err == nil && len(reason) != len(data)-8 {
			t.Errorf("a kick of %d bytes has a reason of %d", len(data), len(reason))
		}
		if _, err := cluster.ParsePingClock(data); (err == nil) != (len(data) == 8) {
			t.Errorf("a ping of %d bytes: %v", len(data), err)
		}
		if a, err := cluster.ParseAnnouncement(data); err == nil {
			checkAnnouncement(t, a.ID, a.Instance)
			for _, p := range a.Peers {
				checkAnnouncement(t, p.ID, p.Instance)
			}
		}
		_, _ = cluster.ParsePresence(data)
		if _, target, ok := cluster.ParseReply(string(data)); ok && target < 0 {
			t.Errorf("%q has the target %d", data, target)
		}
	})
}

// checkAnnouncement wants an instance that can be part of a subject.
func checkAnnouncement(t *testing.T, id, instance string) {
	if id == "" || len(id) > cluster.MaxName || instance == "" || len(instance) > 64 {
		t.Errorf("a node %q, %q was accepted", id, instance)
	}
	for _, c := range instance {
		if c == '.' || c == '*' || c == '>' || c <= ' ' {
			t.Errorf("the instance %q was accepted", instance)
		}
	}
}
