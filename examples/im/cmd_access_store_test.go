package main

import (
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/quota"
)

func TestFlagsAboutTheStoreReachTheServer(t *testing.T) {
	parse := func(line string) (o access.InstanceOptions) {
		t.Helper()
		flags := newFlags("access", std{})
		withStore(flags, &o)
		if err := flags.parse(strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
		return o
	}
	o := parse("-replicas 3 -store-bytes 5 -store-age 48h -store-messages 7 -sender-rate 8 -sender-burst 9 -sender-share 10 -sender-bytes -1")
	if want := (history.Options{Replicas: 3, MaxBytes: 5, MaxAge: 48 * time.Hour, MaxPerSubject: 7}); o.History != want {
		t.Errorf("the store is %+v", o.History)
	}
	if want := (quota.Limits{PerSecond: 8, Burst: 9, Share: 10, Bytes: -1}); o.Quotas != want {
		t.Errorf("the limits are %+v", o.Quotas)
	}
	// What nobody asked for changes nothing in a store that is there.
	if o := parse(""); o.History != (history.Options{}) || o.Quotas != (quota.Limits{}) {
		t.Errorf("without flags: %+v", o)
	}
}

func TestAnAccessServerWaitsForAJetStreamThatHasNoRoom(t *testing.T) {
	t.Parallel()
	etcd, nats, key := engines(t)
	server := start(t, with("access", etcd, nats, key, []string{"-store-bytes", "1152921504606846976"})...)
	server.complains(`JetStream is not ready.*insufficient storage`)
	select {
	case <-server.done:
		t.Fatalf("it ended: %v", server.wait())
	case <-time.After(200 * time.Millisecond):
	}
	server.cancel()
	if err := server.wait(); err == nil || !strings.Contains(err.Error(), "storage") {
		t.Errorf("told to end, it ended with %v", err)
	}
}
