package eventmode

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// overTLS runs test with each version of TLS.
func overTLS(t *testing.T, test func(t *testing.T, config *tls.Config)) {
	t.Helper()
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		testkit.OverModes(t, []testkit.Mode{{Name: name}}, func(t *testing.T, _ testkit.Mode) {
			config := testkit.ServerTLS()
			config.MinVersion, config.MaxVersion = version, version
			test(t, config)
		})
	}
}

// startTLS serves in event mode.
func startTLS(t *testing.T, config *tls.Config, configure func(*libnet.Server), h libnet.MessageHandlerFunc) *testkit.Rig {
	t.Helper()
	return testkit.LoopTLS.Start(t, func(srv *libnet.Server) {
		srv.TLSConfig = config
		if configure != nil {
			configure(srv)
		}
	}, h)
}

// withPollers returns how many goroutines there are when the event loop runs: the first message may be served before.
func withPollers(t *testing.T, conn net.Conn) int {
	t.Helper()
	for range 10 {
		testkit.Ask(t, conn, "so that what is made once exists")
		time.Sleep(time.Millisecond)
	}
	return runtime.NumGoroutine()
}

func TestASilentTLSSessionHasNoGoroutine(t *testing.T) {
	overTLS(t, func(t *testing.T, config *tls.Config) {
		const sessions = 200
		r := startTLS(t, config, nil, testkit.EchoMessage)
		before := withPollers(t, r.Dial())
		for _, conn := range r.DialMany(sessions) {
			testkit.Ask(t, conn, "x")
		}
		testkit.Eventually(t, "no goroutine more than before", func() bool { return runtime.NumGoroutine() <= before })
		if open := r.Stats().Open; open != sessions+1 {
			t.Errorf("%d sessions are open", open)
		}
	})
}

// A shapedConn is a client's conn below crypto/tls, whose writes the test shapes.
type shapedConn struct {
	net.Conn
	write func(to net.Conn, p []byte) error // nil: as it is
}

func (c *shapedConn) Write(p []byte) (int, error) {
	if c.write == nil {
		return c.Conn.Write(p)
	}
	return len(p), c.write(c.Conn, p)
}

// dialShaped returns a client whose handshake is done.
func dialShaped(t *testing.T, r *testkit.Rig, config *tls.Config) (*tls.Conn, *shapedConn) {
	t.Helper()
	conn, err := net.Dial("tcp", r.Listener().Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * testkit.Patience))
	shaped := &shapedConn{Conn: conn}
	client := tls.Client(shaped, config)
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	return client, shaped
}

func TestATLSRecordMayArriveInAnyPieces(t *testing.T) {
	shapes := map[string]func(t *testing.T) func(net.Conn, []byte) error{
		"bytes": func(*testing.T) func(net.Conn, []byte) error {
			return func(to net.Conn, p []byte) error {
				for i := range p {
					if _, err := to.Write(p[i : i+1]); err != nil {
						return err
					}
					runtime.Gosched()
				}
				return nil
			}
		},
		"halves with a pause": func(*testing.T) func(net.Conn, []byte) error {
			return func(to net.Conn, p []byte) error {
				_, err := to.Write(p[:len(p)/2])
				time.Sleep(2 * time.Millisecond)
				_, err2 := to.Write(p[len(p)/2:])
				return errors.Join(err, err2)
			}
		},
		"halves with urgent data between": func(t *testing.T) func(net.Conn, []byte) error {
			return func(to net.Conn, p []byte) error {
				_, err := to.Write(p[:len(p)/2])
				eventUrgent(t, to)
				_, err2 := to.Write(p[len(p)/2:])
				return errors.Join(err, err2)
			}
		},
	}
	overTLS(t, func(t *testing.T, config *tls.Config) {
		for name, shape := range shapes {
			t.Run(name, func(t *testing.T) {
				r := startTLS(t, config, nil, testkit.EchoMessage)
				client, below := dialShaped(t, r, testkit.AnyTLS())
				below.write = shape(t)
				for i := range 20 {
					testkit.Ask(t, client, fmt.Sprintf("message %d", i))
				}
			})
		}
	})
}

// A bufferedWriter keeps what is written until it is told.
type bufferedWriter struct{ bytes.Buffer }

