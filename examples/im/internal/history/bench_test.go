package history_test

import (
	"testing"

	"github.com/libnet-go/libnet/examples/im/internal/history"
)

func BenchmarkStore(b *testing.B) {
	h, _, _ := open(b, history.Options{})
	for i := 0; b.Loop(); i++ {
		store(b, h, history.Message{ID: int64(i + 1), Source: 1, Target: 2, Text: "hello"})
	}
}

func BenchmarkReadOne(b *testing.B) {
	h, _, _ := open(b, history.Options{})
	groups := make(map[int64]int64)
	for g := range int64(3) {
		groups[g+1] = 0
	}
	for i := range 1000 {
		store(b, h, history.Message{ID: int64(i + 1), Source: 1, Target: int64(i%100 + 2), Text: "hello"})
	}
	last := store(b, h, history.Message{ID: 10_000, Source: 1, Target: 2, Text: "hello"})
	for b.Loop() {
		page, err := h.Read(b.Context(), history.Query{User: 2, Groups: groups, After: last - 1})
		if err != nil || len(page.Records) != 1 {
			b.Fatal(page, err)
		}
	}
}

func BenchmarkGroups(b *testing.B) {
	h, _, _ := open(b, history.Options{})
	for g := range 3 {
		if _, err := h.Join(b.Context(), 1, int64(g+1), g); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if groups, err := h.Groups(b.Context(), 1); err != nil || len(groups) != 3 {
			b.Fatal(groups, err)
		}
	}
}
