package main

import (
	"net"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// queued is the send queue of all libnet servers but the synchronous one.
const queued = 1024

// A setting changes a server before it serves.
type setting func(*libnet.Server) error

func withTLS(srv *libnet.Server) (err error) {
	srv.TLSConfig, err = serverTLS()
	return err
}

// startLibnet listens and leaves the rest to serve.
func startLibnet(protocol libnet.Protocol, sendQueue int, serve func(*libnet.Server) error, set ...setting) (net.Addr, error) {
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", protocol, sendQueue)
	if err != nil {
		return nil, err
	}
	for _, f := range set {
		if err := f(srv); err != nil {
			return nil, err
		}
	}
	go serve(srv)
	return srv.Listener().Addr(), nil
}

// libnetEcho is the loop that the seed's users write: Receive, Send.
func libnetEcho(protocol libnet.Protocol, sendQueue int, set ...setting) func(func([]byte)) (net.Addr, error) {
	return func(before func([]byte)) (net.Addr, error) {
		return startLibnet(protocol, sendQueue, func(srv *libnet.Server) error {
			return srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) { receiveAndSend(s, before) }))
		}, set...)
	}
}

func receiveAndSend(s *libnet.Session, before func([]byte)) {
	for {
		msg, err := s.Receive()
		if err != nil {
			return
		}
		if before != nil {
			before(msg)
		}
		if s.Send(msg) != nil {
			return
		}
	}
}

// libnetIntoEcho receives into one buffer and sends its address, so that neither allocates.
func libnetIntoEcho(before func([]byte)) (net.Addr, error) {
	return startLibnet(frames(), queued, func(srv *libnet.Server) error {
		return srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) { receiveIntoAndSend(s, before) }))
	})
}

func receiveIntoAndSend(s *libnet.Session, before func([]byte)) {
	var buf []byte
	for {
		var err error
		if buf, err = s.ReceiveInto(buf); err != nil {
			return
		}
		if before != nil {
			before(buf)
		}
		if s.Send(&buf) != nil {
			return
		}
	}
}

func libnetBroadcast(protocol libnet.Protocol) func() (net.Addr, error) {
	return func() (net.Addr, error) {
		return startLibnet(protocol, queued, func(srv *libnet.Server) error {
			return srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) { receiveAndPass(srv, s) }))
		})
	}
}

func receiveAndPass(srv *libnet.Server, s *libnet.Session) {
	for {
		msg, err := s.Receive()
		if err != nil {
			return
		}
		pass(srv, s, msg)
	}
}

// pass lets a full queue lose its message, as the other servers with queues do.
func pass(srv *libnet.Server, s *libnet.Session, msg []byte) {
	if wantsReply(msg) {
		s.Send(msg)
	} else {
		srv.Manager().Broadcast(msg)
	}
}

func frames() libnet.Protocol { return codec.New(codec.Uint16BE, codec.Bytes) }
