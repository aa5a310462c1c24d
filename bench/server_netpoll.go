package main

import (
	"context"
	"encoding/binary"
	"net"
	"sync"

	"github.com/cloudwego/netpoll"
)

// netpollEcho follows its authors' guide: a handler blocks in Next for a frame that is not yet
// whole, reads lie in the connection's own buffer until Release, and one Flush writes all replies.
func netpollEcho(before func([]byte)) (net.Addr, error) {
	return startNetpoll(func(_ context.Context, conn netpoll.Connection) error {
		in, out := conn.Reader(), conn.Writer()
		for in.Len() > 0 {
			frame, err := nextFrame(in)
			if err != nil {
				return err
			}
			if before != nil {
				before(frame[2:])
			}
			if _, err = out.WriteBinary(frame); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		return in.Release()
	})
}

func nextFrame(in netpoll.Reader) ([]byte, error) {
	head, err := in.Peek(2)
	if err != nil {
		return nil, err
	}
	return in.Next(2 + int(binary.BigEndian.Uint16(head)))
}

// netpollBroadcast is the hub by hand, with netpoll's connections for members.
func netpollBroadcast() (net.Addr, error) {
	h := hub{members: map[member]struct{}{}}
	return startNetpoll(
		func(ctx context.Context, conn netpoll.Connection) error {
			in, out := conn.Reader(), newOutgoing()
			defer out.free()
			for in.Len() > 0 {
				frame, err := nextFrame(in)
				if err != nil {
					return err
				}
				passToAll(out, frame)
			}
			if len(out.reply) > 0 {
				ctx.Value(memberKey{}).(*netpollMember).send(out.reply)
			}
			if len(out.all) > 0 {
				h.broadcast(out.all)
			}
			return in.Release()
		},
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			m := &netpollMember{out: conn.Writer()}
			h.add(m)
			conn.AddCloseCallback(func(netpoll.Connection) error {
				h.remove(m)
				return nil
			})
			return context.WithValue(ctx, memberKey{}, m)
		}),
	)
}

// memberKey finds a connection's member in the context of its handler.
type memberKey struct{}

type netpollMember struct {
	mu  sync.Mutex // guards out
	out netpoll.Writer
}

func (m *netpollMember) send(frames []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out.WriteBinary(frames)
	m.out.Flush() // waits until the kernel has all of it: netpoll may have kept a reference to the frames until then
}

func (m *netpollMember) leave() {}

func startNetpoll(handle netpoll.OnRequest, set ...netpoll.Option) (net.Addr, error) {
	l, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	loop, err := netpoll.NewEventLoop(handle, set...)
	if err != nil {
		return nil, err
	}
	go loop.Serve(l)
	return l.Addr(), nil
}
