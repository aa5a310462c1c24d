package testkit

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// A Log is a slog.Handler that keeps the lines.
type Log struct {
	mu    sync.Mutex // guards the following
	lines []string
}

func (l *Log) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l *Log) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *Log) WithGroup(string) slog.Handler                    { return l }

func (l *Log) Handle(ctx context.Context, record slog.Record) error {
	var text strings.Builder
	if err := slog.NewTextHandler(&text, nil).Handle(ctx, record); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, text.String())
	return nil
}

// With returns the lines that contain text.
func (l *Log) With(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// Len is how many lines there are.
func (l *Log) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

// Since returns the lines behind the first n.
func (l *Log) Since(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines[n:])
}
