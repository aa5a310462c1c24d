package main

import (
	"net"

	"github.com/libnet-go/libnet"
)

// libnetEventEcho has no goroutine a session.
func libnetEventEcho(before func([]byte)) (net.Addr, error) {
	return startLibnet(frames(), queued, func(srv *libnet.Server) error {
		return srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
			if before != nil {
				before(msg)
			}
			s.Send(msg)
		}))
	})
}

func libnetEventBroadcast() (net.Addr, error) {
	return startLibnet(frames(), queued, func(srv *libnet.Server) error {
		return srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { pass(srv, s, msg) }))
	})
}
