package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"slices"
)

// netEcho is what every ratio is to: the server that one writes by hand in thirty lines.
func netEcho(before func([]byte)) (net.Addr, error) { return accept(echoByHand(before)) }

// netTLSEcho is the same on crypto/tls's listener.
func netTLSEcho(before func([]byte)) (net.Addr, error) {
	return acceptOn(listenTLS, echoByHand(before))
}

func echoByHand(before func([]byte)) func(net.Conn) {
	return func(conn net.Conn) {
		in := bufio.NewReader(conn)
		var frame []byte
		for {
			var err error
			if frame, err = readFrame(in, frame); err != nil {
				return
			}
			if before != nil {
				before(frame[2:])
			}
			if _, err = conn.Write(frame); err != nil {
				return
			}
		}
	}
}

// netBatchedEcho writes only when the next read would go to the kernel.
func netBatchedEcho(before func([]byte)) (net.Addr, error) {
	return accept(func(conn net.Conn) {
		in, out := bufio.NewReader(conn), bufio.NewWriter(conn)
		var frame []byte
		for {
			var err error
			if frame, err = readFrame(in, frame); err != nil {
				return
			}
			if before != nil {
				before(frame[2:])
			}
			if _, err = out.Write(frame); err != nil {
				return
			}
			if in.Buffered() == 0 {
				if err = out.Flush(); err != nil {
					return
				}
			}
		}
	})
}

// readFrame reads one frame, header and all, into buf, which grows where it must.
func readFrame(in io.Reader, buf []byte) ([]byte, error) {
	buf = slices.Grow(buf[:0], 2)[:2]
	if _, err := io.ReadFull(in, buf); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(buf))
	buf = slices.Grow(buf, n)[:2+n]
	_, err := io.ReadFull(in, buf[2:])
	return buf, err
}
