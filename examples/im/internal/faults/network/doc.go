// Package network is a network of hosts on one machine, whose wires can be cut and made slow. It needs root, Linux and
// /dev/net/tun, and touches nothing but the network namespaces that it makes.
//
//	n, err := network.New(netip.MustParsePrefix("10.77.0.0/16")) // this process is one of the hosts
//	here, err := n.Join("clients", netip.MustParseAddr("10.77.0.1"))
//	a, err := n.Add("a", netip.MustParseAddr("10.77.0.2"))
//	err = a.Start(exec.Command("server")) // it runs on host a
//	n.Set(a, here, network.Wire{Cut: true}) // what a sends does not arrive; what is sent to it does
//
// Each host is a network namespace with one TUN device, and this process carries every packet from one device to
// another: a packet that must not arrive is dropped, one that is late is kept. No rule of the kernel is involved, so
// the faults need neither iptables nor netem, and a wire can be cut in one direction.
package network
