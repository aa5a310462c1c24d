package ws_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

func TestSessionsOverTLSAndToTrustedServersOnly(t *testing.T) {
	var r *rig
	var web *httptest.Server
	r = start(t, setup{queue: 1000, serve: func(s *http.Server, _ net.Listener) error {
		return nil // the server below serves
	}, handler: echo})
	web = httptest.NewUnstartedServer(ws.Handler(r.Server, echo, nil))
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	web.StartTLS()
	t.Cleanup(web.Close)
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	url := "wss" + strings.TrimPrefix(web.URL, "https")

	d := &libnet.Dialer{Protocol: frames}
	d.SendQueue = 1000
	if _, err := ws.Dial(t.Context(), url, d, nil); err == nil {
		t.Error("dialled a server that is not trusted")
	}
	d.TLSConfig = &tls.Config{RootCAs: roots, ServerName: "example.com"}
	client, err := ws.Dial(t.Context(), url, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	if state, ok := client.TLS(); !ok || len(state.PeerCertificates) == 0 {
		t.Error("no TLS state")
	}
	for i := range 500 {
		send(t, client, numbered(i))
	}
	for i := range 500 {
		want(t, client, numbered(i))
	}
	if err := client.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// encodings counts what a server's protocol encodes.
type encodings struct {
	libnet.Protocol
	n atomic.Int64
}

func (e *encodings) NewCodec(rw io.ReadWriter) libnet.Codec {
	return &countingCodec{e.Protocol.NewCodec(rw), &e.n}
}

type countingCodec struct {
	libnet.Codec
	n *atomic.Int64
}

func (c *countingCodec) AppendFrame(dst []byte, msg any) ([]byte, error) {
	c.n.Add(1)
	return c.Codec.(libnet.FrameAppender).AppendFrame(dst, msg)
}

func (c *countingCodec) ParseFrame(src []byte) ([]byte, int, error) {
	return c.Codec.(libnet.FrameParser).ParseFrame(src)
}

func TestABroadcastReachesMembersOverTCPAndWebSocketAndIsEncodedOnceForEach(t *testing.T) {
	for name, comparable := range map[string]bool{"a comparable protocol": true, "a function": false} {
		t.Run(name, func(t *testing.T) {
			counted := &encodings{Protocol: frames}
			var protocol libnet.Protocol = counted
			if !comparable {
				protocol = libnet.ProtocolFunc(counted.NewCodec)
			}
			var group libnet.Group[uint64]
			joined := make(chan struct{}, 10)
			member := libnet.HandlerFunc(func(s *libnet.Session) {
				group.Put(s.ID(), s)
				joined <- struct{}{}
				sink(s)
			})
			r := start(t, setup{protocol: protocol, queue: 100, handler: member, config: func(srv *libnet.Server) {
				srv.SendQueueBytes = 10 << 20
			}})
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			// One server: its listener is of no use here, so TCP comes in as conns from elsewhere.
			var serving sync.WaitGroup
			defer serving.Wait()
			defer listener.Close()
			serving.Go(func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					serving.Go(func() { r.ServeConn(conn, member) })
				}
			})
			var clients []*libnet.Session
			for range 5 {
				clients = append(clients, r.dial(t, 0))
				client, err := libnet.Connect("tcp", listener.Addr().String(), frames, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				clients = append(clients, client)
				<-joined
				<-joined
			}
			large := strings.Repeat("large ", 10_000) // shared by the queues and not copied
			for i := range 20 {
				for _, msg := range []string{numbered(i), large} {
					if result := group.Broadcast(msg); result != (libnet.BroadcastResult{Sent: 10}) {
						t.Fatalf("%+v", result)
					}
				}
			}
			if n := counted.n.Load(); n != 2*2*20 {
				t.Errorf("encoded %d times, want 80", n)
			}
			for _, client := range clients {
				for i := range 20 {
					want(t, client, numbered(i))
					want(t, client, large)
				}
			}
			r.Stop()
		})
	}
}

func TestShutdownOfTheServerLosesNothing(t *testing.T) {
	const clients, each = 20, 50
	payload := strings.Repeat("x", 16000)
	fill := func(srv *libnet.Server) { srv.SendBuffer, srv.Linger = 4<<10, soon } // the most of it is queued when the server closes
	r := start(t, setup{queue: each, config: fill, handler: libnet.HandlerFunc(func(s *libnet.Session) {
		for range each {
			s.Send(payload)
		}
		sink(s)
	})})
	var received atomic.Int64
	var running sync.WaitGroup
	all := make(chan struct{}) // are connected: those that send would keep others from it
	closing := make(chan struct{})
	for range clients {
		client := r.dial(t, 1000)
		running.Go(func() { // and what it sends lies unread when the server closes
			<-all
			for client.Send("more") == nil {
				time.Sleep(5 * time.Millisecond)
			}
		})
		running.Go(func() {
			<-closing
			for {
				if _, err := client.Receive(); err != nil {
					if err != io.EOF {
						t.Error(err)
					}
					return
				}
				received.Add(1)
			}
		})
	}
	for range clients {
		r.session(t)
	}
	for r.Stats().MessagesOut+uint64(queued(r.Server)) < clients*each {
		time.Sleep(time.Millisecond)
	}
	close(all)
	for r.Stats().MessagesIn < clients {
		time.Sleep(time.Millisecond)
	}
	close(closing)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := r.Server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	running.Wait()
	if n := received.Load(); n != clients*each {
		t.Errorf("received %d of %d", n, clients*each)
	}
}

func queued(srv *libnet.Server) (n int) {
	for s := range srv.Manager().All() {
		n += s.Stats().Queued
	}
	return n
}

func TestTheCloseCodeTellsThePeerWhy(t *testing.T) {
	closing := errors.New("some reason")
	for name, test := range map[string]struct {
		end  func(r *rig, s *libnet.Session)
		code websocket.StatusCode
	}{
		"Close":             {func(r *rig, s *libnet.Session) { s.Close() }, 1000},
		"Shutdown":          {func(r *rig, s *libnet.Session) { s.Shutdown(context.Background()) }, 1000},
		"Server.Stop":       {func(r *rig, s *libnet.Session) { r.Stop() }, 1001},
		"Server.Shutdown":   {func(r *rig, s *libnet.Session) { r.Server.Shutdown(context.Background()) }, 1001},
		"a reason":          {func(r *rig, s *libnet.Session) { s.CloseWithError(closing) }, 1008},
		"a panic":           {func(r *rig, s *libnet.Session) { s.CloseWithError(libnet.ErrPanic) }, 1011},
		"a chosen code":     {func(r *rig, s *libnet.Session) { s.CloseWithError(websocket.CloseError{Code: 4001}) }, 4001},
		"a forbidden code":  {func(r *rig, s *libnet.Session) { s.CloseWithError(websocket.CloseError{Code: 1006}) }, 1000},
		"too long a reason": {func(r *rig, s *libnet.Session) { s.CloseWithError(longReason) }, 4002},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, setup{handler: sink})
			browser := r.browser(t)
			s := r.session(t)
			go test.end(r, s)
			wantCode(t, browser, test.code)
			<-s.Done()
		})
	}
}

