package history_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

// A logBuffer is what a history logs.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) has(what string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.text.String(), what)
}

func TestAJetStreamThatIsNotReadyIsWaitedForAndTheReasonSaid(t *testing.T) {
	t.Parallel()
	server := imtest.StartNATS(t, t.TempDir())
	conn := connect(t, server)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	// Somebody else's stream has the subjects, until it is taken away.
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "theirs", Subjects: []string{"im.u.1"}}); err != nil {
		t.Fatal(err)
	}
	said := new(logBuffer)
	opened := make(chan error, 1)
	go func() {
		_, err := history.Open(imtest.Bounded(t), conn, history.Options{Logger: slog.New(slog.NewTextHandler(said, nil))})
		opened <- err
	}()
	imtest.Eventually(t, "the reason is said", func() bool { return said.has("overlap") })
	select {
	case err := <-opened:
		t.Fatalf("it gave up: %v", err)
	default:
	}
	if err := js.DeleteStream(t.Context(), "theirs"); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

func TestAJetStreamWithTooLittleRoomIsWaitedForWithAHint(t *testing.T) {
	t.Parallel()
	conn := connect(t, imtest.StartNATS(t, t.TempDir()))
	said := new(logBuffer)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := history.Open(ctx, conn, history.Options{MaxBytes: 1 << 60, Logger: slog.New(slog.NewTextHandler(said, nil))})
	if err == nil || !strings.Contains(err.Error(), "storage") || ctx.Err() == nil {
		t.Errorf("%v, and the time is over: %v", err, ctx.Err())
	}
	if !said.has("-store-bytes") {
		t.Errorf("no hint in %s", said.text.String())
	}
}
