package sockets

import (
	"errors"
	"math"
	"net"
	"time"
)

// ErrNotAStream is what a session over a network of messages ends with before it begins: a read that asks for less
// than a message would lose the rest of it.
var ErrNotAStream = errors.New("libnet: a session needs a stream, as tcp and unix are; this network keeps messages apart")

// Options bound what a silent peer can cost: how long it stays unnoticed and how much of the kernel's memory it can
// pin.
type Options struct {
	SendBuffer, ReceiveBuffer int           // bytes; 0 leaves the system's
	PeerTimeout               time.Duration // for a peer that vanished; 0 leaves the system's
}

// Set sets the options of the socket in conn. It also takes back what made the socket blocking, since the waiting of
// package net and all deadlines rest on that. It returns [ErrNotAStream], or what the kernel refused: the rest is set.
// It calls methods of conn, which may panic.
func (o Options) Set(conn net.Conn) error { return o.set(conn) }

// AskBuffers has a conn that is not one of package net bound its buffers itself, as far as it can. It returns what conn
// answers; conn may also panic.
func (o Options) AskBuffers(conn net.Conn) error {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return nil
	}
	var err error
	if b, ok := conn.(interface{ SetWriteBuffer(int) error }); ok && o.SendBuffer > 0 {
		err = b.SetWriteBuffer(o.SendBuffer)
	}
	if b, ok := conn.(interface{ SetReadBuffer(int) error }); ok && o.ReceiveBuffer > 0 && err == nil {
		err = b.SetReadBuffer(o.ReceiveBuffer)
	}
	return err
}

// What the kernel takes at most. Beyond, it would refuse the option.
const (
	maxKeepAlive   = 32767 * time.Second // MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL of Linux
	maxUserTimeout = math.MaxInt32 * time.Millisecond
	maxBuffer      = math.MaxInt32
)

// keepAlive returns how long a silent connection waits for its first probe, and how long for each answer: a third of
// timeout, so that with two probes unanswered the whole of it has passed.
func keepAlive(timeout time.Duration) time.Duration {
	return min(max(timeout/3, time.Second), maxKeepAlive).Truncate(time.Second)
}

// keepAliveProbes is how many probes a peer leaves unanswered before it counts as gone.
const keepAliveProbes = 2
