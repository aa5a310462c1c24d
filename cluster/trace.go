package cluster

import (
	"context"
	"log/slog"
	"strings"
)

// The keys of W3C Trace Context (https://www.w3.org/TR/trace-context/).
const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
)

// A Trace has calls carry the trace of a tracer, which this package does not know: OpenTelemetry's, for example,
//
//	propagator := propagation.TraceContext{}
//	trace := cluster.Trace{
//		Inject: func(ctx context.Context, h cluster.Header) { propagator.Inject(ctx, propagation.MapCarrier(h)) },
//		Extract: func(ctx context.Context, h cluster.Header) context.Context {
//			return propagator.Extract(ctx, propagation.MapCarrier(h))
//		},
//	}
//
// Without one, a handler's calls carry the traceparent and tracestate that it was called with. Both are called on the
// goroutine of the call or the handler; one that panics is logged, and does without.
type Trace struct {
	// Inject writes the trace of ctx into the header of a call, which already has what the caller was itself called
	// with.
	Inject func(ctx context.Context, h Header)

	// Extract returns a context made of ctx for the handler of a call that came with h. nil is ctx.
	Extract func(ctx context.Context, h Header) context.Context
}

// tracer calls the user's functions.
type tracer struct {
	Trace
	log *slog.Logger
}

func (t *tracer) inject(ctx context.Context, h Header) {
	if t.Inject != nil {
		defer t.recovered("Trace.Inject")
		t.Inject(ctx, h)
	}
}

func (t *tracer) extract(ctx context.Context, h Header) (extracted context.Context) {
	if t.Extract == nil {
		return ctx
	}
	defer func() {
		if extracted == nil {
			extracted = ctx
		} else {
			extracted = usersContext(extracted)
		}
	}()
	defer t.recovered("Trace.Extract")
	return t.Extract(ctx, h)
}

func (t *tracer) recovered(callback string) {
	if value := recover(); value != nil {
		t.log.Error("cluster: a callback panicked", "callback", callback, "panic", textOf(value))
	}
}

// carryTrace has a call carry the trace of the call within which it is made.
func carryTrace(h, received Header) {
	for _, key := range []string{traceparent, tracestate} {
		if value, ok := received[key]; ok {
			h[key] = value
		}
	}
}

// validTraceparent is the check of the specification, 3.2.2: version, trace id, parent id and flags in lower case hex;
// ids that are not zero; and no more than that in version 00.
func validTraceparent(text string) bool {
	const length = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if len(text) < length || len(text) > maxHeader {
		return false
	}
	parts := strings.SplitN(text, "-", 5)
	if len(parts) < 4 || len(parts[0]) != 2 || len(parts[1]) != 32 || len(parts[2]) != 16 || len(parts[3]) != 2 {
		return false
	}
	for _, part := range parts[:4] {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return false
		}
	}
	return parts[0] != "ff" && (parts[0] != "00" || len(text) == length) &&
		strings.Trim(parts[1], "0") != "" && strings.Trim(parts[2], "0") != ""
}
