package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // of what clients do wrong here, the log tells
	libnettest.VerifyMain(m)
}

// patience is for anything at all to happen, on a busy machine.
const patience = 20 * time.Second

const buffer = 32 << 10

// start is a proxy before an upstream whose connections serve has. end is Ctrl-C; it returns what the proxy says in the
// end.
func start(t *testing.T, grace time.Duration, serve func(*net.TCPConn)) (dial func() *net.TCPConn, end func() string) {
	t.Helper()
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { upstream.Close() })
	go func() {
		for {
			conn, err := upstream.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn.(*net.TCPConn))
			}()
		}
	}()
	address, end := startTo(t, upstream.Addr().String(), grace)
	return func() *net.TCPConn {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(patience))
		return conn.(*net.TCPConn)
	}, end
}

func startTo(t *testing.T, upstream string, grace time.Duration) (address string, end func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, stdout := io.Pipe()
	t.Cleanup(func() { cancel(); out.Close() })
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, "127.0.0.1:0", upstream, buffer, time.Minute, grace, stdout)
		stdout.Close()
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the proxy has not started: %v", <-ended)
	}
	address, _, _ = strings.Cut(lines.Text(), " leads to ")
	return address, func() string {
		t.Helper()
		cancel()
		lines.Scan()
		if err := <-ended; err != nil {
			t.Errorf("the proxy ended with %v", err)
		}
		return lines.Text()
	}
}

// A client that has sent all still gets the answer, which begins when its end has come through.
func TestAHalfCloseIsCarriedOver(t *testing.T) {
	answer := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(answer)
	dial, end := start(t, time.Second, func(conn *net.TCPConn) {
		hash := sha256.New()
		io.Copy(hash, conn) // until the client's end
		conn.Write(hash.Sum(nil))
		conn.Write(answer)
	})
	question := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{2}).Read(question)
	conn := dial()
	if _, err := conn.Write(question); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	want := sha256.Sum256(question)
	if err != nil || !bytes.Equal(got, append(want[:], answer...)) {
		t.Errorf("%d bytes came back, %v; want %d, which begin with the sum of the question", len(got), err, len(want)+len(answer))
	}
	if got, want := end(), fmt.Sprintf("1 connections: %d bytes from clients, %d to them", len(question), 32+len(answer)); got != want {
		t.Errorf("the proxy says %q; want %q", got, want)
	}
}

func TestAnUpstreamThatEndsFirstStillReceives(t *testing.T) {
	received := make(chan string, 1)
	dial, end := start(t, time.Second, func(conn *net.TCPConn) {
		io.WriteString(conn, "welcome")
		conn.CloseWrite()
		all, _ := io.ReadAll(conn)
		received <- string(all)
	})
	conn := dial()
	if got, err := io.ReadAll(conn); string(got) != "welcome" || err != nil {
		t.Errorf("the client got %q, %v", got, err)
	}
	io.WriteString(conn, "thanks")
	conn.CloseWrite()
	if got := <-received; got != "thanks" {
		t.Errorf("the upstream got %q", got)
	}
	end()
}

// What a client does not take, its upstream cannot send: no more lies on the way than buffers hold.
func TestAClientThatDoesNotReadStopsItsUpstream(t *testing.T) {
	const most, quick, rest = 4 << 20, 32 << 20, 16 << 20 // of a connection that was quick the kernel's own buffers would have grown
	stopped, total := make(chan int), make(chan int, 1)
	dial, end := start(t, time.Second, func(conn *net.TCPConn) {
		conn.SetWriteBuffer(buffer)
		if _, err := conn.Write(make([]byte, quick)); err != nil {
			t.Error(err)
		}
		block, sent := make([]byte, buffer), 0
		for {
			conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			n, err := conn.Write(block)
			if sent += n; errors.Is(err, os.ErrDeadlineExceeded) || sent > rest {
				break
			} else if err != nil {
				t.Error(err)
				break
			}
		}
		stopped <- sent
		conn.SetWriteDeadline(time.Now().Add(patience))
		n, _ := conn.Write(make([]byte, rest))
		total <- sent + n
	})
	conn := dial()
	conn.SetReadBuffer(most / 4) // which is doubled
	if _, err := io.CopyN(io.Discard, conn, quick); err != nil {
		t.Error(err)
	}
	if sent := <-stopped; sent > most {
		t.Errorf("the upstream sent %d bytes, of which none was read", sent)
	}
	got, err := io.Copy(io.Discard, conn)
	if want := <-total; err != nil || int(got) != want {
		t.Errorf("the client got %d bytes, %v; want %d", got, err, want)
	}
	conn.Close()
	end()
}

func TestASideThatBreaksOffBreaksOffTheOther(t *testing.T) {
	dial, end := start(t, time.Second, func(conn *net.TCPConn) {
		io.WriteString(conn, "half of the ans")
		io.ReadFull(conn, make([]byte, 2))
		conn.SetLinger(0)
	})
	conn := dial()
	if _, err := io.ReadFull(conn, make([]byte, 15)); err != nil {
		t.Error(err)
	}
	io.WriteString(conn, "go")
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client is told %v; want a reset", err)
	}
	end()
}

func TestAClientWhoseUpstreamIsAwayIsReset(t *testing.T) {
	away, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, end := startTo(t, away.Addr().String(), time.Second)
	away.Close()
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_, err = io.ReadAll(conn)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client is told %v; want a reset", err)
	}
	end()
}

// Who is there when the proxy ends may go on for a while; who stays longer is cut off, and told so.
func TestConnectionsMayEndBeforeTheProxyDoes(t *testing.T) {
	dial, end := start(t, 500*time.Millisecond, func(conn *net.TCPConn) { io.Copy(conn, conn) })
	quick, stays := dial(), dial()
	for _, conn := range []*net.TCPConn{quick, stays} {
		io.WriteString(conn, "x")
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan string)
	go func() { ended <- end() }()
	for gone := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // until it takes no more connections
		conn, err := net.Dial("tcp", quick.RemoteAddr().String())
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(gone) {
			t.Fatal("the proxy takes connections when it has been told to end")
		}
	}
	io.WriteString(quick, "the last words")
	quick.CloseWrite()
	if got, err := io.ReadAll(quick); string(got) != "the last words" || err != nil {
		t.Errorf("a connection that ends in time gets %q, %v", got, err)
	}
	if got, err := io.ReadAll(stays); len(got) > 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that does not end gets %q, %v; want a reset", got, err)
	}
	if last := <-ended; !strings.HasSuffix(last, "16 bytes from clients, 16 to them") {
		t.Errorf("the proxy says %q", last)
	}
}
