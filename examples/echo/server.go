package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/libnet-go/libnet"
)

// echo sends back what it receives. A client that does not read is made to wait with it, and is given up
// after Config.WriteTimeout.
func echo(s *libnet.Session) {
	for msg := range s.Messages() {
		if s.SendBytesContext(context.Background(), msg) != nil {
			return
		}
	}
}

// serve is echo -listen. At a hangup, if there is any, another process is to take over.
func serve(ctx context.Context, address, watch string, hangups <-chan os.Signal, stdout io.Writer) error {
	server, err := listenOrTake(ctx, address, stdout)
	if err != nil {
		return err
	}
	defer server.Stop()
	hide, err := showMonitor(watch, server, stdout)
	if err != nil {
		return err
	}
	defer hide()
	fmt.Fprintf(stdout, "listening at %v; Ctrl-C ends it\n", server.Listener().Addr())
	served := make(chan error, 1)
	go func() { served <- server.Serve(libnet.HandlerFunc(echo)) }()
	switch err = await(ctx, server, served, hangups, stdout); {
	case err == libnet.ErrServerClosed: // another process has the sessions
		err = nil
	case ctx.Err() != nil:
		fmt.Fprintf(stdout, "\nshutting down: %d sessions\n", server.Stats().Open)
		err = shutDown(server)
	}
	stats := server.Stats()
	fmt.Fprintf(stdout, "%d sessions were served, %d messages received and %d sent, %d discarded\n",
		stats.Accepted, stats.MessagesIn, stats.MessagesOut, stats.Discarded)
	return err
}

// shutDown delivers what has been accepted, for at most 10 s.
func shutDown(server *libnet.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}
