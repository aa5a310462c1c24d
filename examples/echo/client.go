package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/libnet-go/libnet"
)

// A client sends messages to the echo server, as many at a time as its window, and checks what comes back.
type client struct {
	session *libnet.Session
	window  chan struct{} // holds a value for each message that is on its way
	began   time.Time

	// Owned by send.
	sent, bytesSent uint64

	// Owned by receive.
	received  uint64
	latencies []time.Duration // of every message whose number is a multiple of each, at most maxLatencies
	each      uint64
}

const maxLatencies = 1 << 17

// header is what a message begins with: its number, and when it was sent.
const header = 16

// longest is the size of the longest message after the header.
const longest = 1000

// pattern is what a message goes on with, from a place and for a length that follow from its number.
var pattern = func() []byte {
	p := make([]byte, 256+longest)
	for i := range p {
		p[i] = byte(i * 7)
	}
	return p
}()

func body(number uint64) []byte {
	start := number % 256
	return pattern[start : start+number%(longest+1)]
}

func dialClient(ctx context.Context, address string, window int) (*client, error) {
	dialer := libnet.Dialer{Protocol: protocol}
	dialer.SendQueue = window
	session, err := dialer.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &client{session: session, window: make(chan struct{}, window), began: time.Now(), each: 1}, nil
}

// send sends until the context ends, and then waits until everything has come back.
func (c *client) send(ctx context.Context) error {
	var msg []byte
	for ctx.Err() == nil {
		if !c.enter() {
			break
		}
		msg = binary.BigEndian.AppendUint64(msg[:0], c.sent)
		msg = binary.BigEndian.AppendUint64(msg, uint64(time.Since(c.began)))
		msg = append(msg, body(c.sent)...)
		if err := c.session.SendContext(context.Background(), &msg); err != nil {
			return err
		}
		c.sent++
		c.bytesSent += uint64(len(msg))
	}
	for range cap(c.window) { // as many as can be under way
		if !c.enter() {
			return c.session.Err()
		}
	}
	return nil
}

// enter waits for room in the window; false when the session has ended.
func (c *client) enter() bool {
	select {
	case c.window <- struct{}{}:
		return true
	case <-c.session.Done():
		return false
	}
}

// receive checks what comes, and returns the reason of the session's end or what was wrong.
func (c *client) receive() error {
	var buf []byte
	for {
		var err error
		if buf, err = c.session.ReceiveInto(buf); err != nil {
			return err
		}
		if err := c.check(buf); err != nil {
			return err
		}
		<-c.window
	}
}

// check compares a message with the one that was sent.
func (c *client) check(msg []byte) error {
	if len(msg) < header {
		return fmt.Errorf("a message of %d bytes came back, which nobody sent", len(msg))
	}
	number := binary.BigEndian.Uint64(msg)
	if number != c.received || !bytes.Equal(msg[header:], body(number)) {
		return fmt.Errorf("message %d came back as number %d of %d bytes", c.received, number, len(msg))
	}
	c.received++
	sent := time.Duration(binary.BigEndian.Uint64(msg[8:]))
	c.note(number, time.Since(c.began)-sent)
	return nil
}

// note keeps a latency. When there are too many of them it keeps every second, and half as many from then on.
func (c *client) note(number uint64, latency time.Duration) {
	if number%c.each != 0 {
		return
	}
	c.latencies = append(c.latencies, latency)
	if len(c.latencies) < maxLatencies {
		return
	}
	for i := range maxLatencies / 2 {
		c.latencies[i] = c.latencies[2*i]
	}
	c.latencies = c.latencies[:maxLatencies/2]
	c.each *= 2
}
