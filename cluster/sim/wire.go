package main

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A wire is the network between a node and its server: it counts what comes out of the server, and may be slow, or
// stand still.
type wire struct {
	listener net.Listener
	target   string
	out      atomic.Int64 // bytes from the server
	latency  atomic.Int64 // ns, each way
	running  sync.WaitGroup

	mu sync.Mutex
	// mu guards the following.
	conns []net.Conn
	flows chan struct{} // closed while bytes flow
}

func newWire(target string) (*wire, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{listener: listener, target: target, flows: make(chan struct{})}
	close(w.flows)
	w.running.Go(w.accept)
	return w, nil
}

func (w *wire) addr() string { return w.listener.Addr().String() }

func (w *wire) delay(d time.Duration) { w.latency.Store(int64(d)) }

// stop holds all bytes, as a process that is stopped does.
func (w *wire) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flows = make(chan struct{})
}

func (w *wire) heal() {
	w.latency.Store(0)
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.flows:
	default:
		close(w.flows)
	}
}

func (w *wire) accept() {
	for {
		node, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", w.target)
		if err != nil {
			node.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, node, server)
		w.mu.Unlock()
		w.running.Go(func() { w.carry(node, server, &w.out) })
		w.running.Go(func() { w.carry(server, node, new(atomic.Int64)) })
	}
}

// A parcel is bytes on their way.
type parcel struct {
	data []byte
	due  time.Time
}

func (w *wire) carry(to, from net.Conn, count *atomic.Int64) {
	parcels := make(chan parcel, 1<<12)
	w.running.Go(func() {
		defer to.Close()
		for p := range parcels {
			time.Sleep(time.Until(p.due))
			w.mu.Lock()
			flows := w.flows
			w.mu.Unlock()
			<-flows
			if _, err := to.Write(p.data); err != nil {
				from.Close()
			}
		}
	})
	defer close(parcels)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		count.Add(int64(n))
		parcels <- parcel{append([]byte(nil), buf[:n]...), time.Now().Add(time.Duration(w.latency.Load()))}
	}
}

func (w *wire) close() {
	w.listener.Close()
	w.heal()
	w.mu.Lock()
	for _, c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.running.Wait()
}
