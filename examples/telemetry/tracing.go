package main

import (
	"context"
	"encoding/json"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/libnet-go/libnet/mux"
)

// A Carrier is a part of each message that is to be traced across the connection: libnet's messages have no headers.
// Its fields are those of W3C's Trace Context.
type Carrier struct {
	Traceparent string `json:"traceparent,omitempty"`
	Tracestate  string `json:"tracestate,omitempty"`
}

// carry returns what the other end has to know of the span of ctx.
func carry(ctx context.Context) Carrier {
	values := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, values)
	return Carrier{values["traceparent"], values["tracestate"]}
}

// under returns a context whose spans lie under the one that c tells of, if it tells of one.
func (c Carrier) under(ctx context.Context) context.Context {
	values := propagation.MapCarrier{"traceparent": c.Traceparent, "tracestate": c.Tracestate}
	return propagation.TraceContext{}.Extract(ctx, values)
}

// traced gives each message a span of that name, under the span of whoever sent it.
func traced(tracer trace.Tracer, name string) mux.Middleware {
	return func(next mux.Handler) mux.Handler {
		return func(ctx context.Context, r mux.Request) (any, error) {
			var c Carrier
			_ = json.Unmarshal(r.Body, &c) // a body that is no such thing tells of no span, and is the handler's to refuse
			ctx, span := tracer.Start(c.under(ctx), name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
				attribute.String("network.peer.address", r.Session.RemoteAddr().String()),
				attribute.String("session.id", strconv.FormatUint(r.Session.ID(), 10)),
				attribute.Int("messaging.message.body.size", len(r.Body)),
			))
			defer span.End()
			reply, err := next(ctx, r)
			noteError(span, err)
			return reply, err
		}
	}
}

func noteError(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
}
