package ws_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

// connect returns a connection to the server on which nothing was said.
func (r *rig) connect(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", r.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(soon))
	if r.tls {
		return tls.Client(conn, testkit.ClientTLS())
	}
	return conn
}

func wantEcho(t testing.TB, in io.Reader, msg string) {
	t.Helper()
	echoed := make([]byte, 2+len(msg))
	if _, err := io.ReadFull(in, echoed); err != nil || string(echoed[2:]) != msg {
		t.Fatalf("%q, %v; want %q", echoed, err, msg)
	}
}

func wantUpgrade(t testing.TB, in *bufio.Reader) {
	t.Helper()
	response, err := http.ReadResponse(in, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response, err)
	}
}

func TestFramesInTheSegmentOfTheRequestAreNotLost(t *testing.T) {
	eachOwnListener(t, func(t *testing.T) {
		r := start(t, setup{queue: 8})
		conn := r.connect(t)
		write(t, conn, upgradeRequest+frame(fin|binaryFrame, "early")+frame(ping, "?")+frame(fin|text, "half a frame")[:9])
		in := bufio.NewReader(conn)
		wantUpgrade(t, in)
		wantEcho(t, in, "early")
		wantEcho(t, in, "?")
		write(t, conn, frame(fin|text, "half a frame")[9:])
		wantEcho(t, in, "half a frame")
	})
}

func TestARequestAndFramesMayArriveByteByByte(t *testing.T) {
	eachOwnListener(t, func(t *testing.T) {
		r := start(t, setup{queue: 8})
		conn := r.connect(t)
		for _, b := range []byte(upgradeRequest + frame(binaryFrame, "frag") + frame(ping, "?") + frame(fin, "ments")) {
			write(t, conn, string([]byte{b}))
		}
		in := bufio.NewReader(conn)
		wantUpgrade(t, in)
		wantEcho(t, in, "?")
		wantEcho(t, in, "fragments")
	})
}

// masked is a frame whose mask changes its payload.
func masked(first byte, payload string) string {
	f := []byte(frame(first, payload))
	at := len(f) - len(payload)
	key := f[at-4 : at]
	copy(key, "\x12\x34\x56\x78")
	for i := range len(payload) {
		f[at+i] ^= key[i%4]
	}
	return string(f)
}

// A frame that is not whole is looked at again when more of it has come: it must be unmasked once.
func TestAFrameInPiecesIsUnmaskedOnce(t *testing.T) {
	eachOwnListener(t, func(t *testing.T) {
		r := start(t, setup{queue: 8})
		conn, in := r.raw(t)
		msg := strings.Repeat("0123456789", 30)
		f := masked(fin|binaryFrame, msg)
		for at := 0; at < len(f); at += 7 {
			write(t, conn, f[at:min(at+7, len(f))])
			time.Sleep(time.Millisecond)
		}
		echoed := make([]byte, 4+len(msg))
		if _, err := io.ReadFull(in, echoed); err != nil || string(echoed[4:]) != msg {
			t.Fatalf("%q, %v", echoed, err)
		}
	})
}

func request(header ...string) string {
	return strings.TrimSuffix(upgradeRequest, "\r\n") + strings.Join(append(header, ""), "\r\n") + "\r\n"
}

