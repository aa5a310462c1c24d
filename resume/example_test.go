package resume_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/resume"
)

// serveExample serves sessions on a free port.
func serveExample(h *resume.Server) *libnet.Server {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", codec.New(codec.Uint32BE, resume.Frames), 64)
	if err != nil {
		log.Fatal(err)
	}
	server.Logger = slog.New(slog.DiscardHandler)
	go server.ServeMessages(h)
	return server
}

// overExample dials a server as long as that takes.
func overExample(server *libnet.Server) *reconnect.Client {
	dialer := &libnet.Dialer{Protocol: codec.New(codec.Uint32BE, resume.Frames)}
	dialer.SendQueue = 64
	return &reconnect.Client{
		Dial: func(ctx context.Context) (*libnet.Session, error) {
			return dialer.Dial(ctx, "tcp", server.Listener().Addr().String())
		},
		MinBackoff: time.Millisecond,
	}
}

// A session goes on though its connection is cut.
func Example() {
	h := &resume.Server{MessageHandler: func(s *resume.Session, msg []byte) { s.Send("you said " + string(msg)) }}
	server := serveExample(h)
	defer server.Stop()
	defer h.Close()

	s := new(resume.Client).Start(overExample(server))
	s.Send("one")
	reply, err := s.Receive()
	fmt.Println(string(reply), err)

	s.Conn().Close() // as a network does
	s.Send("two")
	reply, err = s.Receive()
	fmt.Println(string(reply), err)

	fmt.Println(s.Shutdown(context.Background()), s.Stats().Resumes)
	// Output:
	// you said one <nil>
	// you said two <nil>
	// <nil> 1
}

// A handler that receives by itself, on a goroutine of the session's.
func ExampleServer_handler() {
	h := &resume.Server{Handler: func(s *resume.Session) {
		for sum := 0; ; {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			sum += len(msg)
			s.Send(fmt.Sprint(sum, " bytes"))
		}
	}}
	server := serveExample(h)
	defer server.Stop()
	defer h.Close()

	s := new(resume.Client).Start(overExample(server))
	defer s.Close()
	s.Send("abc")
	s.Send("de")
	for range 2 {
		msg, _ := s.Receive()
		fmt.Println(string(msg))
	}
	// Output:
	// 3 bytes
	// 5 bytes
}

// A client's handler, and messages in JSON.
func ExampleClient_Start() {
	h := &resume.Server{MessageHandler: func(s *resume.Session, msg []byte) {
		s.Send(map[string]string{"echo": string(msg)})
	}}
	h.Marshaler = codec.JSON
	server := serveExample(h)
	defer server.Stop()
	defer h.Close()

	got := make(chan string)
	c := &resume.Client{Handler: func(_ *resume.Session, msg []byte) { got <- string(msg) }}
	c.Marshaler = codec.JSON
	s := c.Start(overExample(server))
	defer s.Close()
	s.Send([]int{1, 2})
	fmt.Println(<-got)
	// Output: {"echo":"[1,2]"}
}

// SendAcked returns when the other application has the message.
func ExampleSession_SendAcked() {
	taken := ""
	h := &resume.Server{MessageHandler: func(_ *resume.Session, msg []byte) { taken = string(msg) }}
	server := serveExample(h)
	defer server.Stop()
	defer h.Close()

	s := new(resume.Client).Start(overExample(server))
	defer s.Close()
	err := s.SendAcked(context.Background(), "the order")
	fmt.Println(err, taken)
	// Output: <nil> the order
}

// When a session ends, Err says what that cost.
func ExampleError() {
	sent := make(chan struct{})
	h := &resume.Server{Handler: func(s *resume.Session) {
		s.Receive()
		<-sent
		s.Close() // the rest is not taken
	}}
	server := serveExample(h)
	defer server.Stop()
	defer h.Close()

	s := new(resume.Client).Start(overExample(server))
	s.SendAcked(context.Background(), "a")
	s.Send("b")
	s.Send("c")
	close(sent)
	<-s.Done()
	var end *resume.Error
	fmt.Println(errors.As(s.Err(), &end), end.Unacknowledged, errors.Is(end, io.EOF))
	// Output: true 2 true
}
