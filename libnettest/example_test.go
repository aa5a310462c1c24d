package libnettest_test

import (
	"fmt"
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
