package main

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/mux"
)

// instruments are the metrics of servers. A server counts by itself, and is asked when somebody collects: a message
// costs nothing more.
type instruments struct {
	meter                             metric.Meter
	open                              metric.Int64ObservableUpDownCounter
	accepted, refused, closed         metric.Int64ObservableCounter
	messages, bytes, blocked, dropped metric.Int64ObservableCounter
	handling                          metric.Float64Histogram
}

func newInstruments(meter metric.Meter) (*instruments, error) {
	i := &instruments{meter: meter}
	var err error
	counter := func(name, unit, what string) metric.Int64ObservableCounter {
		c, e := meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
		if e != nil {
			err = e
		}
		return c
	}
	i.accepted = counter("libnet.sessions.accepted", "{session}", "Sessions that were made.")
	i.refused = counter("libnet.connections.refused", "{connection}", "Connections that became no session.")
	i.closed = counter("libnet.sessions.closed", "{session}", "Sessions that have ended, by reason.")
	i.messages = counter("libnet.messages", "{message}", "Messages, by direction.")
	i.bytes = counter("libnet.io", "By", "Bytes, by direction.")
	i.blocked = counter("libnet.messages.blocked", "{message}", "Messages refused because a queue was full.")
	i.dropped = counter("libnet.messages.dropped", "{message}", "Messages that made room for newer ones.")
	if err != nil {
		return nil, err
	}
	if i.open, err = meter.Int64ObservableUpDownCounter("libnet.sessions.open", metric.WithUnit("{session}")); err != nil {
		return nil, err
	}
	i.handling, err = meter.Float64Histogram("libnet.handler.duration", metric.WithUnit("s"), metric.WithDescription("How long handlers take, by kind of message."))
	return i, err
}

// observe has a server's counters collected, also after the server's end: they are final then.
func (i *instruments) observe(server *libnet.Server, which ...attribute.KeyValue) error {
	of := func(more ...attribute.KeyValue) metric.ObserveOption {
		return metric.WithAttributes(append(more, which...)...)
	}
	_, err := i.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		stats := server.Stats()
		o.ObserveInt64(i.open, int64(stats.Open), of())
		o.ObserveInt64(i.accepted, int64(stats.Accepted), of())
		o.ObserveInt64(i.refused, int64(stats.Rejected), of())
		o.ObserveInt64(i.blocked, int64(stats.Blocked), of())
		o.ObserveInt64(i.dropped, int64(stats.Dropped), of())
		o.ObserveInt64(i.messages, int64(stats.MessagesIn), of(attribute.String("direction", "in")))
		o.ObserveInt64(i.messages, int64(stats.MessagesOut), of(attribute.String("direction", "out")))
		o.ObserveInt64(i.bytes, int64(stats.BytesIn), of(attribute.String("direction", "in")))
		o.ObserveInt64(i.bytes, int64(stats.BytesOut), of(attribute.String("direction", "out")))
		for reason, n := range stats.Closed {
			o.ObserveInt64(i.closed, int64(n), of(attribute.String("reason", reason)))
		}
		return nil
	}, i.open, i.accepted, i.refused, i.closed, i.messages, i.bytes, i.blocked, i.dropped)
	return err
}

// timed measures the handlers of a kind.
func (i *instruments) timed(kind string) mux.Middleware {
	of := metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", kind)))
	return func(next mux.Handler) mux.Handler {
		return func(ctx context.Context, r mux.Request) (any, error) {
			begin := time.Now()
			defer func() { i.handling.Record(ctx, time.Since(begin).Seconds(), of) }()
			return next(ctx, r)
		}
	}
}