func (w *bufferedWriter) keep(_ net.Conn, p []byte) error {
	_, err := w.Buffer.Write(p)
	return err
}

// What comes in the segment of the client's last handshake message lies in crypto/tls when the loop begins.
func TestWhatCameWithTheHandshakeIsServed(t *testing.T) {
	config := testkit.ServerTLS()
	config.MinVersion = tls.VersionTLS13
	for _, messages := range []int{1, 3, 1000} {
		r := startTLS(t, config, func(srv *libnet.Server) { srv.SendQueue = messages }, testkit.EchoMessage)
		conn, err := net.Dial("tcp", r.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(2 * testkit.Patience))
		var kept bufferedWriter
		hello := true
		client := tls.Client(&shapedConn{conn, func(to net.Conn, p []byte) error {
			if hello {
				hello = false
				_, err := to.Write(p)
				return err
			}
			return kept.keep(to, p)
		}}, testkit.AnyTLS())
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		for range messages {
			testkit.MustWrite(t, client, testkit.Frame("early"))
		}
		testkit.MustWrite(t, conn, kept.Bytes())
		for range messages {
			testkit.WantFrame(t, client, "early")
		}
	}
}

func TestALateReaderGetsLargeMessagesThroughTLS(t *testing.T) {
	testkit.Slow(t)
	overTLS(t, func(t *testing.T, config *tls.Config) {
		for _, size := range []int{16 << 10, 36 << 20} {
			r := startTLS(t, config, func(srv *libnet.Server) {
				srv.MaxMessage, srv.SendQueueBytes = 64<<20, 64<<20
			}, testkit.EchoMessage)
			conn := r.Dial()
			msg := string(testkit.Message(1, 1, size))
			written := make(chan error, 1)
			go func() {
				_, err := conn.Write(testkit.Frame(msg))
				written <- err
			}()
			testkit.WantErr(t, "the request", testkit.Await(t, 2*testkit.Patience, "the request", written), nil)
			time.Sleep(300 * time.Millisecond)
			testkit.WantFrame(t, conn, msg)
			testkit.Ask(t, conn, "and goes on")
		}
	})
}

func TestAPeerThatNeverReadsEndsWithWriteTimeoutOverTLS(t *testing.T) {
	overTLS(t, func(t *testing.T, config *tls.Config) {
		var accepted atomic.Uint64
		r := startTLS(t, config, func(srv *libnet.Server) {
			srv.WriteTimeout, srv.SendQueueBytes = 200*time.Millisecond, 64<<20
		}, func(s *libnet.Session, msg []byte) {
			for range 60 {
				if s.Send(make([]byte, 100_000)) == nil {
					accepted.Add(1)
				}
			}
		})
		conn, s := r.Open()
		testkit.MustWrite(t, conn, testkit.Frame("flood"))
		began := time.Now()
		r.WantClosed(s, libnet.ErrWriteTimeout)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("noticed after %v", took)
		}
		if stats := s.Stats(); stats.MessagesOut+stats.Discarded != accepted.Load() || stats.Queued != 0 {
			t.Errorf("accepted %d: %+v", accepted.Load(), stats)
		}
	})
}

// A peer that reads slowly makes progress, though less than a record in each WriteTimeout.
func TestASlowReaderIsNotEndedOverTLS(t *testing.T) {
	testkit.Slow(t)
	t.Parallel() // it mostly waits
	r := startTLS(t, testkit.ServerTLS(), func(srv *libnet.Server) {
		srv.WriteTimeout, srv.SendBuffer, srv.MaxMessage = 300*time.Millisecond, 8<<10, 8<<20
	}, func(s *libnet.Session, msg []byte) { _ = s.Send(make([]byte, 3<<20)) })
	conn, s := r.Open()
	_ = conn.(*tls.Conn).NetConn().(*net.TCPConn).SetReadBuffer(4 << 10)
	testkit.MustWrite(t, conn, testkit.Frame("flood"))
	var buf [4 << 10]byte
	for began := time.Now(); time.Since(began) < 2*time.Second; time.Sleep(20 * time.Millisecond) {
		if _, err := conn.Read(buf[:]); err != nil {
			t.Fatalf("after %v: %v; the session: %v", time.Since(began), err, s.Err())
		}
	}
	_ = s.Close()
}

