package libnettest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/libnettest"
)

func TestListenerConnectsADialWithAnAcceptThatComesLater(t *testing.T) {
	listener := libnettest.NewListener()
	defer listener.Close()
	client, err := listener.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	mustWrite(t, client, "early")
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	mustRead(t, server, "early")
	mustWrite(t, server, "answer")
	mustRead(t, client, "answer")
}

func TestListenerAcceptWaitsForADial(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		listener := libnettest.NewListener()
		defer listener.Close()
		start := time.Now()
		go func() {
			time.Sleep(time.Second)
			listener.Dial()
		}()
		if _, err := listener.Accept(); err != nil || time.Since(start) != time.Second {
			t.Fatalf("Accept: %v after %v", err, time.Since(start))
		}
	})
}

func TestListenerPlaysAScriptBackInOrderAndThenBlocksUntilClose(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		listener := libnettest.NewListener()
		conn, _ := pipe(t, 1)
		listener.Push(nil, syscall.EMFILE)
		listener.Push(conn, nil)
		listener.Push(nil, syscall.EINVAL)
		for i, want := range []error{syscall.EMFILE, nil, syscall.EINVAL} {
			got, err := listener.Accept()
			if err != want || (got != nil) != (want == nil) {
				t.Fatalf("Accept %d = %v, %v; want error %v", i+1, got, err, want)
			}
		}
		ended := make(chan error)
		go func() {
			_, err := listener.Accept()
			ended <- err
		}()
		synctest.Wait()
		if n := listener.Accepts(); n != 4 {
			t.Errorf("Accepts() = %d, want 4", n)
		}
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the waiting Accept ended with %v", err)
		}
	})
}

func TestListenerCloseResetsWhatNobodyAcceptedAndRefusesTheRest(t *testing.T) {
	listener := libnettest.NewListener()
	waiting, err := listener.Dial()
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	wantReadError(t, waiting, syscall.ECONNRESET)

	if _, err := listener.Dial(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial after Close: %v", err)
	}
	a, b := net.Pipe()
	listener.Push(a, nil)
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a conn that was pushed after Close is still open: %v", err)
	}
	if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	listener.Push((*ownConn)(nil), nil) // which a script may hold
}

type ownConn struct{ net.Conn }

func TestListenerShowsTheServerWhereADialComesFrom(t *testing.T) {
	listener := libnettest.NewListener()
	defer listener.Close()
	from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5000}
	client, err := listener.DialFrom(from)
	if err != nil {
		t.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if server.RemoteAddr() != from || client.LocalAddr() != from {
		t.Errorf("the server sees %v, the client %v; want %v", server.RemoteAddr(), client.LocalAddr(), from)
	}
}

// A server's accept loop meets a full descriptor table and then a client.
func ExampleListener() {
	listener := libnettest.NewListener()
	defer listener.Close()
	listener.Push(nil, syscall.EMFILE)
	client, _ := listener.Dial()
	client.Close()

	for range 2 {
		conn, err := listener.Accept()
		fmt.Println(conn != nil, err)
	}
	// Output:
	// false too many open files
	// true <nil>
}
