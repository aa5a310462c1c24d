package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/handover"
)

// hangups tells of SIGHUP, if the program can be upgraded: with -upgrade.
func hangups(upgrade bool) <-chan os.Signal {
	if !upgrade {
		return nil
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// listenOrTake takes over the server of the process that has started this one, or listens. An echo server has no state
// to thaw.
func listenOrTake(ctx context.Context, address string, stdout io.Writer) (*libnet.Server, error) {
	conn, err := handover.Inherited()
	if err != nil {
		return nil, err
	}
	if conn == nil {
		return libnet.Serve("tcp", address, protocol, 128)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	server, result, err := handover.Take(ctx, conn, func(l net.Listener) (*libnet.Server, error) {
		return libnet.NewServer(l, protocol, 128), nil
	}, handover.TakeOptions{})
	if err == nil {
		fmt.Fprintf(stdout, "process %d takes over %d sessions\n", os.Getpid(), result.Moved)
		err = handover.Notify("READY=1", fmt.Sprintf("MAINPID=%d", os.Getpid()))
	}
	return server, err
}

// await waits until the server has ended, or is to. What comes of a hangup that gives nothing away is told, and no
// more.
func await(ctx context.Context, server *libnet.Server, served <-chan error, hangups <-chan os.Signal, stdout io.Writer) error {
	for {
		select {
		case err := <-served: // the listener broke, or another process has the server
			return err
		case <-ctx.Done():
			return nil
		case <-hangups:
			result, err := startNext(ctx, server)
			fmt.Fprintf(stdout, "%d sessions moved, %v stayed: %v\n", result.Moved, result.Stayed, err)
		}
	}
}

// startNext has this program started anew, with the same arguments, and gives it the server.
func startNext(ctx context.Context, server *libnet.Server) (handover.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	next := exec.Command(os.Args[0], os.Args[1:]...)
	next.Stdin, next.Stdout, next.Stderr = os.Stdin, os.Stdout, os.Stderr
	return handover.Upgrade(ctx, next, server, handover.GiveOptions{Drain: 10 * time.Second})
}