func TestShutdownDeliversToLateReadersOverTLS(t *testing.T) {
	overTLS(t, func(t *testing.T, config *tls.Config) {
		const messages, size = 300, 10_000
		r := startTLS(t, config, func(srv *libnet.Server) {
			srv.SendQueue, srv.SendQueueBytes = messages+1, 64<<20
		}, func(s *libnet.Session, msg []byte) {})
		conn, s := r.Open()
		for i := range messages {
			testkit.MustSend(t, s, testkit.Message(1, i, size))
		}
		down := make(chan error, 1)
		go func() { down <- r.Shutdown(testkit.TimeoutContext(t, testkit.Patience)) }()
		testkit.MustWrite(t, conn, testkit.Frame("what comes meanwhile is dropped"))
		time.Sleep(50 * time.Millisecond)
		for i := range messages {
			msg, err := testkit.ReadFrame(conn)
			if err != nil || len(msg) != 8+size {
				t.Fatalf("message %d: %d bytes, %v", i, len(msg), err)
			}
		}
		if _, err := testkit.ReadFrame(conn); err != io.EOF {
			t.Errorf("then %v; want close_notify", err)
		}
		_ = conn.Close()
		testkit.WantErr(t, "Shutdown", testkit.Await(t, testkit.Patience, "Shutdown", down), nil)
		if stats := s.Stats(); stats.MessagesOut != messages || stats.Discarded != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// At the end of a stream that is cut within a record there may have been more.
func TestTheEndOfATLSStreamIsToldFromItsTruncation(t *testing.T) {
	cut := func(at int) func(t *testing.T, client *tls.Conn, below *shapedConn) {
		return func(t *testing.T, client *tls.Conn, below *shapedConn) {
			below.write = func(to net.Conn, p []byte) error {
				_, err := to.Write(p[:at])
				return errors.Join(err, to.Close())
			}
			_, _ = client.Write(testkit.Frame("cut"))
		}
	}
	for name, test := range map[string]struct {
		end    func(t *testing.T, client *tls.Conn, below *shapedConn)
		reason error
	}{
		"close_notify":           {func(_ *testing.T, c *tls.Conn, _ *shapedConn) { _ = c.Close() }, io.EOF},
		"half-close":             {func(_ *testing.T, c *tls.Conn, _ *shapedConn) { _ = c.CloseWrite() }, io.EOF},
		"FIN between records":    {func(_ *testing.T, _ *tls.Conn, b *shapedConn) { _ = b.Close() }, io.EOF},
		"FIN in a record":        {cut(20), io.ErrUnexpectedEOF},
		"FIN in a record header": {cut(3), io.ErrUnexpectedEOF},
		"FIN behind a bad record": {func(_ *testing.T, _ *tls.Conn, b *shapedConn) {
			_, _ = b.Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32)))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			overTLS(t, func(t *testing.T, config *tls.Config) {
				r := startTLS(t, config, nil, testkit.EchoMessage)
				client, below := dialShaped(t, r, testkit.AnyTLS())
				s := testkit.Await(t, testkit.Patience, "the session", r.Sessions)
				testkit.Ask(t, client, "whole")
				test.end(t, client, below)
				if test.reason != nil {
					r.WantClosed(s, test.reason)
					return
				}
				testkit.Await(t, testkit.Patience, "the session's end", s.Done())
				if _, err := client.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
					t.Errorf("the peer is not told: %v", err)
				}
			})
		})
	}
}

