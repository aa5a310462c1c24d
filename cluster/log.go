package cluster

import (
	"context"
	"log/slog"
)

// A carefulHandler is a handler of the user's whose panics end nothing: most lines are written on goroutines of the node's,
// or of the NATS client's, where one would end the process.
type carefulHandler struct{ user slog.Handler }

func careful(l *slog.Logger) *slog.Logger { return slog.New(carefulHandler{l.Handler()}) }

func (h carefulHandler) Enabled(ctx context.Context, level slog.Level) bool {
	defer func() { _ = recover() }()
	return h.user.Enabled(ctx, level)
}

func (h carefulHandler) Handle(ctx context.Context, r slog.Record) error {
	defer func() { _ = recover() }()
	return h.user.Handle(ctx, r)
}

func (h carefulHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return carefulHandler{h.user.WithAttrs(attrs)}
}

func (h carefulHandler) WithGroup(name string) slog.Handler {
	return carefulHandler{h.user.WithGroup(name)}
}
