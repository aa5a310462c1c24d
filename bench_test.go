package libnet_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// The benchmarks compare a session's own cost a message with a hand-written loop on the same conn; the
// module in bench/ measures servers as wholes.

func BenchmarkEcho(b *testing.B) {
	protocol := codec.New(codec.Uint16BE, codec.Bytes)
	session := func(queue int, echo func(*libnet.Session)) func(*testing.B, net.Listener) {
		return func(b *testing.B, l net.Listener) {
			srv := libnet.NewServer(l, protocol, queue)
			b.Cleanup(srv.Stop)
			go func() { _ = srv.Serve(libnet.HandlerFunc(echo)) }()
		}
	}
	messages := func(b *testing.B, l net.Listener) {
		srv := libnet.NewServer(l, protocol, 1024)
		b.Cleanup(srv.Stop)
		go func() {
			_ = srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.Send(&msg) }))
		}()
	}
	servers := []struct {
		name  string
		serve func(*testing.B, net.Listener)
	}{
		{"net", serveByHand},
		{"sync", session(0, receiveAndSend)},
		{"queued", session(1024, receiveAndSend)},
		{"into", session(1024, receiveIntoAndSend)},
		{"event", messages},
	}
	for _, window := range []int{1, 64} {
		for _, server := range servers {
			b.Run(server.name+"/window="+string(rune('0'+window/10))+string(rune('0'+window%10)), func(b *testing.B) {
				benchmarkEcho(b, window, server.serve)
			})
		}
	}
}

// benchmarkEcho keeps window messages under way on one connection; an operation is a message.
func benchmarkEcho(b *testing.B, window int, serve func(*testing.B, net.Listener)) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	serve(b, l)
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	frame := append([]byte{0, 64}, make([]byte, 64)...)
	var out []byte
	for range window {
		out = append(out, frame...)
	}
	in := make([]byte, len(out))
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += window {
		if _, err := conn.Write(out); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, in); err != nil {
			b.Fatal(err)
		}
	}
}

func receiveAndSend(s *libnet.Session) {
	for {
		msg, err := s.Receive()
		if err != nil || s.Send(msg) != nil {
			return
		}
	}
}

func receiveIntoAndSend(s *libnet.Session) {
	var msg []byte
	for {
		var err error
		if msg, err = s.ReceiveInto(msg); err != nil || s.Send(&msg) != nil {
			return
		}
	}
}

// serveByHand is what one writes without a library: a buffered reader, one write a message.
func serveByHand(b *testing.B, l net.Listener) {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go echoByHand(conn)
		}
	}()
}

func echoByHand(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	frame := make([]byte, 1<<16)
	for {
		if _, err := io.ReadFull(r, frame[:2]); err != nil {
			return
		}
		n := 2 + int(binary.BigEndian.Uint16(frame))
		if _, err := io.ReadFull(r, frame[2:n]); err != nil {
			return
		}
		if _, err := conn.Write(frame[:n]); err != nil {
			return
		}
	}
}