// What is encrypted and has not left is not counted as sent, whoever cuts the session off.
func TestMessagesAreCountedExactlyWhenATLSSessionIsCut(t *testing.T) {
	ends := map[string]func(s *libnet.Session, conn *tls.Conn){
		"the peer resets": func(_ *libnet.Session, conn *tls.Conn) {
			_ = conn.NetConn().(*net.TCPConn).SetLinger(0)
			_ = conn.NetConn().Close()
		},
		"Close": func(s *libnet.Session, _ *tls.Conn) { _ = s.Close() },
		"Shutdown": func(s *libnet.Session, _ *tls.Conn) {
			ctx, stop := context.WithTimeout(context.Background(), time.Millisecond)
			defer stop()
			_ = s.Shutdown(ctx)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			overTLS(t, func(t *testing.T, config *tls.Config) {
				for _, size := range []int{10, 1000, 40_000} {
					r := startTLS(t, config, func(srv *libnet.Server) { srv.SendBuffer, srv.SendQueue = 16<<10, 1<<20 }, testkit.EchoMessage)
					conn, s := r.Open()
					var accepted uint64
					for range max(100, 400_000/size) {
						if s.Send(make([]byte, size)) == nil {
							accepted++
						}
					}
					time.Sleep(10 * time.Millisecond)
					end(s, conn.(*tls.Conn))
					testkit.Await(t, testkit.Patience, "the end", s.Done())
					stats := s.Stats()
					if stats.MessagesOut+stats.Discarded != accepted || stats.Queued != 0 {
						t.Errorf("%d of %d bytes were accepted: %+v", accepted, size, stats)
					}
					if name == "the peer resets" {
						continue
					}
					var got uint64
					for msg, err := testkit.ReadFrame(conn); err == nil; msg, err = testkit.ReadFrame(conn) {
						if len(msg) != size {
							t.Errorf("a message of %d bytes", len(msg))
						}
						got++
					}
					if got != stats.MessagesOut {
						t.Errorf("the peer got %d messages of %d bytes, %d were counted", got, size, stats.MessagesOut)
					}
				}
			})
		})
	}
}

// Crypto/tls begins a connection with records of little more than a kilobyte, of which it makes many of one write. A
// peer gets each that the kernel has taken whole.
func TestMessagesAreCountedByTheRecordWhenATLSSessionIsCut(t *testing.T) {
	for _, mode := range []testkit.Mode{testkit.LoopTLS, testkit.Modes[6]} {
		mode.Network = "unix" // whose buffer is small
		for _, suite := range []uint16{0, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256} {
			t.Run(mode.Name+", "+tls.CipherSuiteName(suite), func(t *testing.T) {
				libnettest.VerifyNone(t)
				r := mode.Start(t, func(srv *libnet.Server) {
					srv.TLSConfig = testkit.ServerTLS()
					if suite != 0 {
						srv.TLSConfig.MaxVersion, srv.TLSConfig.CipherSuites = tls.VersionTLS12, []uint16{suite}
					}
					srv.SendBuffer, srv.SendQueue = 4<<10, 1<<20
				}, testkit.EchoMessage)
				conn := tls.Client(r.Dial(), testkit.AnyTLS())
				testkit.Ask(t, conn, "hello")
				s := testkit.Await(t, testkit.Patience, "the session", r.Sessions)
				for range 1000 {
					testkit.MustSend(t, s, make([]byte, 100))
				}
				testkit.Eventually(t, "the first of them to be written", func() bool { return s.Stats().MessagesOut > 1 })
				_ = s.Close()
				got := uint64(1)
				for _, err := testkit.ReadFrame(conn); err == nil; _, err = testkit.ReadFrame(conn) {
					got++
				}
				if stats := s.Stats(); got != stats.MessagesOut || got+stats.Discarded != 1001 || got == 1 {
					t.Errorf("the peer got %d messages: %+v", got, stats)
				}
			})
		}
	}
}

func TestKeyUpdatesAreAnsweredInOrder(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip(err)
	}
	r := startTLS(t, testkit.ServerTLS(), nil, testkit.EchoMessage)
	ctx := testkit.TimeoutContext(t, 2*testkit.Patience)
	cmd := exec.CommandContext(ctx, openssl, "s_client", "-brief", "-tls1_3", "-connect", r.Listener().Addr().String())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said lockedBuffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer in.Close()
	ask := func(msg string) {
		t.Helper()
		if _, err := in.Write(testkit.Frame(msg)); err != nil {
			t.Fatal(err)
		}
		if got, err := testkit.ReadFrame(out); err != nil || string(got) != msg {
			t.Fatalf("%q, %v; %s", got, err, said.String())
		}
	}
	ask("before")
	for i, command := range strings.Split("K k K K k K", " ") { // K asks for an answer, k does not
		if _, err := io.WriteString(in, command+"\n"); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the key update", func() bool { return strings.Count(said.String(), "KEYUPDATE") == i+1 })
		ask("behind " + command)
	}
}

