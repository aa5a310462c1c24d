package glogslog

import (
	"context"
	"flag"
	"log/slog"
	"math"

	"github.com/golang/glog"
)

// Options are what can be set of a handler. The zero value is the default.
type Options struct {
	// Time writes the record's own time as the attribute time, with its year, zone and nanoseconds.
	// Glog's header always has the moment of writing instead, without year and zone.
	Time bool
}

// New returns a handler that writes to glog. A nil opts means the defaults. The handler may be used by
// any goroutine; it returns no errors, as glog reports none.
func New(opts *Options) slog.Handler {
	h := &handler{vmodule: flag.Lookup("vmodule")}
	if opts != nil {
		h.Options = *opts
	}
	return h
}

// handler is immutable: WithAttrs and WithGroup return another.
type handler struct {
	Options
	vmodule *flag.Flag // glog's; nil when somebody has replaced flag.CommandLine
	group   string     // the open groups, each with a dot behind it
	attrs   string     // those of WithAttrs, each with a space before it
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	if level >= slog.LevelInfo {
		return true
	}
	// -v of the levels -1 to -4 is 1, of -5 to -8 it is 2.
	verbosity := glog.Level((3 - int(max(level, -math.MaxInt32/2))) / 4)
	if h.vmodule == nil || h.vmodule.Value.String() == "" {
		return bool(glog.V(verbosity)) // without -vmodule glog looks at no caller
	}
	return bool(glog.VDepth(depthOfSlogCall(), verbosity))
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	depth, onStack := depthOf(r.PC)
	line := appendMessage(make([]byte, 0, 256), r.Message)
	if h.Time && !r.Time.IsZero() {
		line = appendAttr(line, "", slog.Time(slog.TimeKey, r.Time))
	}
	switch r.Level {
	case slog.LevelInfo, slog.LevelWarn, slog.LevelError:
	default:
		line = appendAttr(line, "", slog.String(slog.LevelKey, r.Level.String()))
	}
	if source := r.Source(); source != nil && !onStack {
		line = appendAttr(line, "", slog.String(slog.SourceKey, shortSource(source)))
	}
	line = append(line, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		line = appendAttr(line, h.group, a)
		return true
	})

	switch {
	case r.Level >= slog.LevelError:
		glog.ErrorContextDepthf(ctx, depth, "%s", line)
	case r.Level >= slog.LevelWarn:
		glog.WarningContextDepthf(ctx, depth, "%s", line)
	default:
		glog.InfoContextDepthf(ctx, depth, "%s", line)
	}
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	formatted := []byte(h.attrs)
	for _, a := range attrs {
		formatted = appendAttr(formatted, h.group, a)
	}
	with := *h
	with.attrs = string(formatted)
	return &with
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.group += name + "."
	return &with
}