func TestARequestThatIsWrongIsAnsweredAndClosed(t *testing.T) {
	without := func(field string) string {
		var kept []string
		for line := range strings.Lines(upgradeRequest) {
			if !strings.HasPrefix(line, field) {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	for name, test := range map[string]struct {
		request string
		status  int
	}{
		"no HTTP":             {"\x16\x03\x01", 400},
		"a malformed request": {"GET / SOMETHING\r\n\r\n", 400},
		"no request line":     {"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400},
		"no Host":             {without("Host:"), 400},
		"a body":              {request("Content-Length: 5") + "hello", 400},
		"a chunked body":      {request("Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n", 400},
		"a page":              {"GET / HTTP/1.1\r\nHost: libnet.test\r\n\r\n", 426},
		"no upgrade":          {without("Upgrade:"), 426},
		"no connection":       {without("Connection:"), 426},
		"HTTP/1.0":            {strings.Replace(upgradeRequest, "HTTP/1.1", "HTTP/1.0", 1), 426},
		"POST":                {strings.Replace(upgradeRequest, "GET", "POST", 1), 405},
		"another version":     {strings.Replace(upgradeRequest, "Version: 13", "Version: 8", 1), 400},
		"no key":              {without("Sec-WebSocket-Key:"), 400},
		"a short key":         {strings.Replace(upgradeRequest, "AAAAAAAAAAAAAAAAAAAAAA==", base64.StdEncoding.EncodeToString(make([]byte, 15)), 1), 400},
		"two keys":            {request("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400},
		"a foreign origin":    {request("Origin: https://evil.test"), 403},
		"HTTP/2.0":            {strings.Replace(upgradeRequest, "HTTP/1.1", "HTTP/2.0", 1), 505},
		"HTTP/0.9":            {strings.Replace(upgradeRequest, "HTTP/1.1", "HTTP/0.9", 1), 505},
		"an HTTP/2 preface":   {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 505},
		"HEAD":                {strings.Replace(upgradeRequest, "GET", "HEAD", 1), 405},
		"CONNECT":             {strings.Replace(upgradeRequest, "GET /", "CONNECT libnet.test:443", 1), 405},
		"a lower-case method": {strings.Replace(upgradeRequest, "GET", "get", 1), 400},
		"two hosts":           {request("Host: other.test"), 400},
		"a Host in words":     {strings.Replace(upgradeRequest, "libnet.test", "<b>libnet test</b>", 1), 400},
		"a Host in two lines": {strings.Replace(upgradeRequest, "libnet.test", "libnet\r\n .test", 1), 400},
		"a spaced name":       {request("Content-Length : 5") + "hello", 400},
		"16 KiB of header":    {request("X: " + strings.Repeat("x", 16<<10)), 431},
		"an endless line":     {"GET /" + strings.Repeat("x", 17<<10), 431},
	} {
		t.Run(name, func(t *testing.T) {
			eachOwnListener(t, func(t *testing.T) {
				seen := make(chan struct{}, 1)
				r := start(t, setup{config: func(srv *libnet.Server) {
					srv.OnSession = func(*libnet.Session) error { seen <- struct{}{}; return nil }
				}})
				conn := r.connect(t)
				write(t, conn, test.request)
				in := bufio.NewReader(conn)
				response, err := http.ReadResponse(in, nil)
				if err != nil || response.StatusCode != test.status {
					t.Fatal(response, err)
				}
				if _, err := io.Copy(io.Discard, response.Body); err != nil {
					t.Error(err)
				}
				if _, err := in.ReadByte(); err != io.EOF {
					t.Errorf("the connection ends with %v", err)
				}
				conn.Close()
				testkit.Eventually(t, "no session to be open", func() bool { return r.Stats().Open == 0 })
				if len(seen) > 0 {
					t.Error("OnSession has seen it")
				}
				var refused *ws.HandshakeError
				if last := r.LastClosed(); len(last) == 0 || !errors.As(last[0].Err, &refused) || refused.StatusCode != test.status {
					t.Errorf("closed: %v", last)
				}
			})
		})
	}
}

// What a body holds would be taken for frames.
func TestARequestWithABodyIsNoUpgrade(t *testing.T) {
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{})
		for _, body := range []string{"Content-Length: 7\r\n\r\n" + frame(fin|binaryFrame, "x"), "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"} {
			conn := r.connect(t)
			write(t, conn, strings.TrimSuffix(upgradeRequest, "\r\n")+body)
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || response.StatusCode != http.StatusBadRequest {
				t.Errorf("%q: %v, %v", body, response, err)
			}
		}
	})
}

// A server that asks another one passes on what that has said: a header about another body, of which it has a part.
func TestCheckMayRefuseWithWhatAnotherServerAnswered(t *testing.T) {
	answered := &ws.HandshakeError{StatusCode: 503, Body: []byte("later"), Header: http.Header{
		"Content-Length": {"5000"}, "transfer-encoding": {"chunked"}, "Trailer": {"X"}, "Retry-After": {"7"},
	}}
	for _, m := range []mode{handlerMode, protocolServe, protocolEvents, messageHandlerMode} {
		inMode(t, m, func(t *testing.T) {
			r := start(t, setup{options: &ws.HandlerOptions{Check: func(*http.Request) error { return answered }}})
			conn := r.connect(t)
			write(t, conn, upgradeRequest)
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil || string(body) != "later" || response.StatusCode != 503 || response.Header.Get("Retry-After") != "7" {
				t.Errorf("%v, %q, %v", response, body, err)
			}
		})
	}
}

func TestCheckRefusesWithItsStatus(t *testing.T) {
	for _, m := range []mode{handlerMode, protocolServe, protocolEvents} {
		inMode(t, m, func(t *testing.T) {
			o := &ws.HandlerOptions{Check: func(r *http.Request) error {
				switch r.URL.Path {
				case "/login":
					return fmt.Errorf("first: %w", &ws.HandshakeError{StatusCode: 401, Header: http.Header{"Www-Authenticate": {"Bearer"}}, Body: []byte("log in")})
				case "/secret":
					return errors.New("a secret of the server's")
				case "/odd":
					return &ws.HandshakeError{StatusCode: 101}
				}
				return nil
			}}
			r := start(t, setup{options: o})
			for path, want := range map[string]struct {
				status int
				body   string
			}{"login": {401, "log in"}, "secret": {403, "Forbidden\n"}, "odd": {403, "Forbidden\n"}} {
				_, err := ws.Dial(t.Context(), r.url()+path, &libnet.Dialer{Protocol: frames}, nil)
				var e *ws.HandshakeError
				if !errors.As(err, &e) || e.StatusCode != want.status || string(e.Body) != want.body {
					t.Errorf("%s: %v: %+v", path, err, e)
				} else if path == "login" && e.Header.Get("Www-Authenticate") != "Bearer" || e.Header.Get("Sec-Websocket-Accept") != "" {
					t.Errorf("%s: %v", path, e.Header)
				}
			}
			s := r.dial(t, 0)
			send(t, s, "hello")
			want(t, s, "hello")
		})
	}
}

func TestAHandshakeIsBounded(t *testing.T) {
	for name, test := range map[string]struct {
		sent   string
		config func(*libnet.Server)
		reason error
	}{
		"nothing":           {"", func(srv *libnet.Server) { srv.HandshakeTimeout = time.Minute }, libnet.ErrHandshakeTimeout},
		"half":              {upgradeRequest[:20], func(srv *libnet.Server) { srv.HandshakeTimeout, srv.FrameTimeout = time.Minute, -1 }, libnet.ErrHandshakeTimeout},
		"half, by default":  {upgradeRequest[:20], func(srv *libnet.Server) { srv.FrameTimeout = time.Minute }, libnet.ErrFrameTimeout},
		"all but a message": {upgradeRequest, func(srv *libnet.Server) { srv.HandshakeTimeout = time.Minute }, libnet.ErrHandshakeTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			inMode(t, protocolEvents, func(t *testing.T) {
				inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
					wantHandshakeEnd(t, pipes, test.config, test.sent, test.reason)
				})
			})
		})
	}
}

// wantHandshakeEnd says something and then nothing, for a minute.
func wantHandshakeEnd(t *testing.T, pipes *libnettest.Listener, config func(*libnet.Server), sent string, reason error) {
	r := start(t, setup{listener: pipes, config: config})
	conn, err := pipes.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begin := time.Now()
	write(t, conn, sent)
	io.Copy(io.Discard, conn)
	if took := time.Since(begin); took != time.Minute {
		t.Errorf("took %v", took)
	}
	synctest.Wait()
	if last := r.LastClosed(); len(last) != 1 || !errors.Is(last[0].Err, reason) {
		t.Errorf("%v", last)
	}
}

func TestStopEndsHandshakesThatWait(t *testing.T) {
	libnettest.VerifyNone(t)
	eachProtocolMode(t, func(t *testing.T) {
		r := start(t, setup{})
		silent, half := r.connect(t), r.connect(t)
		write(t, half, upgradeRequest[:30])
		testkit.Eventually(t, "two sessions", func() bool { return r.Stats().Open == 2 })
		r.Stop()
		for _, conn := range []net.Conn{silent, half} {
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Error("it was answered")
			}
		}
	})
}

