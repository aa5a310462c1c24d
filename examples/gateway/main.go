// Gateway keeps sessions with electricity meters, which connect to it and push readings, and asks one of them when it
// is told its name.
//
//	$ gateway -listen :4059                                          $ gateway -simulate 10000    # in another process
//	meters at [::]:4059; type a name to ask one, Ctrl-C to end       10000 meters push each 10s; Ctrl-C ends them
//	LNT0000000000042
//	3 Wh, error: <nil>; 10000 meters, 18730 readings
//	20927 readings in 10000 sessions
//
// The protocol is DLMS/COSEM, as much of it as this takes. A meter is who it says it is: a gateway for strangers asks
// for certificates (libnet.Server.TLSConfig), or does DLMS's security. With 20,000 descriptors a process has 18,000
// meters, or simulates as many.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/reconnect"
)

// The wrapper of IEC 62056-4-7, once 62056-47, and the Green Book: version, source, destination, length, 2 bytes each;
// an APDU so long.
var protocol = codec.New(codec.LengthField{Offset: 6, Size: 2}, codec.Bytes)

// The APDUs (IEC 62056-5-3) between logical device 1 and client 102, whose association is established: a
// data-notification of the logical device name and what a meter shows, the imported energy (OBIS 1-0:1.8.0*255); a
// get-request-normal for that; its get-response-normal.
func push(name string, shows uint32) []byte {
	return binary.BigEndian.AppendUint32(append(append([]byte{0, 1, 0, 1, 0, 102, 0, 0, 0x0F, 0, 0, 0, 1, 0, 2, 2, 9, 16}, name...), 6), shows)
}
func request(invoke byte) []byte {
	return []byte{0, 1, 0, 102, 0, 1, 0, 0, 0xC0, 1, invoke, 0, 3, 1, 0, 1, 8, 0, 255, 2, 0}
}
func answer(invoke byte, shows uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{0, 1, 0, 1, 0, 102, 0, 0, 0xC4, 1, invoke, 0, 6}, shows)
}
func isPush(msg []byte) bool    { return len(msg) == 39 && is(msg, push(nameIn(msg), shows(msg))) }
func isRequest(msg []byte) bool { return len(msg) == 21 && is(msg, request(msg[10])) }
func isAnswer(msg []byte) bool  { return len(msg) == 17 && is(msg, answer(msg[10], shows(msg))) }
func nameIn(msg []byte) string  { return string(msg[18:34]) }
func shows(msg []byte) uint32   { return binary.BigEndian.Uint32(msg[len(msg)-4:]) }
func is(msg, want []byte) bool  { copy(want[6:8], msg[6:]); return string(msg) == string(want) }

type gateway struct {
	meters   libnet.Group[string] // sessions by name; they leave when they end
	readings atomic.Int64
}

// A meter is the State of a session.
type meter struct {
	name  string
	asked atomic.Uint32
	asks  sync.Map // a chan uint32 for the answer to each command that is under way, by its invoke id
}

func main() {
	listen := flag.String("listen", "localhost:4059", "serve meters at this `address`")
	meters := flag.Int("simulate", 0, "be so many meters, and no gateway")
	connect := flag.String("connect", "127.0.0.1:4059", "the `address` of their gateway")
	every := flag.Duration("every", 10*time.Second, "how often each pushes what it shows")
	var proxies netip.Prefix
	flag.TextVar(&proxies, "proxies", proxies, "believe load balancers of this `network`, like 10.0.0.0/8, whose connections they pass on (PROXY protocol)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *meters > 0 {
		simulate(ctx, *connect, *meters, *every, os.Stdout)
	} else if err := serve(ctx, *listen, proxies, os.Stdin, os.Stdout); err != nil {
		log.Fatal("gateway: ", err)
	}
}

