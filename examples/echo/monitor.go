package main

import (
	"context"
	"fmt"
	"io"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/monitor"
)

// showMonitor is -monitor: it shows server at address until stop, which the caller calls when the server has
// ended, so that /readyz tells of its shutdown. Without an address it does nothing.
func showMonitor(address string, server *libnet.Server, stdout io.Writer) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	options := monitor.Options{RemoteAddrs: true} // those of whoever tries the example
	listener, err := options.Listen(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- options.Serve(ctx, listener, server) }()
	fmt.Fprintf(stdout, "monitor: http://%v/\n", listener.Addr())
	return func() {
		cancel()
		if err := <-ended; err != nil {
			fmt.Fprintln(stdout, err)
		}
	}, nil
}
