package embedded

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below the range that Linux and macOS hand out by themselves. A server that is
// stopped for an outage wants its port back: nobody else is given it meanwhile, and a client that
// dials it cannot be connected to itself, as happens on the loopback interface when the system picks
// the port that is being dialled as the dialling socket's own.
const (
	lowestPort  = 12000
	highestPort = 32000
	portTries   = 100
)

// freePort returns a port of the loopback interface on which nobody listens now.
func freePort() (int, error) {
	var err error
	for range portTries {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("embedded: no free port in %d tries: %w", portTries, err)
}
