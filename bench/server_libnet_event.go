package main

import (
	"net"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/ws"
)

// libnetEventEcho has no goroutine a session.
func libnetEventEcho(protocol libnet.Protocol, set ...setting) func(func([]byte)) (net.Addr, error) {
	return func(before func([]byte)) (net.Addr, error) {
		return startLibnetEvent(protocol, func(_ *libnet.Server, s *libnet.Session, msg []byte) {
			if before != nil {
				before(msg)
			}
			s.Send(msg)
		}, set...)
	}
}

// libnetEventIntoEcho sends an address that the session has kept since it began: to put a slice into Send's
// any, Go allocates 24 bytes.
func libnetEventIntoEcho(before func([]byte)) (net.Addr, error) {
	return startLibnet(frames(), queued, func(srv *libnet.Server) error {
		srv.OnSession = func(s *libnet.Session) error {
			s.State = new([]byte)
			return nil
		}
		return srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
			if before != nil {
				before(msg)
			}
			reply := s.State.(*[]byte)
			*reply = msg
			s.Send(reply)
			*reply = nil // msg is the session's again when the handler returns
		}))
	})
}

func libnetEventBroadcast(protocol libnet.Protocol, set ...setting) func() (net.Addr, error) {
	return func() (net.Addr, error) { return startLibnetEvent(protocol, pass, set...) }
}

func webSockets() libnet.Protocol { return ws.Protocol(frames(), nil) }

func startLibnetEvent(protocol libnet.Protocol, handle func(*libnet.Server, *libnet.Session, []byte), set ...setting) (net.Addr, error) {
	return startLibnet(protocol, queued, func(srv *libnet.Server) error {
		return srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { handle(srv, s, msg) }))
	}, set...)
}
