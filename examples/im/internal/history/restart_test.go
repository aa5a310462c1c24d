package history_test

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

func TestWhatWasStoredOutlivesTheServer(t *testing.T) {
	t.Parallel()
	h, server, _ := open(t, history.Options{Timeout: 300 * time.Millisecond})
	m := history.Message{ID: 1, Source: 1, Target: 2, ClientID: "a", Text: "hello"}
	first := store(t, h, m)
	server.Stop()
	began := time.Now()
	if _, err := h.Store(t.Context(), history.Message{ID: 2, Source: 1, Target: 2, Text: "lost"}); err == nil {
		t.Error("stored without a server")
	}
	if _, err := h.Read(t.Context(), history.Query{User: 2}); err == nil {
		t.Error("read without a server")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the two took %v, with a timeout of 300 ms", took)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		page, err := h.Read(ctx, history.Query{User: 2})
		if err == nil {
			if len(page.Records) != 1 || page.Records[0].Msg != "hello" {
				t.Errorf("read %v", page.Records)
			}
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	if again := store(t, h, m); again != first {
		t.Errorf("repeated after the restart: version %d, want %d", again, first)
	}
}

func TestANATSThatComesBackWithoutItsFilesIsStoredInAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := imtest.StartNATS(t, dir)
	h, _ := openOn(t, server, history.Options{Timeout: 300 * time.Millisecond})
	store(t, h, history.Message{ID: 1, Source: 1, Target: 2, Text: "lost"})
	store(t, h, history.Message{ID: 2, Source: 1, Target: 2, Text: "lost, too"})
	server.Stop()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m := history.Message{ID: 3, Source: 1, Target: 2, ClientID: "a", Text: "new"}
	for {
		if _, err := h.Store(ctx, m); err == nil {
			break
		} else if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Join(ctx, 2, 9, 0); err != nil {
		t.Errorf("join: %v", err)
	}
	if groups, err := h.Groups(ctx, 2); err != nil || len(groups) != 1 {
		t.Errorf("groups %v, %v", groups, err)
	}
	if texts, _, end := readAll(t, h, history.Query{User: 2}); !slices.Equal(texts, []string{"new"}) || end != 1 {
		t.Errorf("read %q up to %d", texts, end)
	}
}
