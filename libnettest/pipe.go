package libnettest

import (
	"io"
	"net"
	"time"

	"github.com/libnet-go/libnet/internal/inside"
)

// defaultPipeSize is in the order of what a kernel buffers for a socket on loopback.
const defaultPipeSize = 64 << 10

// Pipe returns the two ends of a connection in memory. Each end is a *[PipeConn]. Each direction
// buffers 64 KiB, as a socket does and [net.Pipe] does not: a Write returns when its bytes are
// buffered, whether or not anybody reads.
func Pipe() (a, b net.Conn) { return PipeSize(defaultPipeSize) }

// PipeSize is [Pipe] with a buffer of size bytes in each direction, at least one; a size of 0 or less is one. The
// buffers take memory only as they fill, and give back what is more than 64 KiB when they are empty.
func PipeSize(size int) (a, b net.Conn) {
	return newPipe(size, pipeAddr{}, pipeAddr{})
}

func newPipe(size int, addrA, addrB net.Addr) (a, b *PipeConn) {
	size = max(size, 1)
	ab, ba := &stream{size: size}, &stream{size: size}
	a = &PipeConn{in: ba, out: ab, local: addrA, remote: addrB}
	b = &PipeConn{in: ab, out: ba, local: addrB, remote: addrA}
	return a, b
}

// A PipeConn is one end of a [Pipe]. Its methods may be called by any goroutine; two Writes do not
// mix their bytes. Errors other than [io.EOF] are a *[net.OpError], and errors.Is finds in them what
// a socket's errors have: [net.ErrClosed], [os.ErrDeadlineExceeded], [syscall.EPIPE],
// [syscall.ECONNRESET].
type PipeConn struct {
	in, out       *stream
	local, remote net.Addr
}

// Buffered returns how many bytes have arrived and wait to be read.
func (c *PipeConn) Buffered() int { return c.in.buffered() }

// Arrived is Buffered, for package libnet.
func (c *PipeConn) Arrived(inside.Call) int { return c.in.buffered() }

// Read blocks until there is at least one byte, the peer's end, an error or the read deadline.
func (c *PipeConn) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	return n, c.opError("read", err)
}

// Write blocks while the direction's buffer is full, until the write deadline. When it fails it
// returns how many bytes the peer may still read.
func (c *PipeConn) Write(p []byte) (int, error) {
	n, err := c.out.Write(p)
	return n, c.opError("write", err)
}

// Close ends both directions. The peer reads what is buffered, then [io.EOF]; its writes fail with
// [syscall.EPIPE]. Unlike a socket, an end that is closed with unread input does
// not reset the connection: see [PipeConn.Reset].
func (c *PipeConn) Close() error { return c.close(false) }

// CloseWrite ends this end's direction: the peer reads what is buffered, then [io.EOF]. This end can
// still read.
func (c *PipeConn) CloseWrite() error { return c.opError("close", c.out.finish()) }

// Reset closes this end as a TCP reset does: what is buffered is lost in both directions, and the
// peer's next read or write fails with [syscall.ECONNRESET].
func (c *PipeConn) Reset() error { return c.close(true) }

// close does nothing the second time: what was closed cannot be reset any more.
func (c *PipeConn) close(reset bool) error {
	err := c.out.closeWrite(reset)
	if err == nil {
		c.in.closeRead(reset)
	}
	return c.opError("close", err)
}

// Unplug makes the connection a black hole, as a pulled cable does: neither end reads anything nor
// learns that the other was closed or reset, and writes block once the buffer is full. [PipeConn.Plug]
// ends that; nothing written meanwhile is lost.
func (c *PipeConn) Unplug() {
	c.in.setUnplugged(true)
	c.out.setUnplugged(true)
}

// Plug undoes [PipeConn.Unplug], whichever end called it.
func (c *PipeConn) Plug() {
	c.in.setUnplugged(false)
	c.out.setUnplugged(false)
}

// LocalAddr is of the network "pipe" unless the end came from [Listener.DialFrom].
func (c *PipeConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the other end's LocalAddr.
func (c *PipeConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *PipeConn) SetDeadline(t time.Time) error {
	c.in.setReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline applies to a Read that is waiting, too. The zero time is no deadline.
func (c *PipeConn) SetReadDeadline(t time.Time) error {
	return c.opError("set", c.in.setReadDeadline(t))
}

// SetWriteDeadline applies to a Write that is waiting, too. The zero time is no deadline.
func (c *PipeConn) SetWriteDeadline(t time.Time) error {
	return c.opError("set", c.out.setWriteDeadline(t))
}

func (c *PipeConn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "pipe", Source: c.local, Addr: c.remote, Err: err}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
