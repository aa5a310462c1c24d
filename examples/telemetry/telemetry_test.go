package main

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// observed has the example's client ask its server, and returns what OpenTelemetry was told.
func observed(t *testing.T) (spans map[string]sdktrace.ReadOnlySpan, metrics map[string]metricdata.Aggregation) {
	t.Helper()
	ctx := context.Background()
	recorder, reader := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	if err := serve(ctx, tracers, meters); err != nil {
		t.Fatal(err)
	}
	spans, metrics = map[string]sdktrace.ReadOnlySpan{}, map[string]metricdata.Aggregation{}
	for _, span := range recorder.Ended() {
		name := span.Name()
		if name == "order" { // two of them: told apart by who asked
			name += " of " + span.Parent().SpanID().String()
		}
		spans[name] = span
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &data); err != nil {
		t.Fatal(err)
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			metrics[m.Name] = m.Data
		}
	}
	return spans, metrics
}

func TestAMessagesSpanLiesUnderThatOfWhoSentItAndAboveTheHandlers(t *testing.T) {
	spans, _ := observed(t)
	for item, status := range map[string]codes.Code{"lamp": codes.Unset, "moon": codes.Error} {
		buy := spans["buy a "+item]
		if buy == nil {
			t.Fatalf("no span of the client's: %v", spans)
		}
		order := spans["order of "+buy.SpanContext().SpanID().String()]
		if order == nil || order.SpanContext().TraceID() != buy.SpanContext().TraceID() || !order.Parent().IsRemote() {
			t.Fatalf("the message's span is not under the client's: %v", spans)
		}
		look := spans["look for "+item]
		if look == nil || look.Parent().SpanID() != order.SpanContext().SpanID() {
			t.Errorf("the handler's span is not under the message's: %v", look)
		}
		if order.Status().Code != status || buy.Status().Code != status {
			t.Errorf("%s: the server's span says %v, the client's %v", item, order.Status(), buy.Status())
		}
	}
}

func TestAServersCountersAreMetrics(t *testing.T) {
	_, metrics := observed(t)
	shop := attribute.String("server", "shop")
	for _, want := range []struct {
		name  string
		value int64
		of    attribute.Set
	}{
		{"libnet.sessions.open", 0, attribute.NewSet(shop)},
		{"libnet.sessions.accepted", 1, attribute.NewSet(shop)},
		{"libnet.connections.refused", 0, attribute.NewSet(shop)},
		{"libnet.messages", 2, attribute.NewSet(shop, attribute.String("direction", "in"))},
		{"libnet.messages", 2, attribute.NewSet(shop, attribute.String("direction", "out"))},
	} {
		sum, ok := metrics[want.name].(metricdata.Sum[int64])
		if !ok {
			t.Errorf("%s is %T", want.name, metrics[want.name])
			continue
		}
		found := false
		for _, point := range sum.DataPoints {
			if point.Attributes.Equals(&want.of) {
				found = true
				if point.Value != want.value {
					t.Errorf("%s of %v is %d, want %d", want.name, want.of.Encoded(attribute.DefaultEncoder()), point.Value, want.value)
				}
			}
		}
		if !found {
			t.Errorf("%s has no %v", want.name, want.of.Encoded(attribute.DefaultEncoder()))
		}
	}
	handling, ok := metrics["libnet.handler.duration"].(metricdata.Histogram[float64])
	if !ok || len(handling.DataPoints) != 1 || handling.DataPoints[0].Count != 2 {
		t.Errorf("handlers' time: %+v", metrics["libnet.handler.duration"])
	}
}

func TestTheProgramEndsByItself(t *testing.T) {
	var out counting
	if err := run(t.Context(), &out); err != nil || out == 0 {
		t.Errorf("%v, after %d bytes", err, out)
	}
}

type counting int

func (c *counting) Write(p []byte) (int, error) { *c += counting(len(p)); return len(p), nil }
