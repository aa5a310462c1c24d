package faults

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestG96AStrangerCostsLittleAndNotForLong(t *testing.T) {
	n := testkit.Size(500, 5000)
	r := testkit.Serve(t, "tcp", func(srv *libnet.Server) {
		srv.HandshakeTimeout, srv.SendQueue = time.Duration(testkit.Size(2, 10))*time.Second, 8
		srv.Heartbeat = libnet.Heartbeat{Interval: time.Second, Message: func(*libnet.Session) any { return "beat" }}
	}, testkit.ReceiveToEnd)
	var before, after runtime.MemStats
	testkit.ReadMemory(&before)
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i], _ = r.Open()
		testkit.MustWrite(t, conns[i], testkit.Frame(strings.Repeat("x", 100))[:16])
	}
	testkit.Eventually(t, "the bytes to be read", func() bool { return r.Stats().BytesIn == uint64(16*n) })
	testkit.ReadMemory(&after)
	// The client's half of each connection lives in this process, too.
	if each := int64(after.Sys-after.HeapReleased-(before.Sys-before.HeapReleased)) / int64(n); each > 16<<10 {
		t.Errorf("a stranger costs %d bytes, want at most 16 KiB", each)
	} else {
		t.Logf("a stranger costs %d bytes, both ends", each)
	}
	testkit.Eventually(t, "the strangers to be closed", func() bool { return r.Stats().Closed["handshake_timeout"] == uint64(n) })
}

