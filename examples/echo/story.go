package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/libnet-go/libnet"
)

// A story is what echo does without arguments.
type story struct {
	clients int
	window  int           // messages that each client has on their way
	length  time.Duration // of the echoing
	watched time.Duration // the same when somebody watches
}

var defaultStory = story{clients: 8, window: 16, length: 2 * time.Second, watched: time.Minute}

// tell starts a server and clients and prints what becomes of them. Its error is what did not go as it
// must. watch is the address for a monitor, if one is wanted.
func tell(ctx context.Context, w io.Writer, s story, watch string) error {
	if watch != "" {
		s.length = s.watched
	}
	server, err := libnet.Serve("tcp", "127.0.0.1:0", protocol, s.window)
	if err != nil {
		return err
	}
	defer server.Stop()
	served := make(chan error, 1)
	go func() { served <- server.Serve(libnet.HandlerFunc(echo)) }()
	address := server.Listener().Addr().String()

	fmt.Fprintf(w, "An echo server at %s, and %d clients in the same process, over TCP.\n", address, s.clients)
	fmt.Fprintf(w, "Each keeps %d messages of %d to %d bytes on their way, for %v.\n\n",
		s.window, header, header+longest, s.length)
	hide, err := showMonitor(watch, server, w)
	if err != nil {
		return err
	}
	defer hide()
	clients, err := startClients(ctx, address, s)
	if err != nil {
		return err
	}
	sum, err := clients.echo(ctx, s.length)
	if err != nil {
		return err
	}
	sum.print(w)

	if err := offend(w, address); err != nil {
		return err
	}
	began := time.Now()
	if err := shutDown(server); err != nil {
		return err
	}
	if err := <-served; err != libnet.ErrServerClosed {
		return err
	}
	if err := clients.end(); err != nil {
		return err
	}
	fmt.Fprintf(w, "The server shut down in %v, and every client saw an orderly end.\n\n", time.Since(began).Round(time.Microsecond))
	return compareCounters(w, server.Stats(), sum)
}

// clients are those of one story.
type clients struct {
	all   []*client
	ended chan error // for each, why it no longer receives
}

func startClients(ctx context.Context, address string, s story) (*clients, error) {
	cs := &clients{ended: make(chan error, s.clients)}
	for range s.clients {
		c, err := dialClient(ctx, address, s.window)
		if err != nil {
			return nil, err
		}
		cs.all = append(cs.all, c)
		go func() { cs.ended <- c.receive() }()
	}
	return cs, nil
}

// echo has all clients send for a while, and adds up what they did once everything has come back.
func (cs *clients) echo(ctx context.Context, length time.Duration) (sum summary, err error) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	began := time.Now()
	var sending sync.WaitGroup
	errs := make([]error, len(cs.all))
	for i, c := range cs.all {
		sending.Go(func() { errs[i] = c.send(ctx) })
	}
	sending.Wait()
	sum.took = time.Since(began)
	for _, c := range cs.all {
		sum.add(c)
	}
	return sum, errors.Join(errs...)
}

// end expects every client to have received the orderly end of the server's side.
func (cs *clients) end() error {
	for range cs.all {
		if err := <-cs.ended; err != io.EOF {
			return fmt.Errorf("a client ended with: %w", err)
		}
	}
	return nil
}

// A summary adds up what clients did.
type summary struct {
	clients        int
	sent, received uint64
	bytes          uint64
	took           time.Duration
	latencies      []time.Duration
}

func (sum *summary) add(c *client) {
	sum.clients++
	sum.sent += c.sent
	sum.received += c.received
	sum.bytes += c.bytesSent
	sum.latencies = append(sum.latencies, c.latencies...)
}

func (sum *summary) print(w io.Writer) {
	slices.Sort(sum.latencies)
	rate := float64(sum.received) / sum.took.Seconds()
	fmt.Fprintf(w, "  sessions  %d\n", sum.clients)
	fmt.Fprintf(w, "  messages  %s sent, %s received, each compared with what was sent\n", digits(sum.sent), digits(sum.received))
	fmt.Fprintf(w, "  bytes     %.1f MB each way\n", float64(sum.bytes)/1e6)
	fmt.Fprintf(w, "  rate      %s messages a second, there and back\n", digits(uint64(rate)))
	fmt.Fprintf(w, "  latency   p50 %v, p99 %v\n", sum.percentile(50), sum.percentile(99))
}

// digits writes n with a comma before each three.
func digits(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// percentile is the latency that p of 100 messages did not exceed. The latencies are sorted.
func (sum *summary) percentile(p int) time.Duration {
	if len(sum.latencies) == 0 {
		return 0
	}
	return sum.latencies[(len(sum.latencies)-1)*p/100].Round(time.Microsecond)
}

// offend is a client that claims to send 4 GiB. The server must end it upon that, without an answer.
func offend(w io.Writer, address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	const claimed uint32 = 1<<32 - 1
	if _, err := conn.Write(binary.BigEndian.AppendUint32(nil, claimed)); err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := conn.Read(make([]byte, 1))
	if n != 0 || err != io.EOF {
		return fmt.Errorf("a client that claimed %d bytes was not refused: %d, %v", claimed, n, err)
	}
	fmt.Fprintf(w, "\nA client announced a message of %s bytes, where %s are the limit: the server hung up.\n", digits(uint64(claimed)), digits(maxMessage))
	return nil
}

// compareCounters fails when the clients and the server counted differently.
func compareCounters(w io.Writer, stats libnet.ServerStats, sum summary) error {
	fmt.Fprintf(w, "Its counters: %s messages in, %s out, %d discarded; %d sessions, ended as\n",
		digits(stats.MessagesIn), digits(stats.MessagesOut), stats.Discarded, stats.Accepted)
	for _, reason := range slices.Sorted(maps.Keys(stats.Closed)) {
		fmt.Fprintf(w, "  %-16s %d\n", reason, stats.Closed[reason])
	}
	switch {
	case sum.sent == 0 || sum.sent != sum.received:
		return fmt.Errorf("the clients sent %d messages and received %d", sum.sent, sum.received)
	case stats.MessagesIn != sum.sent || stats.MessagesOut != sum.sent || stats.Discarded != 0:
		return fmt.Errorf("the clients sent %d messages, the server counts %d in, %d out, %d discarded",
			sum.sent, stats.MessagesIn, stats.MessagesOut, stats.Discarded)
	case stats.Closed["frame_too_large"] != 1 || stats.Open != 0:
		return fmt.Errorf("sessions closed, by reason: %v; %d are open", stats.Closed, stats.Open)
	}
	fmt.Fprintf(w, "\nsent = received = %s\n", digits(sum.received))
	return nil
}
