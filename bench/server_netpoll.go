package main

import (
	"context"
	"encoding/binary"
	"net"

	"github.com/cloudwego/netpoll"
)

// netpollEcho follows its authors' guide: a handler blocks in Next for a frame that is not yet
// whole, reads lie in the connection's own buffer until Release, and one Flush writes all replies.
func netpollEcho(before func([]byte)) (net.Addr, error) {
	l, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	loop, err := netpoll.NewEventLoop(func(_ context.Context, conn netpoll.Connection) error {
		in, out := conn.Reader(), conn.Writer()
		for in.Len() > 0 {
			head, err := in.Peek(2)
			if err != nil {
				return err
			}
			frame, err := in.Next(2 + int(binary.BigEndian.Uint16(head)))
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
	if err != nil {
		return nil, err
	}
	go loop.Serve(l)
	return l.Addr(), nil
}