func TestG97TLSHandshakesThatStallHoldUpNobody(t *testing.T) {
	t.Parallel() // it mostly waits
	r := testkit.Serve(t, "tls", func(srv *libnet.Server) { srv.HandshakeTimeout = time.Second }, testkit.EchoWhileThereIsRoom)
	n := testkit.Size(50, 500)
	for range n {
		conn, err := testkit.DialTCP(r.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		testkit.MustWrite(t, conn, []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")) // the start of a ClientHello
	}
	begin := time.Now()
	testkit.Ask(t, r.Dial(), "a good client")
	if took := time.Since(begin); took > time.Duration(n)*time.Second/4 { // four at a time would wait as long
		t.Errorf("a good client took %v beside %d that stall", took, n)
	}
	testkit.Eventually(t, "the others to be closed", func() bool { return r.Stats().Closed["handshake_timeout"] == uint64(n) })
}

func TestG97JunkOnATLSPortIsClosedFast(t *testing.T) {
	r := testkit.Serve(t, "tls", nil, testkit.ReceiveToEnd)
	junk := make([]byte, 1<<20)
	for i, source := 0, rand.New(rand.NewPCG(1, 2)); i < len(junk); i++ {
		junk[i] = byte(source.Uint32())
	}
	var before, after runtime.MemStats
	testkit.ReadMemory(&before)
	for range 20 {
		conn, err := testkit.DialTCP(r.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(junk) // it is reset half-way
		s := <-r.Sessions
		wait(t, s.Done(), "the end of junk")
		conn.Close()
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 10<<20 {
		t.Errorf("20 MiB of junk cost %d bytes", grown)
	}
}

func TestG98ADialerVerifiesWhomItTalksTo(t *testing.T) {
	good := testkit.Issue(time.Now().Add(time.Hour), "libnet.test")
	expired := testkit.Issue(time.Now().Add(-time.Hour), "libnet.test")
	roots := x509.NewCertPool()
	roots.AddCert(good.Leaf)
	roots.AddCert(expired.Leaf)
	for name, test := range map[string]struct {
		server *tls.Config
		client *tls.Config
		ok     bool
	}{
		"trusted":     {&tls.Config{Certificates: []tls.Certificate{good}}, &tls.Config{RootCAs: roots}, true},
		"self-signed": {&tls.Config{Certificates: []tls.Certificate{good}}, &tls.Config{}, false},
		"expired":     {&tls.Config{Certificates: []tls.Certificate{expired}}, &tls.Config{RootCAs: roots}, false},
		"wrong name":  {&tls.Config{Certificates: []tls.Certificate{good}}, &tls.Config{RootCAs: roots, ServerName: "another.test"}, false},
		"TLS 1.1":     {&tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, &tls.Config{RootCAs: roots}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := testkit.Serve(t, "tls", func(srv *libnet.Server) { srv.TLSConfig = test.server }, testkit.ReceiveToEnd)
			dialer := libnet.Dialer{Protocol: testkit.Frames64K, TLSConfig: test.client}
			s, err := dialer.Dial(t.Context(), "tcp", r.Listener().Addr().String())
			if (err == nil) != test.ok {
				t.Errorf("Dial = %v", err)
			}
			if s != nil {
				s.Close()
			}
		})
	}
}

func TestG98ATLSStreamCutOffInAFrameIsNoCleanEnd(t *testing.T) {
	r := testkit.Serve(t, "tls", nil, testkit.ReceiveToEnd)
	conn, s := r.Open()
	testkit.MustWrite(t, conn, testkit.Frame("cut off here")[:7])
	testkit.Eventually(t, "the bytes to be read", func() bool { return s.Stats().BytesIn == 7 })
	conn.(*tls.Conn).NetConn().Close() // FIN without close_notify
	r.WantClosed(s, io.ErrUnexpectedEOF)
}

func TestG99MaxSessionsPerIPCountsAnIPv6NetworkOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.MaxSessionsPerIP = 2 }, testkit.EchoWhileThereIsRoom)
		for _, test := range []struct {
			from string
			ok   bool
		}{
			{"2001:db8:0:1::1", true}, {"2001:db8:0:1::2", true}, {"2001:db8:0:1:ffff::3", false}, {"2001:db8:0:2::1", true},
			{"192.0.2.1", true}, {"::ffff:192.0.2.1", true}, {"192.0.2.1", false}, {"192.0.2.2", true},
			{"fe80::1%eth0", true}, {"fe80::2%eth1", true}, {"fe80::3", false},
		} {
			address, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(test.from, "1"))
			if err != nil {
				t.Fatal(err)
			}
			conn, err := r.Pipes.DialFrom(address)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Write(testkit.Frame("hello"))
			_, err = testkit.ReadFrame(conn)
			if (err == nil) != test.ok {
				t.Errorf("from %s: %v", test.from, err)
			}
		}
		if stats := r.Stats(); stats.Rejected != 3 || stats.Open != 8 || stats.Accepted != 8 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestG99TheCountersAreExactAfterChurn(t *testing.T) {
	r := testkit.Serve(t, "tcp", func(srv *libnet.Server) { srv.MaxSessions, srv.MaxSessionsPerIP = 40, 10 }, testkit.EchoWhileThereIsRoom)
	var served, refused sync.Map
	var wg sync.WaitGroup
	rounds := testkit.Size(100, 1500) // more would need more ports than there are
	for client := range 16 {
		wg.Go(func() {
			// Two of three clients share an address, which is more than it may have.
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+client%3/2))}}
			for i := range rounds {
				conn, err := dialer.Dial("tcp", r.Listener().Addr().String())
				if err != nil {
					t.Errorf("dial: %v", err)
					return
				}
				_, _ = conn.Write(testkit.Frame("hello"))
				if _, err := testkit.ReadFrame(conn); err == nil {
					served.Store([2]int{client, i}, true)
				} else {
					refused.Store([2]int{client, i}, true)
				}
				conn.Close()
			}
		})
	}
	wg.Wait()
	count := func(m *sync.Map) (n uint64) {
		m.Range(func(any, any) bool { n++; return true })
		return n
	}
	testkit.Eventually(t, "all to be closed", func() bool { return r.Stats().Open == 0 })
	stats := r.Stats()
	if stats.Accepted != count(&served) || stats.Rejected != count(&refused) || stats.Peak > 40 {
		t.Errorf("served %d, refused %d: %+v", count(&served), count(&refused), stats)
	}
	for range 10 { // all ten places of an address are free again
		testkit.Ask(t, r.Dial(), "hello")
	}
	if extra := r.Dial(); len(testkit.ReadToEnd(t, extra)) > 0 {
		t.Error("an eleventh session from one address")
	}
}

// gossip is an error with whatever a peer has said in its text.
type gossip struct{ text string }

func (e gossip) Error() string { return e.text }

