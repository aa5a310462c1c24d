package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// gnet: a loop a processor, each locked to its thread, as its authors' own benchmark has it. gnet keeps what of a frame
// has come, and all replies to what a read brought leave in one Write, as in its example of a protocol.

func gnetEcho(before func([]byte)) (net.Addr, error) {
	return startGnet(&gnetServer{handle: replyToEach(before)})
}

// gnetBroadcast has each loop write to its own connections, so that neither they nor the list of them need a lock.
func gnetBroadcast() (net.Addr, error) {
	return startGnet(&gnetServer{handle: passToAll, members: map[gnet.EventLoop]map[gnet.Conn]struct{}{}})
}

type gnetServer struct {
	gnet.BuiltinEventEngine
	handle  frameHandler
	address chan net.Addr

	mu      sync.RWMutex                              // guards the outer map
	members map[gnet.EventLoop]map[gnet.Conn]struct{} // nil in an echo server; each inner map is its loop's
}

func startGnet(s *gnetServer) (net.Addr, error) {
	s.address = make(chan net.Addr, 1)
	failed := make(chan error, 1)
	go func() {
		failed <- gnet.Run(s, "tcp://127.0.0.1:0", gnet.WithMulticore(true), gnet.WithLockOSThread(true),
			gnet.WithEdgeTriggeredIO(true), gnet.WithReadBufferCap(peerReadBuffer))
	}()
	select {
	case address := <-s.address:
		return address, nil
	case err := <-failed:
		return nil, fmt.Errorf("gnet: %w", err)
	}
}

// OnBoot finds the port: gnet tells only the descriptor.
func (s *gnetServer) OnBoot(engine gnet.Engine) gnet.Action {
	fd, err := engine.Dup()
	if err != nil {
		return gnet.Shutdown
	}
	defer unix.Close(fd)
	address, err := unix.Getsockname(fd)
	if err != nil {
		return gnet.Shutdown
	}
	s.address <- &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: address.(*unix.SockaddrInet4).Port}
	return gnet.None
}

func (s *gnetServer) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	if s.members != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		loop := c.EventLoop()
		if s.members[loop] == nil {
			s.members[loop] = map[gnet.Conn]struct{}{}
		}
		s.members[loop][c] = struct{}{}
	}
	return nil, gnet.None
}

func (s *gnetServer) OnClose(c gnet.Conn, _ error) gnet.Action {
	if s.members != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.members[c.EventLoop()], c)
	}
	return gnet.None
}

func (s *gnetServer) OnTraffic(c gnet.Conn) gnet.Action {
	if !holdsFrame(c) {
		return gnet.None
	}
	in, err := c.Peek(-1)
	if err != nil {
		return gnet.Close
	}
	out := newOutgoing()
	defer out.free()
	taken := s.handle(out, in)
	if len(out.reply) > 0 {
		c.Write(out.reply)
	}
	if len(out.all) > 0 {
		s.broadcast(c.EventLoop(), out.all)
	}
	c.Discard(taken)
	return gnet.None
}

// holdsFrame spares the copy by which gnet joins what came in several reads, until there is something to take.
func holdsFrame(c gnet.Conn) bool {
	head, err := c.Peek(2)
	return err == nil && c.InboundBuffered() >= 2+int(binary.BigEndian.Uint16(head))
}

// broadcast is called on one of the loops; the others are told once each, and not once a connection.
func (s *gnetServer) broadcast(own gnet.EventLoop, frames []byte) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	kept := slices.Clone(frames)
	for loop := range s.members {
		if loop != own {
			loop.Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
				s.writeAll(loop, kept)
				return nil
			}))
		}
	}
	writeEach(s.members[own], kept)
}

// writeAll is called on the loop.
func (s *gnetServer) writeAll(loop gnet.EventLoop, frames []byte) {
	s.mu.RLock()
	members := s.members[loop]
	s.mu.RUnlock()
	writeEach(members, frames)
}

func writeEach(members map[gnet.Conn]struct{}, frames []byte) {
	for c := range members {
		c.Write(frames)
	}
}
