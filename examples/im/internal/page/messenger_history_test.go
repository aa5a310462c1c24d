package page_test

import (
	"context"
	"errors"
	"sync"

	"github.com/libnet-go/libnet/examples/im/internal/history"
)

// failingHistory is a history that can be told to store nothing for a while. It knows what it was asked to store.
type failingHistory struct {
	*history.History

	// mu guards the following.
	mu      sync.Mutex
	refuses bool
	asked   []history.Message
}

func (h *failingHistory) Store(ctx context.Context, m history.Message) (int64, error) {
	h.mu.Lock()
	h.asked = append(h.asked, m)
	refuses := h.refuses
	h.mu.Unlock()
	if refuses {
		return 0, errors.New("not in the mood")
	}
	return h.History.Store(ctx, m)
}

func (h *failingHistory) refuse(refuses bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuses = refuses
}

// idsOf are the ids under which it was asked to store a text.
func (h *failingHistory) idsOf(text string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for _, m := range h.asked {
		if m.Text == text {
			ids = append(ids, m.ClientID)
		}
	}
	return ids
}