func TestG100WhatPeersSayIsQuotedCutAndRare(t *testing.T) {
	payload := "SECRET"
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", nil, func(s *libnet.Session) {
			msg, err := s.Receive()
			if err == nil && strings.HasPrefix(string(msg), "panic") {
				panic(string(msg))
			}
			s.CloseWithError(gossip{string(msg)})
		})
		for _, nasty := range []string{"line\nbreak", "\x1b[31mred", "%s%n%d", strings.Repeat("long", 5000), "\xff\xfe\x00", `quo"te`, "panic\n\x1b" + strings.Repeat("p", 60_000)} {
			before := r.Logs.Len()
			conn, s := r.Open()
			testkit.MustWrite(t, conn, testkit.Frame(nasty))
			<-s.Done()
			synctest.Wait()
			for _, line := range r.Logs.Since(before) {
				if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\n\x1b\x00") || !utf8.ValidString(line) {
					t.Errorf("a raw line: %.300q", line)
				}
				if text, _, _ := strings.Cut(line, "stack="); len(text) > 1000 {
					t.Errorf("a line of %d bytes for %.20q", len(text), nasty)
				}
			}
			time.Sleep(time.Second)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", nil, func(s *libnet.Session) {
			if _, err := s.Receive(); err == nil && s.ID()%2 == 0 {
				panic("over a message")
			}
			_, _ = s.Receive()
		})
		for range testkit.Size(2000, 20_000) { // all in one second
			conn := r.Dial()
			testkit.MustWrite(t, conn, append(testkit.Frame(payload), "\xff\xff\xff\xff"+payload...))
		}
		synctest.Wait()
		if n := len(r.Logs.With("session ended")); n == 0 || n > 10 {
			t.Errorf("%d lines about sessions in a second", n)
		}
		if n := len(r.Logs.With("libnet: panic")); n == 0 || n > 10 {
			t.Errorf("%d lines about panics in a second", n)
		}
		if lines := r.Logs.With(payload); len(lines) > 0 {
			t.Errorf("a payload in the log: %q", lines[0])
		}
		time.Sleep(time.Second)
		conn := r.Dial()
		testkit.MustWrite(t, conn, append(testkit.Frame(payload), "\xff\xff\xff\xff"...))
		conn = r.Dial()
		testkit.MustWrite(t, conn, append(testkit.Frame(payload), "\xff\xff\xff\xff"...))
		synctest.Wait()
		if len(r.Logs.With("lines_left_out")) == 0 {
			t.Error("no line says how many were left out")
		}
	})
}

func TestG100ACloseReasonIsOneOfAFewNames(t *testing.T) {
	for i, err := range []error{gossip{"user=admin"}, fmt.Errorf("wrapped: %w", gossip{"x"}), errors.New("\x1b")} {
		if name := libnet.CloseReason(err); name != "error" {
			t.Errorf("%d: a label from remote data: %q", i, name)
		}
	}
}

// boundless is a codec that forgets Config.MaxMessage.
type boundless struct{ libnet.Codec }

func (boundless) AppendFrame(dst []byte, msg any) ([]byte, error) {
	return append(dst, msg.([]byte)...), nil
}

func (boundless) ParseFrame([]byte) ([]byte, int, error) { return nil, 0, nil }

func TestG100ABroadcastThatCannotBeSentCostsAFewLinesAndNoBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		protocol := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return boundless{testkit.Frames64K.NewCodec(rw)} })
		r := testkit.ServeWith(t, protocol, func(srv *libnet.Server) { srv.MaxMessage = 100 }, testkit.ReceiveToEnd)
		for range 100 {
			r.Open()
		}
		if result := r.Manager().Broadcast(make([]byte, 1<<20)); result != (libnet.BroadcastResult{}) {
			t.Errorf("a message over the bound: %+v", result)
		}
		for s := range r.Manager().All() {
			if stats := s.Stats(); stats.Queued+int(stats.MessagesOut) > 0 || s.IsClosed() {
				t.Fatalf("%+v, %v", stats, s.Err())
			}
		}
		if n := len(r.Logs.With("not encoded")); n == 0 || n > 10 {
			t.Errorf("%d lines for 100 sessions", n)
		}
	})
}

func TestG99WithoutALimitNobodyAsksForTheAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", nil, testkit.EchoWhileThereIsRoom)
		client, server := libnettest.Pipe()
		defer client.Close()
		waiting := make(chan struct{})
		r.Pipes.Push(slowAddress{server, waiting}, nil)
		testkit.Ask(t, r.Dial(), "accepted behind it")
		close(waiting)
	})
}

// slowAddress learns its peer's address later.
type slowAddress struct {
	net.Conn
	waiting chan struct{}
}

func (c slowAddress) RemoteAddr() net.Addr {
	<-c.waiting
	return c.Conn.RemoteAddr()
}