func TestServersOfTheirOwnLeaveNothingBehind(t *testing.T) {
	libnettest.VerifyNone(t)
	eachProtocolMode(t, func(t *testing.T) {
		start(t, setup{queue: 10}).useEachClient(t)
	})
}

func TestABroadcastToWebSocketsIsEncodedOnce(t *testing.T) {
	eachProtocolMode(t, func(t *testing.T) {
		counted := &encodings{Protocol: frames}
		r := start(t, setup{protocol: counted, queue: 100})
		var clients []*libnet.Session
		for range 10 {
			clients = append(clients, r.dial(t, 0))
			r.session(t)
		}
		for i := range 20 {
			if result := r.Manager().Broadcast(numbered(i)); result != (libnet.BroadcastResult{Sent: 10}) {
				t.Fatalf("%+v", result)
			}
		}
		for _, client := range clients {
			for i := range 20 {
				want(t, client, numbered(i))
			}
		}
		if n := counted.n.Load(); n != 20 {
			t.Errorf("encoded %d times, want 20", n)
		}
	})
}

func TestAServerMayHaveBothWaysIn(t *testing.T) {
	eachProtocolMode(t, func(t *testing.T) {
		r := start(t, setup{queue: 8, protocol: codec.New(codec.Lines, codec.Bytes)})
		web, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pages := &http.Server{Handler: ws.Handler(r.Server, echo, nil), ErrorLog: discardLog}
		served := make(chan error, 1)
		go func() { served <- pages.Serve(web) }()
		defer func() { pages.Close(); <-served }()
		for _, addr := range []string{web.Addr().String(), r.listener.Addr().String()} {
			c, _, err := websocket.Dial(t.Context(), "ws://"+addr, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			c.Write(t.Context(), websocket.MessageBinary, []byte("hello"))
			if _, msg, err := c.Read(t.Context()); string(msg) != "hello" {
				t.Fatalf("%s: %q, %v", addr, msg, err)
			}
		}
	})
}

func TestSessionsOfTheirOwnOverTLS(t *testing.T) {
	eachProtocolMode(t, func(t *testing.T) {
		state := make(chan bool, 1)
		r := start(t, setup{queue: 1000, config: func(srv *libnet.Server) {
			srv.TLSConfig = testkit.ServerTLS()
			srv.OnSession = func(s *libnet.Session) error {
				_, secure := s.TLS()
				state <- secure && ws.Request(s).TLS != nil && ws.Request(s).URL.Path == "/x"
				return nil
			}
		}})
		d := &libnet.Dialer{Protocol: frames}
		d.SendQueue, d.TLSConfig, d.Logger = 1000, testkit.AnyTLS(), slog.New(slog.DiscardHandler)
		client, err := ws.Dial(t.Context(), "wss://"+r.listener.Addr().String()+"/x", d, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !<-state {
			t.Error("no TLS state")
		}
		for i := range 500 {
			send(t, client, numbered(i))
		}
		for i := range 500 {
			want(t, client, numbered(i))
		}
		r.session(t).CloseWithError(websocket.CloseError{Code: 4001, Reason: "enough"})
		if _, err := client.Receive(); websocket.CloseStatus(err) != 4001 {
			t.Error(err)
		}
	})
}

func TestAProtocolOfAnotherSideIsAnError(t *testing.T) {
	for name, misuse := range map[string]func(){
		"no protocol": func() { ws.Protocol(nil, nil) },
		"bad pattern": func() { ws.Protocol(frames, &ws.HandlerOptions{OriginPatterns: []string{"["}}) },
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, "libnet: ") {
					t.Errorf("%s: %q", name, text)
				}
			}()
			misuse()
		}()
	}
	near, far := libnettest.Pipe()
	defer far.Close()
	d := libnet.Dialer{Protocol: ws.Protocol(frames, nil)}
	d.Logger = slog.New(slog.DiscardHandler)
	s, err := d.NewSession(near)
	if err == nil {
		_, err = s.Receive()
	}
	if !errors.Is(err, libnet.ErrPanic) {
		t.Error(err)
	}
}

