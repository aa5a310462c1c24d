package main

import (
	"net"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/ws"
)

// libnetEventEcho has no goroutine a session.
func libnetEventEcho(before func([]byte)) (net.Addr, error) { return eventEcho(frames(), before) }

func libnetWebSocketEcho(before func([]byte)) (net.Addr, error) {
	return eventEcho(webSockets(), before)
}

func eventEcho(protocol libnet.Protocol, before func([]byte)) (net.Addr, error) {
	return startLibnetEvent(protocol, func(_ *libnet.Server, s *libnet.Session, msg []byte) {
		if before != nil {
			before(msg)
		}
		s.Send(msg)
	})
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

func libnetEventBroadcast() (net.Addr, error) { return startLibnetEvent(frames(), pass) }

func libnetWebSocketBroadcast() (net.Addr, error) { return startLibnetEvent(webSockets(), pass) }

func webSockets() libnet.Protocol { return ws.Protocol(frames(), nil) }

func startLibnetEvent(protocol libnet.Protocol, handle func(*libnet.Server, *libnet.Session, []byte)) (net.Addr, error) {
	return startLibnet(protocol, queued, func(srv *libnet.Server) error {
		return srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { handle(srv, s, msg) }))
	})
}
