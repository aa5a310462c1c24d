package main

import (
	"net"

	"github.com/libnet-go/libnet"
)

// libnetBytesEcho is libnetEcho with SendBytes, which puts the message into no any.
func libnetBytesEcho(before func([]byte)) (net.Addr, error) {
	return startLibnet(frames(), queued, func(srv *libnet.Server) error {
		return srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
			for {
				msg, err := s.Receive()
				if err != nil {
					return
				}
				if before != nil {
					before(msg)
				}
				if s.SendBytes(msg) != nil {
					return
				}
			}
		}))
	})
}

// libnetEventBytesEcho is the same without a goroutine a session.
func libnetEventBytesEcho(before func([]byte)) (net.Addr, error) {
	return startLibnetEvent(frames(), func(_ *libnet.Server, s *libnet.Session, msg []byte) {
		if before != nil {
			before(msg)
		}
		s.SendBytes(msg)
	})
}
