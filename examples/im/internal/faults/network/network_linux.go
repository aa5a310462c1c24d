package network

import (
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"
)

// A Wire is how packets go from one host to another, in that direction. The zero value is a good one.
type Wire struct {
	Cut   bool          // they are dropped
	Delay time.Duration // they arrive this much later
}

// A Network is hosts and the wires between them. Its methods may be called by any goroutine.
type Network struct {
	prefix   netip.Prefix
	carriers sync.WaitGroup

	// mu guards the following.
	mu    sync.RWMutex
	hosts map[netip.Addr]*Host
	wires map[way]Wire
}

// A way is a direction between two hosts.
type way struct{ from, to *Host }

// A Host is one of a network.
type Host struct {
	// Immutable after Add.
	Name string
	Addr netip.Addr

	namespace *os.File // nil: this process's
	device    *os.File
	late      *delayLine // of packets to this host
}

// New returns a network without hosts, whose addresses are those of prefix.
func New(prefix netip.Prefix) *Network {
	return &Network{prefix: prefix, hosts: make(map[netip.Addr]*Host), wires: make(map[way]Wire)}
}

// Join makes this process's own network namespace a host, which should be one that was made for the purpose. It may
// have further addresses.
func (n *Network) Join(name string, addr netip.Addr, more ...netip.Addr) (*Host, error) {
	device, err := openDevice(append([]netip.Addr{addr}, more...), n.prefix)
	if err != nil {
		return nil, fmt.Errorf("network: %s: %w", name, err)
	}
	h := &Host{Name: name, Addr: addr, device: device}
	n.plug(h, append(more, addr))
	return h, nil
}

// Add makes a host in a network namespace of its own.
func (n *Network) Add(name string, addr netip.Addr) (*Host, error) {
	h := &Host{Name: name, Addr: addr}
	err := inNewNamespace(func() (err error) {
		if h.device, err = openDevice([]netip.Addr{addr}, n.prefix); err != nil {
			return err
		}
		h.namespace, err = os.Open(threadNamespace)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("network: %s: %w", name, err)
	}
	n.plug(h, []netip.Addr{addr})
	return h, nil
}

func (n *Network) plug(h *Host, addrs []netip.Addr) {
	h.late = newDelayLine(h.device)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, addr := range addrs {
		n.hosts[addr] = h
	}
	n.carriers.Go(func() { n.carry(h) })
}

// Set changes the wire from one host to another.
func (n *Network) Set(from, to *Host, w Wire) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wires[way{from, to}] = w
}

// Mend makes all wires good.
func (n *Network) Mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.wires)
}

// Close ends all wires. Namespaces end with the last process in them.
func (n *Network) Close() {
	n.mu.Lock()
	for _, h := range n.hosts {
		_ = h.device.Close()
		if h.namespace != nil {
			_ = h.namespace.Close()
		}
		h.late.close()
	}
	n.mu.Unlock()
	n.carriers.Wait()
}

// mtu is the devices': few packets, each of which costs two system calls here.
const mtu = 16 << 10

// carry takes what a host sends to where it should go.
func (n *Network) carry(from *Host) {
	packet := make([]byte, mtu)
	for {
		size, err := from.device.Read(packet)
		if err != nil {
			return
		}
		to, wire := n.route(from, packet[:size])
		switch {
		case to == nil || wire.Cut:
		case wire.Delay > 0:
			to.late.add(packet[:size], wire.Delay)
		default:
			_, _ = to.device.Write(packet[:size]) // a packet that gets lost is sent again
		}
	}
}

// route returns where an IPv4 packet goes, or nil.
func (n *Network) route(from *Host, packet []byte) (*Host, Wire) {
	const headerSize, destination = 20, 16
	if len(packet) < headerSize || packet[0]>>4 != 4 {
		return nil, Wire{}
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	to := n.hosts[netip.AddrFrom4([4]byte(packet[destination:]))]
	return to, n.wires[way{from, to}]
}
