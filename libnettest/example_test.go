package libnettest_test

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
)

// run stands for the go command: it runs a test.
func run(test func(t testing.TB)) { fmt.Print(record(test).output.String()) }

func ExampleServe() {
	protocol := codec.New(codec.Lines, codec.Bytes)
	greeter := libnet.HandlerFunc(func(s *libnet.Session) {
		name, err := s.Receive()
		if err == nil {
			_ = s.Send("hello " + string(name))
		}
	})

	run(func(t testing.TB) { // func TestTheGreeterGreets(t *testing.T) {
		client := libnettest.Serve(t, libnet.NewServer(libnettest.NewListener(), protocol, 64), greeter).Dial()
		_ = client.Send("Ann")
		if msg, err := client.Receive(); string(msg) != "hello Ann" {
			t.Errorf("received %q, %v", msg, err)
		}
	})

	// A handler that closes its session before what it has sent is written loses that: the test fails.
	run(func(t testing.TB) {
		client := libnettest.Serve(t, libnet.NewServer(libnettest.NewListener(), protocol, 64), libnet.HandlerFunc(func(s *libnet.Session) {
			_ = s.Send("hello")
			_ = s.Close() // and not Shutdown; at the handler's end neither is needed
		})).Dial()
		_, _ = client.Receive()
	})
	// Output:
	// libnettest: the server lost 1 messages that Send had taken: Shutdown delivers them, Close does not
}

func ExampleServeMessages() {
	protocol := codec.New(codec.Lines, codec.Bytes)
	echo := libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.Send(msg) })

	run(func(t testing.TB) {
		srv := libnet.NewServer(libnettest.NewListener(), protocol, 64)
		srv.HandshakeTimeout = 50 * time.Millisecond // a minute, in a bubble of testing/synctest, takes no time
		silent, s := libnettest.ServeMessages(t, srv, echo).Pair()
		<-s.Done()
		fmt.Println("the server:", s.Err())
		_, err := silent.Receive()
		fmt.Println("its client:", err)
	})
	// Output:
	// the server: libnet: handshake timeout
	// its client: EOF
}

// A session that must survive its connection is tested through a proxy that ends connections.
func ExampleNewProxy() {
	run(func(t testing.TB) {
		server, err := libnet.Serve("tcp", "127.0.0.1:0", codec.New(codec.Lines, codec.Bytes), 64)
		if err != nil {
			t.Fatal(err)
		}
		defer server.Stop()
		server.Logger = slog.New(slog.DiscardHandler)
		go server.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.Send(msg) }))

		quiet := libnettest.Chaos{Every: -1} // none but what the test asks for
		proxy := libnettest.NewProxy(t, "tcp", server.Listener().Addr().String(), quiet)
		client, err := libnet.Connect("tcp", proxy.Addr().String(), server.Protocol(), 64)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		_ = client.Send("hello")
		msg, err := client.Receive()
		fmt.Println(string(msg), err)

		fmt.Println(proxy.CutAll(), "connection cut")
		_, err = client.Receive()
		fmt.Println(errors.Is(err, syscall.ECONNRESET))
	})
	// Output:
	// hello <nil>
	// 1 connection cut
	// true
}
