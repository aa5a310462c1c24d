//go:build unix

package sockets

import (
	"sync"

	"github.com/libnet-go/libnet/internal/readbuf"
)

// A securedRead is to a Secured what a readCall is to a socket.
type securedRead struct {
	conn  *Secured
	in    *readbuf.Buffer
	n     int
	err   error
	held  bool // do not ask the kernel
	wait  bool
	usual readbuf.ReadSize

	try func(fd uintptr) bool
}

var securedReads = sync.Pool{New: func() any {
	r := new(securedRead)
	r.try = r.tryRead
	return r
}}

// readInto is what Descriptor.Read and ReadReady are for c.
func (c *Secured) readInto(in *readbuf.Buffer, usual readbuf.ReadSize, wait bool) (int, error) {
	if wait {
		_ = c.Handshake()
	}
	return c.call(in, usual, wait, false)
}

func (c *Secured) call(in *readbuf.Buffer, usual readbuf.ReadSize, wait, held bool) (int, error) {
	if ready, err := c.isReady(); !ready || err != nil {
		return 0, err
	}
	r := securedReads.Get().(*securedRead)
	r.conn, r.in, r.usual, r.wait, r.held, r.n = c, in, usual, wait, held, 0
	err := c.sock.raw.Read(r.try)
	n := r.n
	if err == nil {
		err = r.err
	}
	r.conn, r.in, r.err = nil, nil, nil
	securedReads.Put(r)
	return n, err
}

func (r *securedRead) tryRead(fd uintptr) bool {
	r.n, r.err = r.conn.read(int(fd), r.in.Space(r.usual), r.held)
	if r.n > 0 || r.err != nil {
		return true
	}
	r.in.Shrink()
	return !r.wait
}

// A securedWrite is to a write what a securedRead is to a read.
type securedWrite struct {
	conn *Secured
	out  []byte
	n    int
	err  error

	try func(fd uintptr) bool
}

var securedWrites = sync.Pool{New: func() any {
	w := new(securedWrite)
	w.try = w.tryWrite
	return w
}}

// writeReady is what Descriptor.Write is for c.
func (c *Secured) writeReady(p []byte) (int, error) {
	if ready, err := c.isReady(); !ready || err != nil {
		return 0, err
	}
	w := securedWrites.Get().(*securedWrite)
	w.conn, w.out, w.n = c, p, 0
	err := c.sock.raw.Write(w.try)
	n := w.n
	if err == nil {
		err = w.err
	}
	w.conn, w.out, w.err = nil, nil, nil
	securedWrites.Put(w)
	return n, err
}

func (w *securedWrite) tryWrite(fd uintptr) bool {
	w.n, w.err = w.conn.write(int(fd), w.out)
	return true
}

// What a session asks of a descriptor that may have a layer.

// Layered reports whether the bytes that are read and written are not those of the descriptor: what the kernel knows of
// a peer is then counted in other bytes, may be held back in this process, and only Read and Write carry the session's.
func (d *Descriptor) Layered() bool { return d.layer != nil }

// CloseNotify ends the layer's output, and not that of what is below. It does not wait: what finds no room is sent when
// something is written, or never.
func (d *Descriptor) CloseNotify() error {
	_, err := d.layer.closeNotify()
	return err
}

// Handshake does the layer's handshake, which may wait for the peer and call what the layer was configured with.
func (d *Descriptor) Handshake() error {
	if d.layer == nil {
		return nil
	}
	return d.layer.doHandshake()
}

// PendingHandshake returns what is closed when the layer's handshake is over; nil when it is, or there is none.
func (d *Descriptor) PendingHandshake() <-chan struct{} {
	if d.layer == nil {
		return nil
	}
	if s := d.layer.wire.handshake.Load(); s != nil {
		return s.over
	}
	return nil
}

// AwaitsUse reports whether the layer's handshake waits for somebody to begin it.
func (d *Descriptor) AwaitsUse() bool {
	if d.layer == nil {
		return false
	}
	s := d.layer.wire.handshake.Load()
	return s != nil && s.byUse && !s.begun.Load()
}

// WriteMayWait reports whether Write may wait: not for the peer, but for a handshake, or for a Rand of the user's.
func (d *Descriptor) WriteMayWait() bool { return d.PendingHandshake() != nil || d.asksRand() }

// asksRand reports whether a record that is written asks for a Rand: none is before the end of the handshake.
func (d *Descriptor) asksRand() bool {
	return d.layer != nil && d.PendingHandshake() == nil && d.layer.asksRand
}

// ReadHeld is ReadReady for what the layer holds already.
func (d *Descriptor) ReadHeld(in *readbuf.Buffer, usual readbuf.ReadSize) (int, error) {
	if d.layer == nil {
		return 0, nil
	}
	return d.layer.call(in, usual, false, true)
}

// HoldsInput reports whether the layer holds something that the last read has left behind.
func (d *Descriptor) HoldsInput() bool { return d.layer != nil && d.layer.left.Load() }
