// Proxy passes the bytes of TCP connections on to another server, and back, whatever they mean.
//
//	$ proxy -listen localhost:8000 -to localhost:7000         $ echo -listen localhost:7000, of examples/echo, elsewhere
//	127.0.0.1:8000 leads to localhost:7000; Ctrl-C ends it    $ printf 'hello\nworld\n' | echo -connect localhost:8000
//	                                                          connected to 127.0.0.1:8000; type a line, or Ctrl-D to end
//	                                                            hello  (910µs)
//	1 connections: 18 bytes from clients, 18 to them            world  (96µs)
//
// A side that takes nothing stops the reading of the other, so a connection holds a bounded amount of memory (-buffer),
// however quick the one and slow the other. A side that has sent all may still receive (a half-close); one that breaks
// off breaks off the other.
//
// A libnet session ends with its peer's end, and half-closes only to end itself. So wire.go has a codec that makes the
// peer's end a message, and half-closes the connection. Where half-closes need not pass, a codec.Framing that takes any
// bytes does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

func main() {
	listen := flag.String("listen", "", "take connections at this `address`")
	to := flag.String("to", "", "and pass them on to this `address`")
	buffer := flag.Int("buffer", 64<<10, "`bytes` of each of a connection's buffers: four of sockets, about six in this process")
	stall := flag.Duration("stall", 5*time.Minute, "how long a side may take nothing, or be unreachable")
	grace := flag.Duration("grace", 10*time.Second, "how long connections may go on after Ctrl-C")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *to, *buffer, *stall, *grace, os.Stdout); err != nil {
		log.Fatal("proxy: ", err)
	}
}

// run is the program without its process.
func run(ctx context.Context, listen, to string, buffer int, stall, grace time.Duration, stdout io.Writer) error {
	if listen == "" || to == "" || buffer < 4096 {
		return errors.New("-listen and -to say between what, and -buffer is 4096 at least")
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	p := &proxy{wires: wires{listener, buffer}, to: to}
	p.dialer.Protocol = codec.New(codec.Lines, codec.Bytes) // of no use: a wire brings its own
	// With a SendQueue of 0 Send returns when the kernel has the bytes. Nothing is read before.
	p.dialer.Config = libnet.Config{MaxMessage: -1, SendBuffer: buffer, ReceiveBuffer: buffer, WriteTimeout: stall, PeerTimeout: stall}
	server := libnet.NewServer(&p.wires, p.dialer.Protocol, 0)
	server.Config, server.MaxSessions = p.dialer.Config, 9000 // two descriptors each, of 20,000
	fmt.Fprintf(stdout, "%v leads to %s; Ctrl-C ends it\n", listener.Addr(), to)
	broken := make(chan error, 1)
	go func() { broken <- server.Serve(p) }()
	select {
	case err = <-broken:
	case <-ctx.Done():
		listener.Close() // nobody comes any more; who is there has the time to end
		for end := time.Now().Add(grace); server.Stats().Open > 0 && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
	}
	for s := range server.Manager().All() {
		breakOff(libnet.ErrServerClosed, s)
	}
	drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = errors.Join(err, server.Shutdown(drain))
	stats := server.Stats()
	fmt.Fprintf(stdout, "%d connections: %d bytes from clients, %d to them\n", stats.Accepted, stats.BytesIn, stats.BytesOut)
	return err
}

type proxy struct {
	wires  wires
	to     string
	dialer libnet.Dialer
}

// ServeSession is a client's connection.
func (p *proxy) ServeSession(client *libnet.Session) {
	var upstream *libnet.Session
	conn, err := p.wires.wire(net.DialTimeout("tcp", p.to, 10*time.Second))
	if err == nil {
		upstream, err = p.dialer.NewSession(conn)
	}
	if err != nil {
		breakOff(err, client)
		return
	}
	defer upstream.Close()
	var back sync.WaitGroup
	back.Go(func() { pass(upstream, client) })
	pass(client, upstream)
	back.Wait()
}

// pass passes on what comes from one side, until its end.
func pass(from, to *libnet.Session) {
	for {
		msg, err := from.Receive()
		switch {
		case err == nil && from.Codec().(*anything).ended:
			if err = to.Codec().(*anything).CloseWrite(); err == nil {
				return
			}
		case err == nil:
			err = to.Send(msg)
		}
		if err != nil {
			breakOff(err, from, to)
			return
		}
	}
}

// breakOff resets connections, so that nobody takes what came for all there was.
func breakOff(err error, sessions ...*libnet.Session) {
	for _, s := range sessions {
		if c, ok := s.Codec().(*anything); ok {
			c.SetLinger(0)
		}
		s.CloseWithError(err)
	}
}
