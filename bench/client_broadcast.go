package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// broadcast has every connection read what one of them sends. The next window is sent when all
// have received the last.
func (c *client) broadcast() (Result, error) {
	members, err := c.join(c.Row.Conns)
	if err != nil {
		return Result{}, err
	}
	return c.measure(c.broadcastDrive(members))
}

// slowMember measures the same before and while one more member does not read. A server that loses
// a delivery to another member, or waits for the slow one, stalls the row.
func (c *client) slowMember() (Result, error) {
	members, err := c.join(c.Row.Conns)
	if err != nil {
		return Result{}, err
	}
	load := c.broadcastDrive(members)
	calm, err := c.measure(load)
	if err != nil {
		return Result{}, err
	}
	slow, err := c.dialFrom(nil)
	if err != nil {
		return Result{}, err
	}
	defer slow.Close()
	if err := clog(slow, c.makeBatch(replyMark, 32<<10).out); err != nil {
		return Result{}, err
	}
	r, err := c.measure(load)
	r.CalmP99 = calm.P99
	return r, err
}

// join connects n times and has each connection answered once: then the server knows it.
func (c *client) join(n int) ([]net.Conn, error) {
	conns, err := c.dial(n)
	if err != nil {
		return nil, err
	}
	hello := c.makeBatch(replyMark, 1)
	return conns, c.greet(conns, hello)
}

// clog asks for more replies than all the kernel's buffers hold, and reads none of them. A server
// that takes no more requests for that long, because it cannot write, is as clogged as it will be; one that is only
// slow takes some.
func clog(conn net.Conn, frame []byte) error {
	const frames, stuck = 1024, 3 * time.Second
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		return err
	}
	for range frames {
		conn.SetWriteDeadline(time.Now().Add(stuck))
		_, err := conn.Write(frame)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A crowd is one window's worth of broadcasts.
type crowd struct {
	// Immutable.
	c       *client
	members []net.Conn
	batch   batch
	begin   time.Time
	length  time.Duration

	times [][]time.Duration // a slot for each member, owned by it
	end   time.Time         // of the last round; owned by the member that completes a round

	waiting atomic.Int64 // members that have not received the round
	sent    atomic.Int64 // when it was sent, since begin
	over    atomic.Bool
	first   firstError
}

func (c *client) broadcastDrive(members []net.Conn) drive {
	batch := c.batch(plainMark)
	return func(d time.Duration) (sample, error) {
		c.setDeadline(time.Now().Add(d + c.Patience))
		w := &crowd{c: c, members: members, batch: batch, begin: time.Now(), length: d, times: make([][]time.Duration, len(members))}
		var wg sync.WaitGroup
		for i := range members {
			wg.Go(func() { w.receive(i) })
		}
		w.send()
		wg.Wait()
		s := gather(w.times, c.Row.Window, w.end.Sub(w.begin))
		return s, w.first.err
	}
}

// send starts a round.
func (w *crowd) send() {
	w.waiting.Store(int64(len(w.members)))
	w.sent.Store(int64(time.Since(w.begin)))
	if _, err := w.members[0].Write(w.batch.out); err != nil {
		w.fail(err)
	}
}

// receive is one member: it reads round after round, and the last to have received one starts the
// next.
func (w *crowd) receive(i int) {
	got := make([]byte, len(w.batch.back))
	for {
		if _, err := io.ReadFull(w.members[i], got); err != nil {
			w.fail(err)
			return
		}
		w.times[i] = append(w.times[i], time.Since(w.begin)-time.Duration(w.sent.Load()))
		if !bytes.Equal(got, w.batch.back) {
			w.fail(errWrongReply)
			return
		}
		if w.waiting.Add(-1) > 0 {
			continue
		}
		if w.end = time.Now(); w.end.Sub(w.begin) >= w.length {
			w.finish()
			return
		}
		w.send()
	}
}

// finish ends the reads of all members.
func (w *crowd) finish() {
	w.over.Store(true)
	w.c.setDeadline(time.Unix(1, 0))
}

// fail ends the window for an error, unless it ended already: then the error is how.
func (w *crowd) fail(err error) {
	if !w.over.Load() && w.first.set(err) {
		w.finish()
	}
}