func TestACodecThatCannotDoWithoutItsConnectionIsAnswered500(t *testing.T) {
	eachProtocolMode(t, func(t *testing.T) {
		r := start(t, setup{protocol: libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return plainCodec{frames.NewCodec(rw)} })})
		_, err := ws.Dial(t.Context(), r.url(), &libnet.Dialer{Protocol: frames}, nil)
		var e *ws.HandshakeError
		if !errors.As(err, &e) || e.StatusCode != http.StatusInternalServerError {
			t.Error(err)
		}
	})
}

// The handshake comes with the first use.
func TestAcceptDoesNotWaitForTheHandshake(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Server: libnet.NewServer(listener, ws.Protocol(frames, nil), 8), listener: listener}
	r.Logger = slog.New(slog.DiscardHandler)
	defer r.Stop()
	conn := r.connect(t)
	s, err := r.Accept()
	if err != nil {
		t.Fatal(err)
	}
	write(t, conn, upgradeRequest+frame(fin|binaryFrame, "hello"))
	if path := ws.Request(s).URL.Path; path != "/" {
		t.Error(path)
	}
	want(t, s, "hello")
	send(t, s, "answer")
	in := bufio.NewReader(conn)
	wantUpgrade(t, in)
	wantEcho(t, in, "answer")
}