func TestTLSHandshakesThatStallHoldUpNobodyInEventMode(t *testing.T) {
	t.Parallel() // it mostly waits
	const stalled = 100
	r := startTLS(t, testkit.ServerTLS(), func(srv *libnet.Server) { srv.HandshakeTimeout = time.Second }, testkit.EchoMessage)
	for i := range stalled {
		conn, err := net.Dial("tcp", r.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 {
			testkit.MustWrite(t, conn, []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")) // the beginning of a ClientHello
		}
	}
	for range 10 {
		testkit.Within(t, 900*time.Millisecond, "a handshake beside them", func() { testkit.Ask(t, r.Dial(), "x") })
	}
	testkit.Eventually(t, "the end of those", func() bool { return r.Stats().Closed["handshake_timeout"] == stalled })
}

func TestCloseAndShutdownInterruptATLSHandshake(t *testing.T) {
	for name, end := range map[string]func(*libnet.Session){
		"Close":    func(s *libnet.Session) { _ = s.Close() },
		"Shutdown": func(s *libnet.Session) { _ = s.Shutdown(context.Background()) },
		"Shutdown with something queued": func(s *libnet.Session) {
			_ = s.Send([]byte("never"))
			ctx, stop := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer stop()
			_ = s.Shutdown(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := startTLS(t, testkit.ServerTLS(), nil, testkit.EchoMessage)
			conn, err := net.Dial("tcp", r.Listener().Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			testkit.Eventually(t, "the session", func() bool { return r.Manager().Len() == 1 })
			for s := range r.Manager().All() {
				testkit.Within(t, time.Second, name, func() { end(s) })
				testkit.Await(t, testkit.Patience, "the end", s.Done())
			}
			_ = conn.SetReadDeadline(time.Now().Add(testkit.Patience))
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the peer sees %v", err)
			}
		})
	}
}

func TestWhatIsSentDuringATLSHandshakeArrivesBehindIt(t *testing.T) {
	for _, queue := range []int{0, 64} {
		r := startTLS(t, testkit.ServerTLS(), func(srv *libnet.Server) { srv.SendQueue = queue }, testkit.EchoMessage)
		conn, err := net.Dial("tcp", r.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		testkit.Eventually(t, "the session", func() bool { return r.Manager().Len() == 1 })
		sent := make(chan error, 1)
		for s := range r.Manager().All() {
			go func() { sent <- s.Send([]byte("early")) }()
		}
		time.Sleep(10 * time.Millisecond)
		client := tls.Client(conn, testkit.AnyTLS())
		testkit.WantFrame(t, client, "early")
		testkit.WantErr(t, "Send", testkit.Await(t, testkit.Patience, "Send", sent), nil)
		testkit.Ask(t, client, "and goes on")
	}
}

// The callbacks of a TLSConfig are user code, which may do anything to its goroutine.
func TestACallbackOfATLSConfigThatDoesNotReturnEndsItsSessionOnly(t *testing.T) {
	for name, test := range map[string]struct {
		does   func()
		reason string
	}{
		"panics":             {func() { panic("no") }, "panic"},
		"ends its goroutine": {runtime.Goexit, "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			config := testkit.ServerTLS()
			config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				if hello.ServerName == "odd.test" {
					test.does()
				}
				return nil, nil
			}
			r := startTLS(t, config, nil, testkit.EchoMessage)
			other := r.Dial()
			conn, err := net.Dial("tcp", r.Listener().Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: "odd.test"}).Handshake(); err == nil {
				t.Error("a handshake")
			}
			testkit.Eventually(t, "the reason", func() bool { return r.Stats().Closed[test.reason] == 1 })
			testkit.Ask(t, other, "others go on")
		})
	}
}

