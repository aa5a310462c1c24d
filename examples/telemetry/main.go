// Telemetry shows what OpenTelemetry gets to know of a libnet server: a span a message, under the span of whoever
// asked, and the server's counters as metrics.
//
//	$ go run .                # in examples/telemetry: a server and a client, spans and metrics as JSON on standard output
//
// tracing.go and metrics.go are what a server of yours may take over. Here the exporters write to standard output; with
// those of OTLP, which need no other change, the same goes to a collector.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/mux"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		log.Fatal("telemetry: ", err)
	}
}

// run is the program without its process.
func run(ctx context.Context, stdout io.Writer) error {
	spans, err := stdouttrace.New(stdouttrace.WithWriter(stdout), stdouttrace.WithPrettyPrint())
	if err != nil {
		return err
	}
	counters, err := stdoutmetric.New(stdoutmetric.WithWriter(stdout), stdoutmetric.WithPrettyPrint())
	if err != nil {
		return err
	}
	tracers := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(counters)))
	err = serve(ctx, tracers, meters)
	return errors.Join(err, tracers.Shutdown(ctx), meters.Shutdown(ctx)) // which write what has not been written
}

// Order is what the client asks, and Receipt what the server replies.
type (
	Order struct {
		Carrier
		Item string `json:"item"`
	}
	Receipt struct {
		Number int `json:"number"`
	}
)

// serve has a client ask a server twice.
func serve(ctx context.Context, tracers trace.TracerProvider, meters metric.MeterProvider) error {
	tracer := tracers.Tracer("github.com/libnet-go/libnet/examples/telemetry")
	instruments, err := newInstruments(meters.Meter("github.com/libnet-go/libnet/examples/telemetry"))
	if err != nil {
		return err
	}
	m := mux.New(mux.JSON)
	mux.Handle(m, "order", func(ctx context.Context, s *libnet.Session, order *Order) (*Receipt, error) {
		_, span := tracer.Start(ctx, "look for "+order.Item) // a handler's own spans lie under the message's
		defer span.End()
		if order.Item == "moon" {
			return nil, &mux.Error{Code: 404, Text: "not for sale"}
		}
		return &Receipt{Number: 1}, nil
	}, mux.With(traced(tracer, "order"), instruments.timed("order"))) // names of the program's: a peer's could be without number
	server, err := libnet.Serve("tcp", "127.0.0.1:0", codec.New(codec.Uint32BE, m), 64)
	if err != nil {
		return err
	}
	if err := instruments.observe(server, attribute.String("server", "shop")); err != nil {
		return err
	}
	go server.ServeMessages(m)
	err = buy(ctx, tracer, server.Listener().Addr().String())
	return errors.Join(err, server.Shutdown(ctx))
}

// buy is a client.
func buy(ctx context.Context, tracer trace.Tracer, addr string) error {
	m := mux.New(mux.JSON)
	session, err := libnet.Connect("tcp", addr, codec.New(codec.Uint32BE, m), 64)
	if err != nil {
		return err
	}
	defer session.Close()
	shop := m.Start(session)
	for _, item := range []string{"lamp", "moon"} {
		ctx, span := tracer.Start(ctx, "buy a "+item, trace.WithSpanKind(trace.SpanKindClient))
		receipt, err := mux.Call[Order, Receipt](ctx, shop, "order", &Order{Carrier: carry(ctx), Item: item})
		if err == nil {
			span.SetAttributes(attribute.Int("receipt", receipt.Number))
		}
		noteError(span, err)
		span.End()
	}
	return nil
}
