//go:build unix

package sockets

import (
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/libnet-go/libnet/internal/readbuf"
	"github.com/libnet-go/libnet/internal/sysmon"
)

// A Descriptor is the descriptor of a TCP or Unix conn. Reading and writing it without the conn's own
// waiting lets a session hold no storage while its peer is silent, and lets a writer go on when a peer
// does not read. The descriptor is only touched while the conn keeps it from being closed and its
// number from being given away.
type Descriptor struct {
	raw   syscall.RawConn
	layer *Secured // nil where the bytes that a session reads and writes are the descriptor's own
}

// Of returns the descriptor of conn. It returns nil for a conn whose own Read and Write must be used: a wrapper may
// embed a *net.TCPConn and yet mean something else by them.
func Of(conn net.Conn) *Descriptor {
	var sc syscall.Conn
	switch c := conn.(type) {
	case *Secured:
		return &c.sock
	case *net.TCPConn:
		sc = c
	case *net.UnixConn:
		sc = c
	case interface {
		syscall.Conn
		ownDescriptor()
	}:
		sc = c
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return &Descriptor{raw: raw}
}

// Raw returns the descriptor's handle.
func (d *Descriptor) Raw() syscall.RawConn { return d.raw }

// A readCall is the argument and the result of the function that syscall.RawConn calls back to read.
// Binding that function once and keeping both in a pool makes a read free of allocations. A receiver that
// waits holds one, so there is no more in it than a read needs.
type readCall struct {
	in    *readbuf.Buffer
	n     int
	err   error
	wait  bool // let the poller wait when there is nothing to read
	phase readPhase
	usual readbuf.ReadSize

	try func(fd uintptr) bool
}

// A readPhase is how far a read that may wait has come. When it is called back for the second time it leaves package
// net's calls once, so that storage for what has arrived is looked for above them: to make a chunk takes as much of a
// stack as all that lies below, and what its stack has once grown to a session keeps. Only once, since a second call
// need not mean that there is something: a [Detached] tries twice before it waits.
type readPhase uint8

const (
	readBegins readPhase = iota
	readWaits
	readLeaves
	readStays
)

var readCalls = sync.Pool{New: func() any {
	c := new(readCall)
	c.try = c.tryRead
	return c
}}

// Read waits until there is something to read and reads once. It shrinks in while it waits. usual is
// that of Space.
func (d *Descriptor) Read(in *readbuf.Buffer, usual readbuf.ReadSize) (int, error) {
	n, err := d.readOnce(in, usual, true)
	sysmon.AfterWait()
	return n, err
}

// ReadReady reads once if there is something to read; n == 0 without an error says that there is not.
func (d *Descriptor) ReadReady(in *readbuf.Buffer, usual readbuf.ReadSize) (int, error) {
	return d.readOnce(in, usual, false)
}

func (d *Descriptor) readOnce(in *readbuf.Buffer, usual readbuf.ReadSize, wait bool) (int, error) {
	if d.layer != nil {
		return d.layer.readInto(in, usual, wait)
	}
	c := readCalls.Get().(*readCall)
	c.in, c.usual, c.wait, c.n, c.phase = in, usual, wait, 0, readBegins
	in.Space(usual)
	err := d.raw.Read(c.try)
	if err == nil && c.phase == readLeaves {
		in.Space(usual)
		c.phase = readStays
		err = d.raw.Read(c.try)
	}
	n := c.n
	if err == nil {
		err = c.err
	}
	c.in, c.err = nil, nil
	readCalls.Put(c)
	return n, err
}

// tryRead is the body of Read: false says that the poller should wait.
func (c *readCall) tryRead(fd uintptr) bool {
	if c.phase == readWaits {
		c.phase = readLeaves
		return true
	}
	p := c.in.Space(c.usual)
	for {
		n, err := receiveNow(int(fd), p)
		switch {
		case n > 0:
			raceReceive(int(fd), p[:n])
			c.n = n
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			c.in.Shrink()
			if c.phase == readBegins && c.wait {
				c.phase = readWaits
			}
			return !c.wait
		case err != nil:
			c.err = err
		default:
			raceReceive(int(fd), nil)
			c.err = io.EOF
		}
		return true
	}
}

// A writeCall is to a write what a readCall is to a read.
type writeCall struct {
	out []byte
	n   int
	err error

	try func(fd uintptr) bool
}

var writeCalls = sync.Pool{New: func() any {
	c := new(writeCall)
	c.try = c.tryWrite
	return c
}}

// Write writes what the kernel takes at once. n < len(p) without an error says that it is full.
func (d *Descriptor) Write(p []byte) (int, error) {
	if d.layer != nil {
		return d.layer.writeReady(p)
	}
	c := writeCalls.Get().(*writeCall)
	c.out, c.n = p, 0
	err := d.raw.Write(c.try)
	n := c.n
	if err == nil {
		err = c.err
	}
	c.out, c.err = nil, nil
	writeCalls.Put(c)
	return n, err
}

// tryWrite is the body of Write. It never asks the poller to wait.
func (c *writeCall) tryWrite(fd uintptr) bool {
	for c.n < len(c.out) {
		raceSend(c.out[c.n:])
		n, err := sendNow(int(fd), c.out[c.n:])
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return true
		case err != nil:
			c.err = err
			return true
		default:
			c.n += n
		}
	}
	return true
}

// CloseWaits reports whether closing the conn may wait: for its peer, because somebody has set SO_LINGER, or for a Rand
// of the user's, which a last record asks.
func (d *Descriptor) CloseWaits() bool {
	if d.asksRand() {
		return true
	}
	lingers := 0
	_ = d.raw.Control(func(fd uintptr) {
		lingers, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER) // the first field of struct linger
	})
	return lingers != 0
}

// unblock gives a descriptor its non-blocking mode back, which belongs to all its duplicates: os.File.Fd takes it away
// from all of them. A read or write of package net would then wait in the kernel, where neither a deadline nor Close
// reaches it.
func unblock(fd uintptr) { _ = syscall.SetNonblock(int(fd), true) }

// Unblock is for who is about to wait in a call of the conn's.
func (d *Descriptor) Unblock() { _ = d.raw.Control(unblock) }

// Broken reports whether nothing can be written any more: the peer has reset the connection. Only a stream is asked: an
// empty write of anything else would send an empty message.
func Broken(raw syscall.RawConn) (is bool) {
	if raw == nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		if kind, _ := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TYPE); kind == syscall.SOCK_STREAM {
			_, err := syscall.SendmsgN(int(fd), nil, nil, nil, syscall.MSG_DONTWAIT)
			is = err == syscall.EPIPE
		}
	})
	return is
}

// HasInput reports whether something lies in the receive buffer. It does not take it.
func HasInput(raw syscall.RawConn) (pending bool) {
	if raw == nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		pending = err == nil && n > 0
	})
	return pending
}