// What a session knows of its TLS connection is there when OnSession is asked.
func TestOnSessionSeesTheTLSConnectionInEventMode(t *testing.T) {
	overTLS(t, func(t *testing.T, config *tls.Config) {
		clients := testkit.Issue(time.Now().Add(time.Hour), "alice")
		pool := x509.NewCertPool()
		pool.AddCert(clients.Leaf)
		config.ClientAuth, config.ClientCAs, config.NextProtos = tls.RequireAndVerifyClientCert, pool, []string{"chat", "other"}
		states := make(chan tls.ConnectionState, 1)
		r := startTLS(t, config, func(srv *libnet.Server) {
			srv.OnSession = func(s *libnet.Session) error {
				state, ok := s.TLS()
				if !ok {
					return errors.New("no TLS")
				}
				states <- state
				return nil
			}
		}, testkit.EchoMessage)
		with := &tls.Config{InsecureSkipVerify: true, ServerName: "name.test", NextProtos: []string{"chat"},
			Certificates: []tls.Certificate{clients}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for i := range 2 {
			client, _ := dialShaped(t, r, with)
			testkit.Ask(t, client, "x")
			state := testkit.Await(t, testkit.Patience, "OnSession", states)
			if len(state.PeerCertificates) != 1 || state.PeerCertificates[0].Subject.CommonName != "alice" {
				t.Errorf("certificates: %v", state.PeerCertificates)
			}
			if state.NegotiatedProtocol != "chat" || state.ServerName != "name.test" || state.Version != config.MaxVersion || state.DidResume != (i == 1) {
				t.Errorf("connection %d: %q, %q, %x, resumed: %v", i, state.NegotiatedProtocol, state.ServerName, state.Version, state.DidResume)
			}
			_ = client.Close()
		}
		conn, err := net.Dial("tcp", r.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		stranger := tls.Client(conn, testkit.AnyTLS())
		if err := stranger.Handshake(); err == nil {
			_, err = stranger.Read(make([]byte, 1))
			if err == nil {
				t.Error("a client without a certificate is served")
			}
		}
		testkit.Eventually(t, "its end", func() bool { return r.Stats().Open == 0 })
		select {
		case <-states:
			t.Error("OnSession was asked about a client without a certificate")
		default:
		}
	})
}

func TestEventModeServesTLSOverUnixSockets(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	srv := libnet.NewServer(l, testkit.Frames, 64)
	srv.TLSConfig, srv.Logger = testkit.ServerTLS(), testkit.Quiet
	go srv.ServeMessages(libnet.MessageHandlerFunc(testkit.EchoMessage))
	defer srv.Stop()
	var conns []net.Conn
	before := 0
	for i := range 50 {
		conn, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, tls.Client(conn, testkit.AnyTLS()))
		if i == 0 {
			before = withPollers(t, conns[i])
		}
		testkit.Ask(t, conns[i], "x")
	}
	testkit.Eventually(t, "no goroutine more than before", func() bool { return runtime.NumGoroutine() <= before })
	large := string(testkit.Message(1, 1, 1<<20-8))
	var wg sync.WaitGroup
	for _, conn := range conns[:4] {
		wg.Go(func() {
			go func() { _, _ = conn.Write(testkit.Frame(large)) }()
			testkit.WantFrame(t, conn, large)
		})
	}
	wg.Wait()
}

func TestAShutdownWithServeArrivedServesWhatArrivedThroughTLS(t *testing.T) {
	overTLS(t, func(t *testing.T, config *tls.Config) {
		const messages = 20
		working, goOn := make(chan struct{}, messages), make(chan struct{})
		r := startTLS(t, config, func(srv *libnet.Server) { srv.ServeArrived = true }, func(s *libnet.Session, msg []byte) {
			working <- struct{}{}
			<-goOn
			_ = s.Send(msg)
		})
		conn := r.Dial()
		for range messages {
			testkit.MustWrite(t, conn, testkit.Frame("arrived"))
		}
		testkit.Await(t, testkit.Patience, "the handler", working)
		down := make(chan error, 1)
		go func() { down <- r.Shutdown(testkit.TimeoutContext(t, testkit.Patience)) }()
		testkit.Await(t, testkit.Patience, "the shutdown", r.Stopping())
		time.Sleep(20 * time.Millisecond)
		close(goOn)
		for range messages {
			testkit.WantFrame(t, conn, "arrived")
		}
		if _, err := testkit.ReadFrame(conn); err != io.EOF {
			t.Errorf("then %v", err)
		}
		_ = conn.Close()
		testkit.WantErr(t, "Shutdown", testkit.Await(t, testkit.Patience, "Shutdown", down), nil)
	})
}
