package model

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// A sweepScenario is a short life of some sessions, during which one call on the server's side of a
// connection fails. Whatever fails: each client gets a prefix of what was accepted for it, message by
// message; accepted is written plus reported; all ends in bounded time, with nothing left.
type sweepScenario struct {
	clients int
	secure  bool
	queue   int
	handler func(x *sweepRun, s *libnet.Session)
	drive   func(x *sweepRun)
}

var sweepScenarios = map[string]sweepScenario{
	"echo":              {clients: 1, handler: (*sweepRun).echo, drive: (*sweepRun).request},
	"echo with a queue": {clients: 1, queue: 16, handler: (*sweepRun).echo, drive: (*sweepRun).request},
	"push, then shutdown": {clients: 1, queue: 16, handler: (*sweepRun).hold, drive: func(x *sweepRun) {
		for i := range 6 {
			x.send(<-x.served, sweepMessage(i))
			if i%2 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		_ = (<-x.served).Shutdown(x.ctx)
	}},
	"broadcast":     {clients: 3, queue: 16, handler: (*sweepRun).hold, drive: (*sweepRun).broadcast},
	"echo over TLS": {clients: 1, secure: true, queue: 16, handler: (*sweepRun).echo, drive: (*sweepRun).request},
}

// sweepMessage is small, or large enough to be written from where it lies.
func sweepMessage(i int) []byte {
	size := 10
	if i%3 == 2 {
		size = 17 << 10
	}
	return append([]byte(fmt.Sprint("message ", i, " ")), bytes.Repeat([]byte{byte('a' + i)}, size)...)
}

// sweepRun is one run of a scenario.
type sweepRun struct {
	t        *testing.T
	patience time.Duration
	settle   func() // waits until all that can happen by itself has happened
	r        *testkit.Rig
	ctx      context.Context
	clients  []*sweepClient
	served   chan *libnet.Session // the first session, as often as it is asked for

	mu sync.Mutex
	// mu guards the following; handled is told when working falls.
	working  int // handlers that have not returned
	handled  *sync.Cond
	tried    map[uint64][][]byte // by session, in order: what may be written, a part of the last if its Send failed
	accepted map[uint64]uint64   // by session: how many of them
}

type sweepClient struct {
	conn     net.Conn
	session  *libnet.Session
	received []byte        // owned by the reader until ended
	ended    chan struct{} // closed by the reader
}

func TestEveryCallFailsOnceInEveryWay(t *testing.T) {
	moving := append(libnettest.SingleFaults(),
		libnettest.Fault{N: 5, Err: syscall.EPIPE},
		libnettest.Fault{Panic: "the connection's own"})
	still := []libnettest.Fault{{Err: syscall.ENOTCONN}, {Panic: "the connection's own"}}
	for name, scenario := range sweepScenarios {
		t.Run(name, func(t *testing.T) {
			for op, kinds := range map[libnettest.Op][]libnettest.Fault{
				libnettest.OpRead: moving, libnettest.OpWrite: moving,
				libnettest.OpCloseWrite: still, libnettest.OpClose: still, libnettest.OpSetDeadline: still,
			} {
				libnettest.Sweep(t, op, kinds, func(t *testing.T, faults *libnettest.Faults) {
					if scenario.secure { // crypto/tls waits for mutexes, at which a bubble's clock stands still
						scenario.run(t, faults, 40*time.Millisecond)
						return
					}
					synctest.Test(t, func(t *testing.T) { scenario.run(t, faults, 10*time.Second) })
				})
			}
		})
	}
}

// run bounds every wait by patience, of which a run then takes a few at most.
func (sc sweepScenario) run(t *testing.T, faults *libnettest.Faults, patience time.Duration) {
	x := &sweepRun{t: t, patience: patience, settle: synctest.Wait, tried: make(map[uint64][][]byte), accepted: make(map[uint64]uint64), served: make(chan *libnet.Session)}
	x.handled = sync.NewCond(&x.mu)
	if sc.secure {
		x.settle = func() { time.Sleep(time.Millisecond) }
	}
	var cancel context.CancelFunc
	x.ctx, cancel = context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	begin := time.Now()
	x.r = testkit.Serve(t, "pipe", func(srv *libnet.Server) {
		srv.SendQueue = sc.queue
		srv.HandshakeTimeout, srv.IdleTimeout, srv.WriteTimeout, srv.Linger = 2*patience, 2*patience, patience, patience
		if sc.secure {
			srv.TLSConfig = testkit.ServerTLS()
			srv.HandshakeTimeout = time.Second // by a real clock: a session that is not served before has no handler
		}
	}, func(s *libnet.Session) { x.handle(sc, s) })
	x.r.Faults = faults
	for range sc.clients {
		x.dial(sc.secure)
	}
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case x.served <- x.clients[0].session:
			case <-stop:
				return
			}
		}
	}()
	sc.drive(x)
	_ = x.r.Shutdown(x.ctx)
	close(stop)
	for _, c := range x.clients {
		<-c.session.Done()
		<-c.ended
	}
	if took := time.Since(begin); took > 20*patience && !sc.secure {
		t.Errorf("it took %v", took)
	}
	x.check(sc)
}