// serveLastMessage starts a server in event mode that sends each message back from a variable, which allocates nothing.
// It has one client.
func serveLastMessage(t *testing.T, p libnet.Protocol) *rig {
	t.Helper()
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", p, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	var reply []byte
	go srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
		reply = msg
		s.Send(&reply)
	}))
	return &rig{Server: srv, listener: srv.Listener()}
}

func TestAnEchoAllocatesNothing(t *testing.T) {
	for name, protocol := range map[string]libnet.Protocol{
		"Bytes behind a length": codec.New(codec.Uint16BE, codec.Bytes),
		"Bytes in lines":        codec.New(codec.Lines, codec.Bytes),
	} {
		t.Run(name, func(t *testing.T) {
			r := serveLastMessage(t, ws.Protocol(protocol, nil))
			conn, in := r.raw(t)
			out, back := []byte(masked(fin|binaryFrame, "0123456789abcdef")), make([]byte, 18)
			testkit.Steady(t, "an echo", 0, func() {
				if _, err := conn.Write(out); err != nil {
					t.Error(err)
				}
				if _, err := io.ReadFull(in, back); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// B31 of docs/faults.md.
func TestAPeerThatPingsAServerOfItsOwnAndNeverReadsIsClosed(t *testing.T) {
	eachOwnListener(t, func(t *testing.T) {
		r := start(t, setup{handler: sink, config: func(srv *libnet.Server) {
			srv.WriteTimeout, srv.SendBuffer = 50*time.Millisecond, 4<<10
		}})
		conn, _ := r.raw(t)
		s := r.session(t)
		below(conn).SetReadBuffer(4 << 10)
		burst := strings.Repeat(frame(ping, strings.Repeat("x", 125)), 1000)
		for !s.IsClosed() {
			if _, err := io.WriteString(conn, burst); err != nil {
				break
			}
		}
		wantEnd(t, s, libnet.ErrWriteTimeout)
	})
}

// hangingError's methods do not return before it is closed.
type hangingError chan struct{}

func (e hangingError) Error() string   { <-e; return "late" }
func (e hangingError) Is(error) bool   { <-e; return false }
func (e hangingError) Unwrap() error   { <-e; return nil }
func (e hangingError) As(any) (b bool) { <-e; return false }

// What the close frame says is asked of the reason, whose methods are the user's.
func TestAReasonThatDoesNotAnswerHoldsNoShutdown(t *testing.T) {
	eachProtocolMode(t, func(t *testing.T) {
		r := start(t, setup{queue: 8})
		r.raw(t)
		s := <-r.sessions
		reason := make(hangingError)
		t.Cleanup(func() { close(reason) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		down := make(chan error, 1)
		go func() { down <- s.ShutdownWithError(ctx, reason) }()
		testkit.Await(t, testkit.Patience, "ShutdownWithError", down)
	})
}

// A slowClose is a conn that takes its time to close.
type slowClose struct{ net.Conn }

func (c slowClose) Close() error { time.Sleep(10 * time.Second); return c.Conn.Close() }

func TestAReasonThatDoesNotAnswerDoesNotHaveAShutdownOutliveItsContextForLongerThanACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // for those that take their time
		near, far := libnettest.Pipe()
		defer far.Close()
		server := libnet.NewServer(libnettest.NewListener(), ws.Protocol(frames, nil), 8)
		s, err := server.NewSession(slowClose{near})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Stop()
		if _, err := io.WriteString(far, upgradeRequest); err != nil || s.Codec() == nil {
			t.Fatal(err, s.Err())
		}
		reason := make(hangingError)
		defer close(reason)
		const within = 100 * time.Millisecond
		began := time.Now()
		_ = s.ShutdownWithError(testkit.TimeoutContext(t, within), reason)
		if took := time.Since(began); took > within+300*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// A countedHang is a hangingError that counts how often a close frame was asked of it.
type countedHang struct {
	hangingError
	asked *atomic.Int32
}

func (e countedHang) As(target any) bool {
	if _, ok := target.(*websocket.CloseError); ok {
		e.asked.Add(1)
	}
	return e.hangingError.As(target)
}

func TestAReasonThatDoesNotAnswerIsAskedOnceAndToldAsAnInternalError(t *testing.T) {
	testkit.Slow(t)
	ends := map[string]func(*libnet.Session, error){
		"ShutdownWithError": func(s *libnet.Session, err error) { _ = s.ShutdownWithError(context.Background(), err) },
		"CloseWithError":    func(s *libnet.Session, err error) { _ = s.CloseWithError(err) },
	}
	for name, end := range ends {
		for _, m := range []mode{handlerMode, protocolEvents} {
			inMode(t, m, func(t *testing.T) {
				t.Run(name, func(t *testing.T) { endsForAHangingReason(t, end) })
			})
		}
		t.Run("a client's "+name, func(t *testing.T) { clientEndsForAHangingReason(t, end) })
	}
}

func newCountedHang(t *testing.T) countedHang {
	reason := countedHang{make(hangingError), new(atomic.Int32)}
	t.Cleanup(func() { close(reason.hangingError) })
	return reason
}

func (e countedHang) wantOnce(t *testing.T) {
	t.Helper()
	if n := e.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func endsForAHangingReason(t *testing.T, end func(*libnet.Session, error)) {
	r := start(t, setup{queue: 8})
	client, s := r.browser(t), r.session(t)
	reason := newCountedHang(t)
	ended := make(chan struct{})
	go func() { defer close(ended); end(s, reason) }()
	wantCode(t, client, websocket.StatusInternalError)
	testkit.Await(t, testkit.Patience, "the end", ended)
	reason.wantOnce(t)
}

func clientEndsForAHangingReason(t *testing.T, end func(*libnet.Session, error)) {
	r := start(t, setup{queue: 8, handler: sink})
	s := r.dial(t, 8)
	served := r.session(t)
	reason := newCountedHang(t)
	end(s, reason)
	testkit.Eventually(t, "the server's session to end", served.IsClosed)
	var told websocket.CloseError
	if err := served.Err(); !errors.As(err, &told) || told.Code != websocket.StatusInternalError {
		t.Errorf("the server is told %v", err)
	}
	reason.wantOnce(t)
}