func serve(ctx context.Context, address string, proxies netip.Prefix, stdin io.Reader, stdout io.Writer) error {
	server, err := libnet.Serve("tcp", address, protocol, 16) // 16 commands may be under way to each meter
	if err != nil {
		return err
	}
	g := new(gateway)
	server.OnSession, server.MaxSessions, server.MaxSessionsPerIP = g.login, 18_000, 100
	server.HandshakeTimeout, server.IdleTimeout = 10*time.Second, 5*time.Minute // until the first push; between two
	server.ServeArrived, server.MaxMessage = true, 1024                         // readings that have arrived when the gateway ends are counted
	server.ProxyProtocol.Trusted = []netip.Prefix{proxies}                      // nobody, where it is zero
	fmt.Fprintf(stdout, "meters at %v; type a name to ask one, Ctrl-C to end\n", server.Listener().Addr())
	go func() {
		for names := bufio.NewScanner(stdin); names.Scan(); {
			shows, err := g.ask(names.Text())
			fmt.Fprintf(stdout, "%d Wh, error: %v; %d meters, %d readings\n", shows, err, g.meters.Len(), g.readings.Load())
		}
	}()
	err = server.ServeUntil(ctx, -1, func() error { return server.ServeMessages(g) }) // and then within WriteTimeout and Linger
	fmt.Fprintf(stdout, "%d readings in %d sessions\n", g.readings.Load(), server.Stats().Accepted)
	return err
}

// login is the server's OnSession. A meter that lost its connection may be back before its old session is known to have
// ended.
func (g *gateway) login(s *libnet.Session) error {
	msg, err := s.Receive()
	if err != nil || !isPush(msg) {
		return cmp.Or(err, errors.New("no login"))
	}
	s.State = &meter{name: nameIn(msg)}
	if old := g.meters.Swap(nameIn(msg), s); old != nil {
		go old.ShutdownWithError(context.Background(), errors.New("the meter has come again"))
	}
	g.readings.Add(1)
	return nil
}

func (g *gateway) ServeMessage(s *libnet.Session, msg []byte) {
	switch m := s.State.(*meter); {
	case isPush(msg) && nameIn(msg) == m.name:
		g.readings.Add(1)
	case isAnswer(msg):
		if c, ok := m.asks.LoadAndDelete(msg[10]); ok {
			c.(chan uint32) <- shows(msg)
		}
	default:
		s.CloseWithError(errors.New("neither a push nor an answer"))
	}
}

// ask has a meter tell what it shows.
func (g *gateway) ask(name string) (uint32, error) {
	s := g.meters.Get(name)
	if s == nil {
		return 0, errors.New("is not connected")
	}
	m, c := s.State.(*meter), make(chan uint32, 1)
	invoke := 0xC0 | byte(m.asked.Add(1)%16) // confirmed, and of high priority
	m.asks.Store(invoke, c)
	if err := s.Send(request(invoke)); err != nil {
		return 0, err
	}
	select {
	case shows := <-c:
		return shows, nil
	case <-s.Done():
		return 0, s.Err()
	case <-time.After(5 * time.Second):
		return 0, errors.New("does not answer")
	}
}

// simulate is gateway -simulate. Each 50 meters have an IP address of this machine, of which Linux's loopback has
// enough.
func simulate(ctx context.Context, address string, n int, every time.Duration, stdout io.Writer) {
	var meters sync.WaitGroup
	var sent atomic.Uint64
	for i := 0; i < n && ctx.Err() == nil; i++ {
		meters.Go(func() { simulateMeter(ctx, address, i, every, &sent) })
		time.Sleep(every / time.Duration(n))
	}
	fmt.Fprintf(stdout, "%d meters push each %v; Ctrl-C ends them\n", n, every)
	meters.Wait()
	fmt.Fprintf(stdout, "%d messages were sent\n", sent.Load())
}

func simulateMeter(ctx context.Context, address string, i int, every time.Duration, sent *atomic.Uint64) {
	var counter atomic.Uint32
	next := func(*libnet.Session) any { return push(fmt.Sprintf("LNT%013d", i), counter.Add(1)) }
	dialer := libnet.Dialer{Protocol: protocol}
	dialer.SendQueue, dialer.Heartbeat = 16, libnet.Heartbeat{Interval: every, Message: next}
	dialer.NetDialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i/50))}
	link := reconnect.Client{
		Dial: func(ctx context.Context) (*libnet.Session, error) { return dialer.Dial(ctx, "tcp", address) },
		OnConnect: func(_ context.Context, s *libnet.Session) error {
			s.OnClose(func() { sent.Add(s.Stats().MessagesOut) })
			return s.Send(next(s))
		},
		Handler: libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
			if isRequest(msg) {
				s.Send(answer(msg[10], counter.Load()))
			}
		}),
		Logger: slog.New(slog.DiscardHandler), // else each of them tells that the gateway has gone
	}
	link.Start()
	<-ctx.Done()
	link.Shutdown(context.Background()) // it holds nothing, so there is no gateway to wait for
}
