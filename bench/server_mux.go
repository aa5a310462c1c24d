package main

import (
	"context"
	"net"
	"slices"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/mux"
)

// In package mux's rows each message is a call: two bytes of its compact envelope, and the payload.

const (
	muxKind = 1
	muxID   = 5 // of all calls: a server does not keep them
)

// appendMuxFrame appends what is sent for a payload, or comes back for it.
func appendMuxFrame(dst, payload []byte, role mux.Role) []byte {
	const roleBits = 2
	dst = appendLength(dst, 2+len(payload))
	return append(append(dst, muxKind, muxID<<roleBits|byte(role)), payload...)
}

// muxBody is a message whose bytes are its payload.
type muxBody []byte

func (b muxBody) AppendBinary(dst []byte) ([]byte, error) { return append(dst, b...), nil }

func (b *muxBody) UnmarshalBinary(data []byte) error {
	*b = slices.Clone(data)
	return nil
}

// muxEcho replies to each call with what it was given.
func muxEcho(serve func(*libnet.Server, *mux.Mux) error) func(func([]byte)) (net.Addr, error) {
	return func(before func([]byte)) (net.Addr, error) {
		m := mux.New(mux.Binary(mux.BinaryBody))
		mux.Handle(m, mux.Number(muxKind), func(_ context.Context, _ *libnet.Session, call *muxBody) (*muxBody, error) {
			if before != nil {
				before(*call)
			}
			return call, nil
		})
		return startLibnet(codec.New(codec.Uint16BE, m), queued, func(srv *libnet.Server) error { return serve(srv, m) })
	}
}

func serveMux(srv *libnet.Server, m *mux.Mux) error       { return srv.Serve(m) }
func serveMuxEvents(srv *libnet.Server, m *mux.Mux) error { return srv.ServeMessages(m) }
