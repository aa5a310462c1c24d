package embedded_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/libnet-go/libnet/examples/im/internal/embedded"
)

func TestNATSKeepsStreamsAndAddressThroughARestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	server, err := embedded.StartNATS(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	conn, err := nats.Connect(server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "kept", Subjects: []string{"kept.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "kept.one", []byte("payload")); err != nil {
		t.Fatal(err)
	}

	server.Stop()
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	again, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	js, err = jetstream.New(again)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(ctx, "kept")
	if err != nil {
		t.Fatal(err)
	}
	message, err := stream.GetLastMsgForSubject(ctx, "kept.one")
	if err != nil || string(message.Data) != "payload" {
		t.Errorf("after the restart the stream holds %v, %v", message, err)
	}
}

func TestNATSStartGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	server, err := embedded.StartNATS(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	taken, err := net.Listen("tcp", strings.TrimPrefix(server.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := server.Start(short); err == nil {
		server.Stop()
		t.Error("started on a port that somebody else has")
	}
}

func TestANATSClusterKeepsAStreamThatOneOfItLost(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	members, err := embedded.StartNATSCluster(ctx, t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range members {
		defer member.Stop()
	}
	conn, err := nats.Connect(members[0].URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "kept", Subjects: []string{"kept.>"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "kept.one", []byte("payload")); err != nil {
		t.Fatal(err)
	}
	members[2].Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		_, err := js.Publish(attempt, "kept.two", nil)
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}
