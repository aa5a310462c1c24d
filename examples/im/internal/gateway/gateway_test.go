package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/examples/im/internal/gateway"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/libnettest"
)

// always picks the same server.
func always(addr string) func(func(registry.Server) bool) (registry.Server, bool) {
	return func(func(registry.Server) bool) (registry.Server, bool) {
		return registry.Server{Addr: addr}, addr != ""
	}
}

func ExampleStart() {
	g, err := gateway.Start(gateway.Options{
		Pick: func(func(registry.Server) bool) (registry.Server, bool) {
			return registry.Server{Addr: "10.0.0.7:7000"}, true
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Close()

	s, err := libnet.Connect("tcp", g.Addr(), wire.Protocol(), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	if err := s.Send(&wire.ReqAccessServer{Cmd: wire.CmdAccessServer}); err != nil {
		fmt.Println(err)
		return
	}
	payload, err := s.Receive()
	if err != nil {
		fmt.Println(err)
		return
	}
	_, answer, err := wire.Answer(payload)
	fmt.Println(answer.(*wire.ResSelectAccessServerForClient).Addr, err)
	// Output: 10.0.0.7:7000 <nil>
}

func TestWithoutAnAccessServerTheAnswerIs92001AndTheSessionStays(t *testing.T) {
	s := dial(t, start(t, gateway.Options{Pick: always("")}).Addr())
	for range 2 {
		if answer := ask(t, s); answer.ErrCode != wire.CodeNoAccessServer || answer.Addr != "" || answer.ErrStr == "" {
			t.Errorf("the answer is %v", answer)
		}
	}
}

func TestTheGatewaySpeaksTheProtocolToTheByte(t *testing.T) {
	const none = "\x00\x18\x08\x91\x4e\x18\xe1\xce\x05\x22\x0fno accessServer"
	const picked = "\x00\x0c\x08\x91\x4e\x22\x02ok\x2a\x03h:1"
	const ask = "\x00\x03\x08\x91\x4e"
	for name, test := range map[string]struct{ server, says, hears string }{
		"command 10001":             {"h:1", ask, picked},
		"with a text":               {"h:1", "\x00\x06\x08\x91\x4e\x12\x01c", picked},
		"without an access server":  {"", ask, none},
		"an access server's":        {"h:1", "\x00\x06\x08\xa2\x9c\x01\x18\x01" + ask, picked},
		"one that nobody has named": {"h:1", "\x00\x04\x08\xb9\x9c\x01" + ask, picked},
		"no command":                {"h:1", "\x00\x02\x12\x00" + ask, picked},
		"an empty frame":            {"h:1", "\x00\x00" + ask, picked},
		"no protobuf":               {"h:1", "\x00\x02\xff\xff", "\x00\x16\x08\x91\xbf\x05\x10\x91\xbf\x05\x1a\x0cserver error"},
	} {
		conn, err := net.Dial("tcp", start(t, gateway.Options{Pick: always(test.server)}).Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(imtest.Patience))
		for range 2 {
			if _, err := io.WriteString(conn, test.says); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(test.hears))
			if n, err := io.ReadFull(conn, got); err != nil || string(got) != test.hears {
				t.Errorf("%s: the answer is %q, %v, want %q", name, got[:n], err, test.hears)
			}
		}
	}
}

func TestG7AFrameThatIsTooLongEndsTheSessionWithoutAnAnswer(t *testing.T) {
	conn, err := net.Dial("tcp", start(t, gateway.Options{Pick: always("h:1")}).Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("\xff\xff")); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(imtest.Patience))
	answer, err := io.ReadAll(conn)
	if len(answer) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("answered %q, %v; want the end", answer, err)
	}
}

func TestG8EveryRequestHasADeadline(t *testing.T) {
	g := start(t, gateway.Options{Pick: always("h:1"), RequestTimeout: 100 * time.Millisecond, IdleTimeout: 200 * time.Millisecond})
	for name, bytes := range map[string]string{"silence": "", "half a frame": "\x00\x03\x08", "a whole one": "\x00\x03\x08\x91\x4e"} {
		conn, err := net.Dial("tcp", g.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(bytes)); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(imtest.Patience))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: still connected after %v", name, imtest.Patience)
		}
		conn.Close()
	}
}

// Both in the design that this replaces: an error of accept left a nil session to be used.
func TestG2AcceptErrorsAndAStopAreNoCrash(t *testing.T) {
	libnettest.VerifyNone(t)
	l := libnettest.NewListener()
	g := start(t, gateway.Options{Pick: always("h:1"), Listener: l})
	for _, errno := range []error{syscall.EMFILE, syscall.ECONNABORTED, syscall.ENOBUFS, syscall.EPROTO} {
		l.Push(nil, errno)
	}
	conn, err := l.Dial()
	if err != nil {
		t.Fatal(err)
	}
	s := libnet.NewSession(wire.Protocol().NewCodec(conn), 0)
	if answer := ask(t, s); answer.Addr != "h:1" {
		t.Errorf("after errors of accept: %v", answer)
	}
	s.Close()
	g.Close()
	g.Close()
}

func TestG2AGatewayStopsWhileClientsConnect(t *testing.T) {
	libnettest.VerifyNone(t)
	for range 20 {
		g := start(t, gateway.Options{Pick: always("h:1")})
		dialled := make(chan struct{})
		go func() {
			defer close(dialled)
			for range 10 {
				conn, err := net.Dial("tcp", g.Addr())
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
		g.Close()
		<-dialled
	}
}

func TestShutdownDeliversAnswersAndEndsSessions(t *testing.T) {
	libnettest.VerifyNone(t)
	g := start(t, gateway.Options{Pick: always("h:1")})
	s := dial(t, g.Addr())
	if answer := ask(t, s); answer.Addr != "h:1" {
		t.Fatalf("the answer is %v", answer)
	}
	ctx, cancel := context.WithTimeout(t.Context(), imtest.Patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { _, err := s.Receive(); s.Close(); ended <- err }()
	if err := g.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the client's session ended with %v", err)
	}
}