// handle keeps check waiting: a handler notes what it has sent after the session may have ended.
func (x *sweepRun) handle(sc sweepScenario, s *libnet.Session) {
	x.count(1)
	defer x.count(-1)
	sc.handler(x, s)
}

func (x *sweepRun) count(n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.working += n
	x.handled.Broadcast()
}

func (x *sweepRun) dial(secure bool) {
	conn, session := x.r.Open()
	if secure {
		conn = tls.Client(conn, testkit.AnyTLS())
	}
	c := &sweepClient{conn: conn, session: session, ended: make(chan struct{})}
	x.clients = append(x.clients, c)
	go func() {
		defer close(c.ended)
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(15 * x.patience))
		c.received, _ = io.ReadAll(conn)
	}()
}

func (x *sweepRun) send(s *libnet.Session, msg []byte) {
	err := s.SendBytes(msg)
	x.note(s, msg, err == nil)
}

func (x *sweepRun) note(s *libnet.Session, msg []byte, accepted bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tried[s.ID()] = append(x.tried[s.ID()], msg)
	if accepted {
		x.accepted[s.ID()]++
	}
}

func (x *sweepRun) echo(s *libnet.Session) {
	for {
		msg, err := s.Receive()
		if err != nil {
			return
		}
		x.send(s, msg)
	}
}

func (x *sweepRun) hold(s *libnet.Session) { testkit.ReceiveToEnd(s) }

// request sends some messages, the first alone, and half-closes.
func (x *sweepRun) request() {
	conn := x.clients[0].conn
	_ = conn.SetWriteDeadline(time.Now().Add(10 * x.patience))
	_, _ = conn.Write(testkit.Frame(string(sweepMessage(0))))
	x.settle()
	for i := 1; i < 4; i++ {
		_, _ = conn.Write(testkit.Frame(string(sweepMessage(i))))
	}
	_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	select {
	case <-x.clients[0].session.Done():
	case <-time.After(5 * x.patience):
	}
}

func (x *sweepRun) broadcast() {
	var group libnet.Group[uint64]
	for _, c := range x.clients {
		group.Put(c.session.ID(), c.session)
	}
	for i := range 4 {
		before := make(map[uint64]int)
		for _, c := range x.clients {
			stats := c.session.Stats()
			before[c.session.ID()] = stats.Queued + int(stats.MessagesOut+stats.Discarded)
		}
		group.Broadcast(sweepMessage(i))
		for _, c := range x.clients {
			stats := c.session.Stats()
			if stats.Queued+int(stats.MessagesOut+stats.Discarded) > before[c.session.ID()] {
				x.note(c.session, sweepMessage(i), true)
			}
		}
		if i == 1 {
			x.settle()
		}
	}
}

// check compares what the clients got with what was accepted for them.
func (x *sweepRun) check(sc sweepScenario) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.working > 0 {
		x.handled.Wait()
	}
	whole := 0
	for i, c := range x.clients {
		accepted := x.accepted[c.session.ID()]
		var stream []byte
		complete := 0
		for _, msg := range x.tried[c.session.ID()] {
			if stream = append(stream, testkit.Frame(string(msg))...); len(stream) <= len(c.received) {
				complete++
			}
		}
		if !bytes.HasPrefix(stream, c.received) {
			x.t.Errorf("client %d got %d bytes that are no prefix of the %d meant for it", i, len(c.received), len(stream))
		}
		if len(stream) == len(c.received) {
			whole++
		}
		stats := c.session.Stats()
		if stats.MessagesOut+stats.Discarded != accepted {
			x.t.Errorf("client %d: %d accepted, %+v", i, accepted, stats)
		}
		if !sc.secure && stats.MessagesOut != uint64(complete) {
			x.t.Errorf("client %d got %d messages, of %d that were written", i, complete, stats.MessagesOut)
		}
	}
	if whole < len(x.clients)-1 {
		x.t.Errorf("one call failed, and %d of %d clients lost something", len(x.clients)-whole, len(x.clients))
	}
}
