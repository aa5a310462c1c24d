package sockets

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/usercode"
)

var (
	errNoLookupConn    = errors.New("libnet: the Dial of the NetDialer's Resolver returned no connection")
	errLookupConnEnded = errors.New("libnet: a connection of the NetDialer's Resolver ended its goroutine")
	errLookupCount     = errors.New("libnet: a connection of the NetDialer's Resolver returned an impossible count")
)

// guardLookup returns a conn to a server of names, which is the user's, as one that package net may use on a goroutine
// of its own.
func guardLookup(conn net.Conn, caught func(value any) error) (net.Conn, error) {
	if usercode.IsNil(conn) {
		return nil, errNoLookupConn
	}
	switch conn.(type) {
	case *net.UDPConn, *net.TCPConn, *net.UnixConn:
		return conn, nil
	}
	guarded := lookupConn{conn, caught}
	if packets, ok := conn.(net.PacketConn); ok { // by which package net tells how questions are framed
		return packetLookupConn{guarded, packetsOnly{packets}}, nil
	}
	return guarded, nil
}

// A lookupConn's methods are those that package net calls.
type lookupConn struct {
	net.Conn
	caught func(value any) error
}

type packetLookupConn struct {
	lookupConn
	packetsOnly
}

// packetsOnly is what a net.PacketConn has and a net.Conn has not.
type packetsOnly struct{ from net.PacketConn }

func (c packetsOnly) ReadFrom(p []byte) (int, net.Addr, error)   { return c.from.ReadFrom(p) }
func (c packetsOnly) WriteTo(p []byte, to net.Addr) (int, error) { return c.from.WriteTo(p, to) }

func (c lookupConn) Read(p []byte) (int, error)  { return c.transfer(p, c.Conn.Read) }
func (c lookupConn) Write(p []byte) (int, error) { return c.transfer(p, c.Conn.Write) }

func (c lookupConn) transfer(p []byte, f func(p []byte) (int, error)) (n int, err error) {
	err = c.call(func() (err error) {
		n, err = f(p)
		return err
	})
	if n < 0 || n > len(p) {
		return 0, errLookupCount
	}
	return n, lookupErr(err)
}

func (c lookupConn) SetDeadline(t time.Time) error {
	return c.call(func() error { return c.Conn.SetDeadline(t) })
}

func (c lookupConn) Close() error { return c.call(c.Conn.Close) }

// call has a goroutine of its own call f, which may end it.
func (c lookupConn) call(f func() error) (err error) {
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		err = errLookupConnEnded
		defer func() {
			if r := recover(); r != nil {
				err = c.caught(r)
			}
		}()
		err = f()
	}()
	<-returned
	return err
}

// A lookupError is what package net takes of an error of the user's: it asks on a goroutine of its own.
type lookupError struct {
	text               string
	timeout, temporary bool
}

func (e *lookupError) Error() string   { return e.text }
func (e *lookupError) Timeout() bool   { return e.timeout }
func (e *lookupError) Temporary() bool { return e.temporary }

// lookupErr returns an error whose methods are not the user's.
func lookupErr(err error) error {
	if err == nil {
		return nil
	}
	plain, ok := usercode.Answer(func() error {
		for _, ended := range []error{context.DeadlineExceeded, context.Canceled} { // the ones that package net wraps
			if errchain.Is(err, ended) {
				return ended
			}
		}
		e := &lookupError{text: err.Error()}
		if ne, is := err.(net.Error); is {
			e.timeout, e.temporary = ne.Timeout(), ne.Temporary() //lint:ignore SA1019 package net asks
		}
		return e
	})
	if !ok {
		return &lookupError{text: fmt.Sprintf("libnet: a %T without a text", err)}
	}
	return plain
}