var longReason = websocket.CloseError{Code: 4002, Reason: strings.Repeat("x", 124)}

func TestThePeerIsToldTheReasonThatWasChosen(t *testing.T) {
	r := start(t, setup{handler: sink})
	client := r.dial(t, 0)
	kicked := websocket.CloseError{Code: 4001, Reason: "logged in elsewhere"}
	r.session(t).CloseWithError(kicked)
	if _, err := client.Receive(); !errors.Is(err, kicked) {
		t.Fatal(err)
	}
}

func TestAHandlerThatPanicsEndsItsSessionOnly(t *testing.T) {
	r := start(t, setup{handler: libnet.HandlerFunc(func(s *libnet.Session) {
		msg, _ := s.Receive()
		if string(msg) == "panic" {
			panic("as asked")
		}
		s.Send(msg)
		sink(s)
	})})
	healthy := r.dial(t, 0)
	broken := r.browser(t)
	broken.Write(t.Context(), websocket.MessageBinary, []byte("panic"))
	wantCode(t, broken, websocket.StatusInternalError)
	send(t, healthy, "hello")
	want(t, healthy, "hello")
	for r.Stats().Open > 1 {
		time.Sleep(time.Millisecond)
	}
	if stats := r.Stats(); stats.Panics != 1 || stats.Open != 1 || stats.Closed["panic"] != 1 {
		t.Fatalf("%+v", stats)
	}
}

func TestWhatAHandlerQueuedIsDeliveredWhenItReturns(t *testing.T) {
	r := start(t, setup{queue: 1000, handler: libnet.HandlerFunc(func(s *libnet.Session) {
		for i := range 1000 {
			s.Send(numbered(i))
		}
	})})
	client := r.dial(t, 0)
	for i := range 1000 {
		want(t, client, numbered(i))
	}
	if _, err := client.Receive(); err != io.EOF {
		t.Fatal(err)
	}
	if err := client.Err(); err != io.EOF {
		t.Fatal(err)
	}
}

// writeCounter counts the writes of a listener's conns.
// A writeCounter's connections wait with their writes while there is a gate.
type writeCounter struct {
	net.Listener
	n    atomic.Int64
	gate atomic.Pointer[chan struct{}]
}

func (w *writeCounter) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{conn, w}, nil
}

type countedConn struct {
	net.Conn
	of *writeCounter
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.of.n.Add(1)
	if gate := c.of.gate.Load(); gate != nil {
		<-*gate
	}
	return c.Conn.Write(p)
}

func TestABatchOfMessagesIsFewWrites(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		writes := &writeCounter{Listener: pipes}
		const n = 1000
		queued := make(chan struct{})
		r := start(t, setup{listener: pipes, queue: n, serve: func(web *http.Server, _ net.Listener) error {
			return web.Serve(writes)
		}, handler: libnet.HandlerFunc(func(s *libnet.Session) {
			s.Receive()
			writes.gate.Store(&queued)
			for range n {
				s.Send("a message")
			}
			close(queued)
			sink(s)
		})})
		browser := r.browser(t)
		before := writes.n.Load()
		browser.Write(t.Context(), websocket.MessageBinary, nil)
		for range n {
			if _, _, err := browser.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if count := writes.n.Load() - before; count > n/20 {
			t.Errorf("%d writes for %d messages", count, n)
		}
	})
}

func TestServersAndClientsLeaveNothingBehind(t *testing.T) {
	libnettest.VerifyNone(t)
	r := start(t, setup{queue: 10})
	r.useEachClient(t)
	if _, ok := r.dial(t, 0).TLS(); ok {
		t.Error("TLS without TLS")
	}
}

func (r *rig) useEachClient(t testing.TB) {
	t.Helper()
	for range 20 {
		client := r.dial(t, 10)
		send(t, client, "hello")
		want(t, client, "hello")
		r.session(t)
	}
	r.browser(t)
	r.raw(t)
}
