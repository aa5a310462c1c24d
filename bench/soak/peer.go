package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// A peer is a client's end of a connection, without libnet: it can do what libnet would not.
type peer struct {
	net.Conn
	crowd   *crowd
	station *station
	in      *bufio.Reader
	stop    func() bool // of what closes it with the round
	last    uint64      // the number received last
	sent    uint64      // the number sent last
}

// patience is how long a peer that behaves waits for what must come.
const patience = 20 * time.Second

var insecure = &tls.Config{InsecureSkipVerify: true}

// dial connects to the station and upgrades to a WebSocket where it serves those. The round's end closes the
// connection.
func (c *crowd) dial(st *station) (*peer, error) {
	p, err := c.connect(st)
	if err == nil && webSockets(st) {
		if err = p.upgrade(); err != nil {
			p.end()
		}
	}
	return p, err
}

func (c *crowd) connect(st *station) (*peer, error) {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	var d net.Dialer
	network := st.network
	if network == "" {
		network = "tcp"
	}
	conn, err := d.DialContext(ctx, network, c.addresses[st.name])
	if err != nil {
		return nil, err
	}
	p := &peer{crowd: c, station: st}
	p.stop = context.AfterFunc(c.ctx, func() { _ = conn.Close() })
	if st.tls {
		secure := tls.Client(conn, insecure)
		if err := secure.HandshakeContext(ctx); err != nil {
			p.stop()
			_ = conn.Close()
			return nil, err
		}
		conn = secure
	}
	p.Conn = conn
	p.in = bufio.NewReaderSize(conn, 1024)
	return p, nil
}

func (p *peer) end() {
	p.stop()
	_ = p.Close()
}

// under returns the TCP or Unix connection.
func (p *peer) under() net.Conn {
	if t, ok := p.Conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return p.Conn
}

// reset has the kernel forget the connection; on a Unix socket it is a close with input unread.
func (p *peer) reset() {
	if t, ok := p.under().(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = p.under().Close()
}

// small keeps the kernel from taking much for a peer that reads slowly.
func (p *peer) small() {
	if b, ok := p.under().(interface{ SetReadBuffer(int) error }); ok {
		_ = b.SetReadBuffer(4096)
	}
}

// endSide tells the station that no more is to come, and that answers are awaited still.
func (p *peer) endSide() error {
	if webSockets(p.station) {
		_, err := p.Write(clientFrame(finBit|opClose, nil))
		return err
	}
	return p.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// send sends the next message of that many bytes.
func (p *peer) send(size int) error {
	msg := numbered(p.sent+1, size)
	_, err := p.Write(p.frame(msg))
	if err == nil {
		p.sent++
	}
	return err
}

func (p *peer) frame(msg []byte) []byte {
	if webSockets(p.station) {
		return clientFrame(finBit|opBinary, msg)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(msg))), msg...)
}

func (p *peer) readMessage() ([]byte, error) {
	if webSockets(p.station) {
		return readWebSocketMessage(p.in)
	}
	var header [4]byte
	if _, err := io.ReadFull(p.in, header[:]); err != nil {
		return nil, err
	}
	return readPayload(p.in, uint64(binary.BigEndian.Uint32(header[:])))
}

// readPayload reads what a header has announced: at most 1 MiB, which is more than any message.
func readPayload(r io.Reader, n uint64) ([]byte, error) {
	if n > mib {
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, fmt.Errorf("inside a message: %w", err)
	}
	return payload, nil
}

// receive returns the number of the next message that is no heartbeat.
func (p *peer) receive() (n uint64, err error) {
	for n == 0 {
		msg, err := p.readMessage()
		if err != nil {
			return 0, err
		}
		n = numberOf(msg)
		p.crowd.received(p.station)
	}
	p.crowd.inOrder(p.station, p.last, n)
	p.last = n
	return n, nil
}

// mustReceive receives messages up to number n; the station's stopping is the only excuse for their not coming.
func (p *peer) mustReceive(n uint64) error {
	for p.last < n {
		_ = p.SetReadDeadline(time.Now().Add(patience))
		if _, err := p.receive(); err != nil {
			p.crowd.fault("%s: message %d of %d did not come: %w", p.station.name, p.last+1, n, err)
			return err
		}
	}
	return nil
}

// readAll reads until the end, at that many bytes a second if that is not 0, until the time has come.
func (p *peer) readAll(rate int, until time.Time) {
	_ = p.SetReadDeadline(until)
	if rate > 0 {
		p.in = bufio.NewReaderSize(&slowly{p.in, rate}, 16)
	}
	for {
		if _, err := p.receive(); err != nil {
			return
		}
	}
}

// slowly reads a little four times a second.
type slowly struct {
	r    io.Reader
	rate int
}

func (s *slowly) Read(b []byte) (int, error) {
	time.Sleep(time.Second / 4)
	return s.r.Read(b[:min(len(b), s.rate/4)])
}

// isEnd reports whether a connection came to its orderly end.
func isEnd(err error) bool { return errors.Is(err, io.EOF) }
