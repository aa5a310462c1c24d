package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/mux"
)

// A job is what one load process is told to do.
type job struct {
	Row      row           `json:"row"`
	Address  string        `json:"address"` // the server's
	Control  string        `json:"control"` // the server's control connection
	Warm     time.Duration `json:"warm"`
	Window   time.Duration `json:"window"`
	Patience time.Duration `json:"patience"` // how long a connection may wait past the end of a window
	Profile  string        `json:"profile"`  // file for a CPU profile of the server in the window; "" for none

	Over wire `json:"over,omitempty"` // what the server's connections begin with
}

// dialers is how many connections are made at a time.
const dialers = 64

// client is the load process: plain connections, a goroutine for each window under way, one write a
// window, the same for every server.
type client struct {
	job
	control *control
	conns   []net.Conn // those that dial made: an error cuts them all
}

// runJob does the row's work once against the server. A Result with an Error still carries what was
// measured before it.
func runJob(j job) Result {
	control, err := dialControl(j.Control)
	if err != nil {
		return Result{Error: err.Error()}
	}
	defer control.conn.Close()
	c := &client{job: j, control: control}
	defer c.closeAll()
	r, err := c.work()
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		r.Error = fmt.Sprintf("stalled: no reply within %v", j.Patience)
	case err != nil:
		r.Error = err.Error()
	}
	return r
}

func (c *client) work() (Result, error) {
	switch c.Row.Kind {
	case echoKind:
		return c.echo()
	case churnKind:
		return c.churn()
	case idleKind:
		return c.idle()
	case broadcastKind:
		return c.broadcast()
	case slowKind:
		return c.slowMember()
	case sleepKind:
		return c.sleepers()
	}
	return Result{}, fmt.Errorf("no rows of kind %q", c.Row.Kind)
}

// A drive loads the server for d.
type drive func(d time.Duration) (sample, error)

// measure warms up, then takes the measured window: the server's CPU time is read while nothing is
// under way, so that it belongs to the window's messages and to no others.
func (c *client) measure(load drive) (Result, error) {
	if _, err := load(c.Warm); err != nil {
		return Result{}, err
	}
	begin, end := usageCommand, usageCommand
	if c.Profile != "" {
		begin, end = profileCommand+" "+c.Profile, profileCommand
	}
	before, err := c.control.ask(begin)
	if err != nil {
		return Result{}, err
	}
	s, err := load(c.Window)
	if err != nil {
		return Result{}, err
	}
	after, err := c.control.ask(end)
	if err != nil {
		return Result{}, err
	}
	return s.result(after.CPU-before.CPU, after.RSS), nil
}

// repeat runs n goroutines for d. Goroutine i calls step(i, turn) with turn 0, 1, 2 … and what it
// returns is one time for each call. The first error cuts all connections and ends all of them.
func (c *client) repeat(d time.Duration, n int, step func(i, turn int) error) ([][]time.Duration, time.Duration, error) {
	c.setDeadline(time.Now().Add(d + c.Patience))
	var (
		wg    sync.WaitGroup
		stop  atomic.Bool
		times = make([][]time.Duration, n)
		first firstError
	)
	begin := time.Now()
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	for i := range n {
		wg.Go(func() {
			for turn := 0; !stop.Load(); turn++ {
				start := time.Now()
				if err := step(i, turn); err != nil {
					if first.set(err) {
						stop.Store(true)
						c.setDeadline(time.Unix(1, 0))
					}
					return
				}
				times[i] = append(times[i], time.Since(start))
			}
		})
	}
	wg.Wait()
	return times, time.Since(begin), first.err
}

// firstError keeps the first of several goroutines' errors.
type firstError struct {
	once sync.Once
	err  error
}

// set reports whether err is the first.
func (f *firstError) set(err error) (isFirst bool) {
	f.once.Do(func() { f.err, isFirst = err, true })
	return isFirst
}

// dial connects n times and keeps the connections until the job ends.
func (c *client) dial(n int) ([]net.Conn, error) {
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		first firstError
		conns = make([]net.Conn, n)
	)
	for range min(n, dialers) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				conn, err := c.dialFrom(source(i))
				if err != nil {
					first.set(err)
					return
				}
				conns[i] = conn
			}
		})
	}
	wg.Wait()
	for _, conn := range conns {
		if conn != nil {
			c.conns = append(c.conns, conn)
		}
	}
	return conns, first.err
}

// sources are so many addresses of this machine that connections come from in turn: a closed connection
// keeps its port for a minute, and one address has 28,000.
const sources = 32

func source(i int) net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%sources))}
}

// dialFrom connects once, from the client's own address from.
func (c *client) dialFrom(from net.Addr) (net.Conn, error) {
	d := net.Dialer{LocalAddr: from}
	ctx, cancel := context.WithTimeout(context.Background(), c.Patience)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", c.Address)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(c.Patience))
	begun, err := c.Over.begin(conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return begun, nil
}

// greet exchanges one batch on each connection, one after the other.
func (c *client) greet(conns []net.Conn, batch batch) error {
	reply := make([]byte, len(batch.back))
	for _, conn := range conns {
		conn.SetDeadline(time.Now().Add(c.Patience))
		if err := exchange(conn, batch, reply); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) setDeadline(t time.Time) {
	for _, conn := range c.conns {
		conn.SetDeadline(t)
	}
}

func (c *client) closeAll() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

// A batch is one window of frames: what is sent, and what comes back. The payloads differ, so that a reply out of order
// is noticed.
type batch struct{ out, back []byte }

func (c *client) batch(mark byte) batch { return c.makeBatch(mark, c.Row.sizes()...) }

// makeBatch has a frame of each size.
func (c *client) makeBatch(mark byte, sizes ...int) (b batch) {
	filler := rand.New(rand.NewPCG(1, 2))
	for _, size := range sizes {
		payload := make([]byte, size)
		payload[0] = mark
		for i := range payload[1:] {
			payload[1+i] = byte(filler.Uint32())
		}
		switch {
		case c.Over.isWebSocket():
			b.out = appendClientFrame(b.out, payload)
			b.back = appendServerFrame(b.back, payload)
		case c.Over == overMux:
			b.out = appendMuxFrame(b.out, payload, mux.Ask)
			b.back = appendMuxFrame(b.back, payload, mux.Reply)
		default:
			b.out = append(appendLength(b.out, size), payload...)
			b.back = b.out
		}
	}
	return b
}

func appendLength(dst []byte, n int) []byte { return binary.BigEndian.AppendUint16(dst, uint16(n)) }

var errWrongReply = errors.New("a reply differs from what was expected")

// exchange writes a window and reads what comes back.
func exchange(conn net.Conn, b batch, reply []byte) error {
	if _, err := conn.Write(b.out); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, reply); err != nil {
		return err
	}
	if !bytes.Equal(b.back, reply) {
		return errWrongReply
	}
	return nil
}
