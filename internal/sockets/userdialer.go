package sockets

import (
	"context"
	"errors"
	"net"
	"syscall"

	"github.com/libnet-go/libnet/internal/usercode"
)

var errDialEnded = errors.New("libnet: a function of the NetDialer ended its goroutine")

// GuardDialer returns a dialer whose functions, which are the user's, may do anything: package net, and net/http, call
// them on goroutines of their own, where a panic ends the process. caught makes the error of one. A dialer that has
// none is returned as it is.
func GuardDialer(d *net.Dialer, caught func(value any) error) *net.Dialer {
	resolves := d.Resolver != nil && d.Resolver.Dial != nil
	if d.Control == nil && d.ControlContext == nil && !resolves {
		return d
	}
	guarded := *d
	if d.Control != nil || d.ControlContext != nil {
		guarded.Control = nil
		guarded.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
			_, err := apart(ctx, caught, func(struct{}) {}, func() (struct{}, error) {
				return struct{}{}, control(ctx, d, network, address, c)
			})
			return err
		}
	}
	if resolves {
		r := d.Resolver
		guarded.Resolver = &net.Resolver{PreferGo: r.PreferGo, StrictErrors: r.StrictErrors}
		guarded.Resolver.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := apart(ctx, caught, closeLate, func() (net.Conn, error) { return r.Dial(ctx, network, address) })
			if err != nil {
				return nil, lookupErr(err)
			}
			return guardLookup(conn, caught)
		}
	}
	return &guarded
}

// control calls the one of the two that package net would. What its error says is asked here, where ctx bounds that: it
// goes into the texts of others' errors.
func control(ctx context.Context, d *net.Dialer, network, address string, c syscall.RawConn) (err error) {
	if d.ControlContext != nil {
		err = d.ControlContext(ctx, network, address, c)
	} else {
		err = d.Control(network, address, c)
	}
	if err != nil {
		err = usercode.Asked(err)
	}
	return err
}

// apart calls f on a goroutine of its own, which it may end, or keep beyond ctx. What comes of it then is dropped.
func apart[T any](ctx context.Context, caught func(value any) error, drop func(T), f func() (T, error)) (T, error) {
	type outcome struct {
		v   T
		err error
	}
	result := make(chan outcome)
	go func() {
		o := outcome{err: errDialEnded}
		defer func() {
			if r := recover(); r != nil {
				o.err = caught(r)
			}
			select {
			case result <- o:
			case <-ctx.Done():
				drop(o.v)
			}
		}()
		o.v, o.err = f()
	}()
	select {
	case o := <-result:
		return o.v, o.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// closeLate closes a conn that came too late.
func closeLate(conn net.Conn) {
	defer func() { _ = recover() }() // it is the user's
	if conn != nil {
		_ = conn.Close()
	}
}
